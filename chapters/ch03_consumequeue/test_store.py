"""Following the log: exactly once, through restarts, torn files and lost tails."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapters.ch03_consumequeue.logs import PaperLog
from mq.consumequeue import tails
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES
from mq.consumequeue.store import QueueStore
from mq.runtime.disk import Disk
from mq.runtime.node import Node
from mq.sim.simulation import Simulation

FILE_BYTES = 5 * ENTRY_BYTES
TOPICS = ("flights", "%RETRY%gates")


def log_of(count: int, queues: int = 3, seed: int = 1) -> PaperLog:
    """`count` messages, spread over the queues of two topics by `seed`."""
    log, draw = PaperLog(), random.Random(seed)
    for number in range(count):
        topic, queue_id = TOPICS[draw.randrange(2)], draw.randrange(queues)
        log.put(topic, queue_id, bytes(draw.randrange(1, 60)), tag=f"T{number % 4}", store_ms=1_000 + number)
    return log


def follow(node: Node, log: PaperLog) -> QueueStore:
    """A store as after a clean start."""
    queues = QueueStore(node, log, FILE_BYTES)
    queues.load()
    queues.recover(clean=True, log_end=log.max_physical_offset)
    queues.dispatch(log.requests_from(queues.recovered_to()))
    return queues


def recover(node: Node, log: PaperLog, begin: int = 0, file_bytes: int = FILE_BYTES) -> QueueStore:
    """A store as after an unclean end: dispatch begins at `begin`, which is known to be safe."""
    queues = QueueStore(node, log, file_bytes)
    queues.load()
    begin = min(begin, queues.recovered_to())
    queues.recover(clean=False, log_end=log.max_physical_offset)
    queues.rewriting(True)
    queues.dispatch(log.requests_from(begin))
    queues.rewriting(False)
    return queues


def flushed(sim: Simulation, queues: QueueStore, thorough: bool = True) -> int | None:
    result = sim.run(lambda: queues.flush(thorough))
    assert result is None or isinstance(result, int)
    return result


def files_of(disk: Disk) -> dict[str, bytes]:
    found = {}
    for topic in disk.list("consumequeue"):
        for queue_id in disk.list(f"consumequeue/{topic}"):
            for name in disk.list(f"consumequeue/{topic}/{queue_id}"):
                file = disk.open(path := f"consumequeue/{topic}/{queue_id}/{name}")
                found[path] = file.read_at(0, file.length())
                file.close()
    return found


def assert_exactly_once(queues: QueueStore, log: PaperLog) -> None:
    """Every record that consumers may see is entered once, in its queue, under its own number."""
    expected: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for each in log.requests:
        if not each.sys_flag & 4:
            entries = expected.setdefault((each.topic, each.queue_id), [])
            entries.append((each.physical_offset, each.size, each.tags_code))
    found = {
        key: [queue.entry_at(number) for number in range(queue.max_queue_offset)]
        for key, queue in queues.queues.items()
        if queue.max_queue_offset
    }
    assert found == expected


def test_every_record_is_entered_once_under_its_own_number() -> None:
    """I3.1 and I3.2."""
    with Simulation(seed=1) as sim:
        log = log_of(200)
        queues = QueueStore(sim.node("a"), log, FILE_BYTES)
        queues.dispatch(log.requests)
        assert_exactly_once(queues, log)
        queues.dispatch(log.requests[40:])
        assert_exactly_once(queues, log)
        for (topic, queue_id), queue in queues.queues.items():
            for number in range(queue.max_queue_offset):
                entry = queue.entry_at(number)
                assert entry is not None
                record = log.record_at(entry.physical_offset, entry.size)
                assert record is not None
                assert (record.topic, record.queue_id, record.queue_offset) == (topic, queue_id, number)


def test_half_messages_and_rollbacks_are_in_no_queue() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        for kind, number in ((0, 0), (4, 1), (8, 1), (12, 2)):  # none, prepared, commit, rollback
            log.put(sys_flag=kind, queue_offset=number)
        queues = QueueStore(sim.node("a"), log, FILE_BYTES)
        queues.dispatch(log.requests)
        queue = queues.find("flights", 0)
        assert queue is not None and queue.max_queue_offset == 2
        entered = [queue.entry_at(number) for number in range(2)]
        assert [e.physical_offset for e in entered if e] == [
            log.requests[0].physical_offset,
            log.requests[2].physical_offset,
        ]


def test_an_entry_stores_the_code_that_a_hook_chose() -> None:
    with Simulation(seed=1) as sim:
        log = PaperLog()
        request = log.put(tag="HA")
        request.queue_entry_code = 1_357_016_400_000
        queues = QueueStore(sim.node("a"), log, FILE_BYTES)
        queues.dispatch([request])
        queue = queues.find("flights", 0)
        assert queue is not None
        entry = queue.entry_at(0)
        assert entry is not None and entry.tags_code == 1_357_016_400_000


def test_deleted_queues_come_back_from_the_log_byte_for_byte() -> None:
    """I3.3."""
    with Simulation(seed=1) as sim:
        a, b = sim.node("a"), sim.node("b")
        log = log_of(150)
        slowly = QueueStore(a, log, FILE_BYTES)
        for start in range(0, 150, 7):
            slowly.dispatch(log.requests[start : start + 7])
            flushed(sim, slowly, thorough=start % 2 == 0)
        flushed(sim, slowly)
        rebuilt = follow(b, log)
        assert rebuilt.recovered_to() != 0
        flushed(sim, rebuilt)
        assert files_of(b.disk) == files_of(a.disk)
        assert len(files_of(a.disk)) > 20


def test_a_clean_restart_goes_on_where_the_queues_ended() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), log_of(100)
        first = follow(node, log)
        flushed(sim, first)
        again = QueueStore(node, log, FILE_BYTES)
        again.load()
        assert again.recovered_to() == log.max_physical_offset
        again.recover(clean=True, log_end=log.max_physical_offset)
        assert_exactly_once(again, log)


def test_without_any_queue_file_dispatch_begins_at_the_first_record() -> None:
    with Simulation(seed=1) as sim:
        queues = QueueStore(sim.node("a"), PaperLog(), FILE_BYTES)
        queues.load()
        assert queues.recovered_to() == 0


# A flush.


def test_only_queues_with_two_dirty_pages_are_written_each_second() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        queues = QueueStore(node, log)
        for _ in range(2 * 4096 // ENTRY_BYTES + 1):
            log.put(queue_id=0)
        log.put(queue_id=1)
        queues.dispatch(log.requests)
        assert flushed(sim, queues, thorough=False) is None
        assert node.disk.list("consumequeue/flights") == ["0"]
        assert flushed(sim, queues) == 1_000
        assert node.disk.list("consumequeue/flights") == ["0", "1"]
        assert node.disk.stat("consumequeue/flights/1/00000000000000000000").length_bytes == 6_000_000


def test_what_waits_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tails, "MAX_WAITING_BYTES", 1_000)
    with Simulation(seed=1) as sim:
        log = log_of(2_000, queues=8)
        queues = QueueStore(sim.node("a"), log, FILE_BYTES)
        for start in range(0, 2_000, 10):
            queues.dispatch(log.requests[start : start + 10])
            waiting = sum(len(queue.tail) for queue in queues.queues.values())
            assert waiting <= 1_000 + 10 * ENTRY_BYTES
        assert_exactly_once(queues, log)


@pytest.mark.parametrize("seed", range(12))
def test_what_a_flush_called_durable_outlives_the_power(seed: int) -> None:
    """I3.5: the checkpoint may move to the returned time, because everything up to it is on the surface."""
    with Simulation(seed=seed) as sim:
        log = log_of(120, seed=seed)
        queues = QueueStore(sim.node("a"), log, FILE_BYTES * (1 if seed % 2 else 1_000))
        queues.dispatch(log.requests[:30])
        assert flushed(sim, queues) == log.requests[29].store_timestamp_ms
        queues.dispatch(log.requests[30:60])
        assert flushed(sim, queues) == log.requests[59].store_timestamp_ms
        queues.dispatch(log.requests[60:])
        queues.tails.least_bytes = 1
        assert flushed(sim, queues, thorough=False) is None, "nothing was synced, so nothing is promised"
        sim.kill("a", death="power")
        again = QueueStore(node := sim.restart("a"), log, queues.file_bytes)
        again.load()
        for each in log.requests[:60]:
            queue = again.find(each.topic, each.queue_id)
            entry = queue.entry_at(each.queue_offset) if queue else None
            assert entry is not None and entry.physical_offset == each.physical_offset
        assert_exactly_once(recover(node, log, log.requests[60].physical_offset, queues.file_bytes), log)


def test_a_sync_that_failed_is_never_believed_again() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), log_of(10)
        queues = follow(node, log)

        async def broken(*_: object) -> None:
            raise OSError(5, "Input/output error")

        repaired = queues.tails._sync
        queues.tails._sync = broken  # type: ignore[method-assign, assignment]
        with pytest.raises(OSError, match="Input/output"):
            flushed(sim, queues)
        queues.tails._sync = repaired  # type: ignore[method-assign]
        assert flushed(sim, queues) is None, "the disk may call pages clean that it lost"


# Torn files, made by hand. The log below `SAFE` is what the checkpoint covers.


Tear = Callable[[Disk, str, int], None]
"""(disk, file, the number in the file of the first entry that is not safe)."""


def zeros(disk: Disk, path: str, entry: int) -> None:
    disk.open(path).write_at(entry * ENTRY_BYTES, bytes(FILE_BYTES - entry * ENTRY_BYTES))


def noise(disk: Disk, path: str, entry: int) -> None:
    disk.open(path).write_at(
        entry * ENTRY_BYTES, random.Random(1).randbytes(FILE_BYTES - entry * ENTRY_BYTES)
    )


def half_an_entry(disk: Disk, path: str, entry: int) -> None:
    zeros(disk, path, entry)
    disk.open(path).write_at(entry * ENTRY_BYTES, bytes(7) + b"\x01\x00\x00\x00\x63")


def hole(disk: Disk, path: str, entry: int) -> None:
    disk.open(path).write_at(entry * ENTRY_BYTES, bytes(ENTRY_BYTES))


def beyond_the_log(disk: Disk, path: str, entry: int) -> None:
    disk.open(path).write_at(entry * ENTRY_BYTES, ENTRY.pack(10**12, 100, 0))


def another_queue(disk: Disk, path: str, entry: int) -> None:
    disk.open(path).write_at(entry * ENTRY_BYTES, ENTRY.pack(0, 96, 0))


def no_length(disk: Disk, path: str, entry: int) -> None:
    disk.open(path).set_length(entry * ENTRY_BYTES)


@pytest.mark.parametrize(
    "tear", [zeros, noise, half_an_entry, hole, beyond_the_log, another_queue, no_length]
)
@pytest.mark.parametrize("which", ["flights/0", "flights/1", "%RETRY%gates/2"])
def test_a_torn_queue_is_cut_and_written_afresh_from_the_log(tear: Tear, which: str) -> None:
    """I3.2 after a crash: whatever lies behind the safe entries, the queue ends up as the log has it."""
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), log_of(130)
        flushed(sim, follow(node, log))
        whole = files_of(node.disk)
        topic, _, queue_id = which.partition("/")
        safe = log.requests[70].physical_offset
        first_unsafe = next(
            each.queue_offset
            for each in log.requests_from(safe)
            if (each.topic, each.queue_id) == (topic, int(queue_id))
        )
        file, entry = divmod(first_unsafe, 5)
        tear(node.disk, f"consumequeue/{which}/{file * FILE_BYTES:020d}", entry)
        queues = recover(node, log, safe)
        assert_exactly_once(queues, log)
        flushed(sim, queues)
        assert files_of(node.disk) == whole
        assert_exactly_once(follow(node, log), log)


def test_entries_of_records_that_the_log_lost_are_gone_after_any_end() -> None:
    for clean in (True, False):
        with Simulation(seed=1) as sim:
            node, log = sim.node("a"), log_of(130)
            flushed(sim, follow(node, log))
            log.lose_from(log.requests[90].physical_offset)
            queues = QueueStore(node, log, FILE_BYTES)
            queues.load()
            queues.recover(clean, log.max_physical_offset)
            assert_exactly_once(queues, log)
            for number in range(20):
                log.put("flights", number % 3, b"new")
            queues.dispatch(log.requests[90:])
            flushed(sim, queues)
            assert_exactly_once(follow(node, log), log)


def test_a_hole_before_entries_of_lost_records_is_cut_with_them() -> None:
    """No record follows for this queue, so nothing would ever overwrite what is left standing."""
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        for _ in range(5):
            log.put()
        flushed(sim, follow(node, log))
        hole(node.disk, "consumequeue/flights/0/00000000000000000000", 3)
        log.lose_from(log.requests[3].physical_offset)
        queues = recover(node, log, len(log.data))
        assert_exactly_once(queues, log)
        flushed(sim, queues)
        (data,) = files_of(node.disk).values()
        assert not any(data[3 * ENTRY_BYTES :]), "what was cut reads as zeros"


def test_while_rewriting_a_wrong_entry_in_the_middle_is_overwritten() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        for _ in range(12):
            log.put()
        flushed(sim, follow(node, log))
        disk = node.disk
        disk.open("consumequeue/flights/0/00000000000000000000").write_at(60, ENTRY.pack(5, 77, 9))
        assert_exactly_once(recover(node, log, log.requests[3].physical_offset), log)


def test_the_first_entry_is_found_again_when_the_log_has_let_go_of_its_beginning() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), log_of(100)
        queues = follow(node, log)
        flushed(sim, queues)
        log.min_physical_offset = log.requests[60].physical_offset
        queues.delete_before(log.min_physical_offset)
        expected = {
            key: (queue.min_queue_offset, queue.max_queue_offset) for key, queue in queues.queues.items()
        }
        again = follow(node, log)
        assert expected == {
            key: (queue.min_queue_offset, queue.max_queue_offset) for key, queue in again.queues.items()
        }
        for (topic, queue_id), (low, _) in expected.items():
            before = [each for each in log.requests[:60] if (each.topic, each.queue_id) == (topic, queue_id)]
            assert low == len(before)


def test_queues_made_again_behind_the_retention_begin_at_their_own_numbers() -> None:
    with Simulation(seed=1) as sim:
        log = log_of(100)
        log.min_physical_offset = log.requests[60].physical_offset
        queues = QueueStore(sim.node("a"), log, FILE_BYTES)
        queues.load()
        queues.dispatch(log.requests[60:])
        flushed(sim, queues)
        again = follow(sim.node("a"), log)
        for each in log.requests[60:]:
            queue = again.find(each.topic, each.queue_id)
            assert queue is not None
            entry = queue.entry_at(each.queue_offset)
            assert entry is not None and entry.physical_offset == each.physical_offset


def test_a_gap_is_complained_of() -> None:
    with Simulation(seed=1) as sim:
        node, log = sim.node("a"), PaperLog()
        heard: list[str] = []
        node.journal.complaint_listeners.append(lambda event: heard.append(event.text()))
        for _ in range(2):
            log.put()
        log.put(queue_offset=4)
        log.put(queue_offset=5)
        queues = QueueStore(node, log, FILE_BYTES)
        queues.dispatch(log.requests)
        assert len(heard) == 1 and "queue has a gap" in heard[0] and "expected=2 came=4" in heard[0]


@given(
    st.integers(0, 2**32),
    st.integers(10, 90),
    st.lists(st.integers(0, 12), min_size=1, max_size=6),
)
def test_after_the_power_went_at_any_moment_every_record_is_entered_once(
    seed: int, count: int, flushes: list[int]
) -> None:
    """I3.2 and I3.5 for random logs, random flushes and a random part of the unsynced pages."""
    with Simulation(seed=seed) as sim:
        log = log_of(count, seed=seed)
        queues = QueueStore(sim.node("a"), log, FILE_BYTES)
        at, safe = 0, 0
        for step in flushes:
            queues.dispatch(log.requests[at : at + step])
            at = min(at + step, count)
            queues.tails.least_bytes = 1 + 20 * (step % 3)
            if flushed(sim, queues, thorough=step % 4 == 3) is not None:
                safe = at
        queues.dispatch(log.requests[at:])
        sim.kill("a", death="power")
        node = sim.restart("a")
        begin = log.requests[safe].physical_offset if safe < count else log.max_physical_offset
        again = recover(node, log, begin)
        assert_exactly_once(again, log)
        flushed(sim, again)
        assert_exactly_once(follow(node, log), log)
