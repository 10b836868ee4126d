"""Thousands of queues: what they may hold of the loop, the memory, the descriptors and the sync worker."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from chapters.ch03_consumequeue.logs import PaperLog
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.hosts import encode_host
from mq.commitlog.put import InnerMessage, PutStatus
from mq.commitlog.store import MessageStore
from mq.consumequeue import openfiles, tails, trimming
from mq.consumequeue.openfiles import OpenFiles
from mq.consumequeue.queue import ENTRY_BYTES, ConsumeQueue
from mq.consumequeue.store import QueueStore
from mq.runtime.disk import Disk, File
from mq.runtime.node import Node
from mq.sim.faults import DiskFault, FailingDisk, StartSync
from mq.sim.simulation import Simulation

FILE_BYTES = 5 * ENTRY_BYTES
HOST = encode_host("10.0.0.1:10911")


class Counted(DiskFault):
    """Knows which files are open, how many ever were, and what was done."""

    def __init__(self, node: Node, inner: Disk) -> None:
        super().__init__(node, inner)
        self.open_now = 0
        self.most_open = 0
        self.done: list[str] = []

    def before(self, kind: str, path: str) -> None:
        self.done.append(kind)

    def open(self, path: str, create: bool = False) -> File:
        file = super().open(path, create)
        close = file.close

        def counted() -> None:
            self.open_now -= 1
            close()

        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        file.close = counted  # type: ignore[method-assign]
        return file

    def write(self, file: File, position: int, data: Any) -> None:
        self.done.append("write_at")
        file.write_at(position, data)


class OneAfterTheOther(DiskFault):
    """Every sync takes `each_ms` from when the one before it ended, as in the real disk's one worker."""

    def __init__(self, node: Node, inner: Disk, each_ms: float) -> None:
        super().__init__(node, inner)
        self.each_ms = each_ms
        self._free_at_ms = 0.0

    def sync(self, start: StartSync, kind: str, file: File | None) -> "asyncio.Future[None]":
        outcome: asyncio.Future[None] = self.node.future()
        now_ms = self.node.monotonic_ms()
        self._free_at_ms = max(self._free_at_ms, now_ms) + self.each_ms
        inner = start()
        self.node.call_later(self._free_at_ms - now_ms, lambda: outcome.set_result(inner.result()))
        return outcome


def filled(
    node: Node, count: int, each: int = 1, file_bytes: int = FILE_BYTES
) -> tuple[QueueStore, PaperLog]:
    """`count` queues with `each` messages, round robin; nothing is written yet."""
    log = PaperLog()
    for number in range(count * each):
        log.put(f"t{number % count // 8}", number % count % 8, store_ms=1_000 + number)
    queues = QueueStore(node, log, file_bytes)
    queues.dispatch(log.requests)
    return queues, log


def written(sim: Simulation, queues: QueueStore) -> None:
    """Every tail is in its file; nothing is synced, which takes the simulator long for so many."""
    queues.tails.least_bytes = 1
    sim.run(lambda: queues.flush(thorough=False), timeout_s=600)


def reopened(node: Node, log: PaperLog, file_bytes: int = FILE_BYTES) -> QueueStore:
    queues = QueueStore(node, log, file_bytes)
    queues.load()
    queues.recover(clean=True, log_end=log.max_physical_offset)
    return queues


async def with_turns(node: Node, work: Awaitable[object], look: Callable[[], int]) -> list[int]:
    """What `look` gives in each round of the loop while `work` is done, as differences."""
    is_done = False

    async def watch() -> list[int]:
        seen = [look()]
        while not is_done:
            await node.sleep_ms(0)
            seen.append(look())
        return seen

    watching = node.spawn(watch(), "watch")
    await node.sleep_ms(0)
    await work
    is_done = True
    return [after - before for before, after in itertools.pairwise(await watching)]


def test_5000_queues_are_written_and_opened_again() -> None:
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        queues, log = filled(node, 5_000, each=2)
        written(sim, queues)
        again = reopened(node, log)
        assert len(again.queues) == 5_000
        assert again.queue_ends() == queues.queue_ends() == dict.fromkeys(queues.queues, 2)
        assert again.recovered_to() == log.max_physical_offset
        for each in log.requests[::97]:
            queue = again.find(each.topic, each.queue_id)
            entry = queue.entry_at(each.queue_offset) if queue else None
            assert entry is not None and entry.physical_offset == each.physical_offset


def test_queues_with_the_same_files_share_what_says_so() -> None:
    with Simulation(seed=1) as sim:
        queues, _ = filled(sim.node("a"), 20)
        sim.run(lambda: queues.flush(thorough=True))
        assert len({id(queue.files) for queue in queues.queues.values()}) == 1


# The loop.


def test_between_two_slices_of_a_flush_the_loop_has_a_turn() -> None:
    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", Counted)
        disk = (node := sim.node("a")).disk
        assert isinstance(disk, Counted)
        queues, _ = filled(node, 1_000)
        queues.tails.least_bytes = 1
        work = lambda: with_turns(node, queues.flush(thorough=False), lambda: disk.done.count("write_at"))  # noqa: E731
        turns = sim.run(work, timeout_s=600)
        assert sum(turns) == 1_000
        assert max(turns) <= 256, f"{max(turns)} queues were written while nobody else could do anything"


def test_retention_leaves_the_loop_free_and_removes_what_the_log_let_go_of() -> None:
    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", Counted)
        disk = (node := sim.node("a")).disk
        assert isinstance(disk, Counted)
        queues, log = filled(node, 400, each=11)  # three files each, of 5, 5 and 1 entries
        written(sim, queues)
        log.min_physical_offset = log.requests[400 * 7].physical_offset

        async def let_go() -> None:
            queues.delete_before(log.min_physical_offset)
            for _ in range(400):
                await node.sleep_ms(0)

        turns = sim.run(lambda: with_turns(node, let_go(), lambda: disk.done.count("remove")))
        assert sum(turns) == 400
        assert max(turns) <= trimming.SLICE_QUEUES
        for queue in queues.queues.values():
            assert queue.min_queue_offset == 7 and list(queue.files) == [100, 200]
            assert queue.entry_at(6) is None and queue.entry_at(7) is not None


def test_a_pass_of_retention_takes_the_place_of_the_one_before_and_ends_with_the_store() -> None:
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        queues, log = filled(node, 400, each=11)
        written(sim, queues)

        async def twice() -> None:
            for entries in (3, 7):
                queues.delete_before(log.requests[400 * entries].physical_offset)
            await node.sleep_ms(100)

        sim.run(twice)
        assert {queue.min_queue_offset for queue in queues.queues.values()} == {7}

        async def close_meanwhile() -> None:
            queues.delete_before(log.max_physical_offset)
            queues.close()
            await node.sleep_ms(100)

        sim.run(close_meanwhile)
        ends = [queue.min_queue_offset for queue in queues.queues.values()]
        assert ends.count(11) == trimming.SLICE_QUEUES and ends.count(7) == 400 - trimming.SLICE_QUEUES


def test_a_file_that_cannot_be_removed_is_complained_of_and_goes_with_the_next_pass() -> None:
    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", lambda node, disk: FailingDisk(node, disk, "remove", nth=300))
        node = sim.node("a")
        heard: list[str] = []
        node.journal.complaint_listeners.append(lambda event: heard.append(event.text()))
        queues, log = filled(node, 400, each=6)
        written(sim, queues)

        async def let_go() -> None:
            queues.delete_before(log.requests[400 * 5].physical_offset)
            await node.sleep_ms(100)

        sim.run(let_go)
        assert len(heard) == 1 and "queues not trimmed" in heard[0]
        sim.run(let_go)
        assert all(list(queue.files) == [100] for queue in queues.queues.values())


# The sync worker.


def test_a_group_commit_does_not_wait_for_all_queues() -> None:
    """200 queues are synced, 10 ms each; a sync of somebody else that comes meanwhile goes between."""
    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", lambda node, disk: OneAfterTheOther(node, disk, 10))
        node = sim.node("a")
        queues, _ = filled(node, 200)

        async def commit_meanwhile() -> tuple[float, float]:
            began_ms = node.monotonic_ms()
            flush = node.spawn(queues.flush(thorough=True), "flush")
            await node.sleep_ms(500)
            log = node.disk.open("commitlog/0", create=True)
            asked_ms = node.monotonic_ms()
            await log.sync()
            waited_ms = node.monotonic_ms() - asked_ms
            await flush
            return waited_ms, node.monotonic_ms() - began_ms

        waited_ms, took_ms = sim.run(commit_meanwhile, timeout_s=600)
        assert took_ms > 200 * 10, "else the flush was over before anybody could wait for it"
        assert waited_ms < (tails.SLICE_SYNCS + 2) * 11, f"a commit waited {waited_ms:.0f} ms for queues"


def test_a_broker_on_a_slow_disk_stops_in_time_and_loses_no_entry() -> None:
    """The last flush gives up; then the end is not clean, and the next start asks the log."""
    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", lambda node, disk: OneAfterTheOther(node, disk, 200))
        node, one = sim.node("a"), Kernel(sim)
        sim.run(lambda: one.put(1_000, queues=500), timeout_s=600)

        async def stop() -> float:
            began_ms = node.monotonic_ms()
            await one.queues.stop()
            await one.store.stop()
            return node.monotonic_ms() - began_ms

        took_ms = sim.run(stop, timeout_s=600)
        assert 60_000 < took_ms < 63_000, f"500 queues at 200 ms took {took_ms:.0f} ms"
        assert one.logics_ms == 0, "the checkpoint has moved although queues were not synced"
        assert Kernel(sim).entries() == {("flights", number): [0, 1] for number in range(500)}


# Memory.


def test_what_waits_is_written_when_all_tails_together_are_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MAX_WAITING_BYTES", 10_000)
    with Simulation(seed=1) as sim:
        node = sim.node("a")
        queues, log = filled(node, 700)
        assert queues.tails.waiting_bytes == sum(len(queue.tail) for queue in queues.queues.values())
        assert 0 < queues.tails.waiting_bytes <= 10_000
        assert queues.queue_ends() == dict.fromkeys(queues.queues, 1)
        oldest = queues.find(log.requests[0].topic, log.requests[0].queue_id)
        newest = queues.find(log.requests[-1].topic, log.requests[-1].queue_id)
        assert oldest and not oldest.tail and newest and newest.tail, "who waits longest goes first"


def test_a_queue_that_cannot_be_written_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MAX_WAITING_BYTES", 1_000)

    class OneBadDirectory(DiskFault):
        is_bad = True

        def write(self, file: File, position: int, data: Any) -> None:
            if self.is_bad and file.path.startswith("consumequeue/t0/0/"):
                raise OSError(5, "Input/output error")
            file.write_at(position, data)

    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", OneBadDirectory)
        queues, _ = filled(sim.node("a"), 16, each=30)
        for _ in range(3):
            queues.tails.grew(0)
        bad = queues.find("t0", 0)
        assert bad is not None and len(bad.tail) == 30 * ENTRY_BYTES
        assert queues.tails.waiting_bytes == len(bad.tail) + sum(
            len(queue.tail) for queue in queues.queues.values() if queue is not bad
        )
        assert queues.tails.waiting_bytes <= 1_000 + 16 * ENTRY_BYTES
        OneBadDirectory.is_bad = False
        assert sim.run(lambda: queues.flush(thorough=True)) is not None
        assert not bad.tail and bad.tail_position == 30 * ENTRY_BYTES, "it waits until it can be written"


# Descriptors.


def test_at_most_512_queue_files_are_open_also_when_some_of_them_are_deleted() -> None:
    with Simulation(seed=1) as sim:
        sim.wrap_disk("a", Counted)
        disk = (node := sim.node("a")).disk
        assert isinstance(disk, Counted)
        queues, log = filled(node, 600, each=6)
        written(sim, queues)
        assert disk.open_now == 0, "a flush leaves no file open"
        disk.most_open = 0
        for queue in queues.queues.values():
            assert queue.entry_at(0) is not None and queue.entry_at(5) is not None
        assert disk.open_now == openfiles.MAX_OPEN_FILES == 512

        async def let_go() -> None:
            queues.delete_before(log.requests[600 * 5].physical_offset)
            await node.sleep_ms(100)

        sim.run(let_go)
        for queue in queues.queues.values():
            assert list(queue.files) == [100] and queue.entry_at(5) is not None
        assert disk.open_now <= disk.most_open <= 512, f"{disk.most_open} files were open at once"
        queues.close()
        assert disk.open_now == 0


def test_a_file_that_was_deleted_is_not_read_from_its_old_descriptor() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        files = OpenFiles(disk, limit=2)
        for name in "abc":
            disk.open(name, create=True).write_at(0, name.encode())
        assert [files.read(name, 0, 1) for name in "abcab"] == [b"a", b"b", b"c", b"a", b"b"]
        files.forget("b")
        disk.remove("b")
        assert files.read("b", 0, 1) == b""
        assert [files.read(name, 0, 1) for name in "acca"] == [b"a", b"c", b"c", b"a"]


def test_a_queue_that_was_cut_and_goes_on_is_read_from_its_new_files() -> None:
    with Simulation(seed=1) as sim:
        queue = ConsumeQueue(sim.node("a").disk, "flights", 0, FILE_BYTES)
        for begin in (0, 5_000):
            for number in range(12):
                queue.append(number, begin + number * 100, 100, 0)
            queue.write_tail()
            read = [queue.entry_at(number) for number in range(12)]
            assert [entry and entry.physical_offset for entry in read] == list(
                range(begin, begin + 1_200, 100)
            )
            queue.cut(0)


# The checkpoint, and what a crash leaves.


class Kernel:
    """A MessageStore with its queues on machine `a`, open."""

    def __init__(self, sim: Simulation) -> None:
        self.node = sim.node("a")
        config = MessageStoreConfig(mapped_file_size_commit_log=1 << 20)
        self.store = MessageStore(self.node, config)
        self.queues = QueueStore(self.node, self.store, FILE_BYTES)
        self.store.dispatchers.append(self.queues)
        self.store.queue_ends.append(self.queues.queue_ends)
        sim.run(lambda: self.store.start(), timeout_s=600)

    async def put(self, count: int, queues: int) -> None:
        statuses: list[PutStatus] = []
        for number in range(count):
            message = InnerMessage("flights", number % queues, b"x", {}, "", 1, HOST, HOST)
            self.store.put(message, lambda result: statuses.append(result.status))
        self.store.write_out()
        assert statuses == [PutStatus.PUT_OK] * count

    @property
    def logics_ms(self) -> int:
        """Up to when the checkpoint on disk calls the queues durable."""
        self.store.checkpoint.load()
        return self.store.checkpoint.times["logics"]

    def entries(self) -> dict[tuple[str, int], list[int]]:
        """The queue offset that each entry's record gives itself."""
        return {key: list(self._of(queue)) for key, queue in self.queues.queues.items()}

    def _of(self, queue: ConsumeQueue) -> Iterator[int]:
        for number in range(queue.max_queue_offset):
            entry = queue.entry_at(number)
            record = self.store.record_at(*entry[:2]) if entry is not None else None
            assert record is not None and (record.topic, record.queue_id) == (queue.topic, queue.queue_id)
            yield record.queue_offset


@pytest.mark.parametrize("death", ["process", "power"])
def test_a_crash_before_any_queue_was_written_loses_no_entry(death: str) -> None:
    with Simulation(seed=1) as sim:
        one = Kernel(sim)

        async def put_and_sync() -> None:
            await one.put(900, queues=300)
            await one.store.flusher.sync()

        sim.run(put_and_sync)
        assert one.node.disk.list("consumequeue") == [], "else this proves less than it says"
        sim.kill("a", death=death)
        sim.restart("a")
        assert Kernel(sim).entries() == {("flights", number): [0, 1, 2] for number in range(300)}


@pytest.mark.parametrize(
    ("kind", "nth"), [("write_at", 150), ("create", 40), ("sync", 30), ("sync_directory", 20)]
)
def test_the_checkpoint_does_not_move_when_the_flush_of_a_queue_failed(kind: str, nth: int) -> None:
    """The store's own housekeeping flushes each second and each minute; here the disk spoils one call."""
    with Simulation(seed=1) as sim:
        one = Kernel(sim)
        sim.run(lambda: one.put(200, queues=100))
        sim.run(asyncio.sleep(62))
        before_ms = one.logics_ms
        assert before_ms > 0
        faulty = FailingQueues(one.node, one.node.disk, kind, nth)
        one.node.disk = faulty
        for queue in one.queues.queues.values():
            queue.disk = faulty
        sim.run(lambda: one.put(200, queues=200))
        sim.run(asyncio.sleep(62))
        assert faulty.failed == 1, "else the disk spoiled nothing"
        assert one.logics_ms == before_ms, "the checkpoint says more than was synced"
        sim.kill("a", death="power")
        sim.restart("a")
        again = Kernel(sim)
        entries = {("flights", number): [0, 1, 2] for number in range(100)}
        entries |= {("flights", number): [0] for number in range(100, 200)}
        assert again.entries() == entries


class FailingQueues(FailingDisk):
    """Spoils one call, and only for files and directories of queues."""

    def __init__(self, node: Node, inner: Disk, kind: str, nth: int) -> None:
        super().__init__(node, inner, kind, nth)
        self.failed = 0

    def _fails(self, kind: str) -> bool:
        fails = super()._fails(kind)
        self.failed += fails
        return fails
