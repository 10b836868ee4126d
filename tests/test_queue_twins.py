"""What is tuned for many queues, against its plain twin: entering records, finding ends, reading through few
descriptors."""

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from chapters.ch03_consumequeue.logs import PaperLog
from mq.commitlog.put import DispatchRequest
from mq.commitlog.record import TRANSACTION_PREPARED
from mq.consumequeue.openfiles import OpenFiles
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, ConsumeQueue
from mq.consumequeue.queuetable import QueueTable
from mq.consumequeue.store import QueueStore
from mq.runtime.real import RealDisk
from mq.sim.simulation import Simulation

PER_FILE = 4
TOPICS = ("flights", "gates")
SIZE = 200

RECORDS = st.tuples(
    st.integers(0, 1),  # which topic
    st.integers(0, 1),  # which queue
    st.sampled_from((0, 0, 0, 0, -1, -2, 1, 3, 9)),  # how far its number is off from the next one
    st.sampled_from((0, 0, 0, TRANSACTION_PREPARED, 8, 12)),  # its sys flag
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("dispatch"), st.lists(RECORDS, max_size=12)),
        st.tuples(st.sampled_from(("write", "rewrite", "done", "truncate")), st.just([])),
    ),
    max_size=8,
)


def enter_plainly(queues: QueueStore, requests: Sequence[DispatchRequest]) -> None:
    """`QueueStore.dispatch`, one record after the other and all of them in the same way."""
    for request in requests:
        if not request.sys_flag & TRANSACTION_PREPARED:
            queues.tails.grew(queues._enter(request))


def told(queues: QueueStore) -> object:
    """All that a store knows, files included."""
    return (
        {
            key: (
                queue.min_queue_offset,
                queue.max_queue_offset,
                queue.physical_end,
                queue.tail_position,
                bytes(queue.tail),
                list(queue.files),
                [queue.entry_at(number) for number in range(queue.max_queue_offset)],
            )
            for key, queue in queues.queues.items()
        },
        [queue.directory for queue in queues.tails.queues if queue.tail],
        queues.tails.waiting_bytes,
    )


@given(STEPS)
def test_records_are_entered_in_batches_as_they_are_one_by_one(
    steps: list[tuple[str, list[tuple[int, int, int, int]]]],
) -> None:
    with Simulation(seed=1) as sim:
        stores = [QueueStore(sim.node(name), PaperLog(), PER_FILE * ENTRY_BYTES) for name in "ab"]
        fast, plain = stores
        at = 0
        for step, records in steps:
            requests = []
            ends = fast.queue_ends()
            for topic, queue_id, off, sys_flag in records:
                key = TOPICS[topic], queue_id
                number = max(ends.get(key, 0) + off, 0)
                requests.append(
                    DispatchRequest(*key, at, SIZE, off, 1_000 + at, number, "", None, sys_flag, "")
                )
                at += SIZE
                if not sys_flag & TRANSACTION_PREPARED:
                    ends[key] = max(ends.get(key, 0), number + 1)
            fast.dispatch(requests)
            enter_plainly(plain, requests)
            for store in stores:
                if step == "write":
                    store.tails._write(list(store.tails.queues))
                elif step in ("rewrite", "done"):
                    store.rewriting(step == "rewrite")
                elif step == "truncate":
                    store.truncate(at // 2)
            assert told(fast) == told(plain), step
            assert fast.tails.waiting_bytes == sum(len(queue.tail) for queue in fast.queues.values())


@given(st.lists(st.tuples(st.sampled_from(("put", "del", "pop")), st.integers(0, 2), st.integers(0, 2))))
def test_a_table_finds_the_same_queue_both_ways(script: list[tuple[str, int, int]]) -> None:
    with Simulation(seed=1) as sim:
        table, plain = QueueTable(), dict[tuple[str, int], ConsumeQueue]()
        for what, topic, queue_id in script:
            key = f"t{topic}", queue_id
            if what == "put":
                table[key] = plain[key] = ConsumeQueue(sim.node("a").disk, *key)
            elif what == "pop":
                assert table.pop(key, None) is plain.pop(key, None)
            elif key in plain:
                del table[key], plain[key]
            assert table == plain
            both = {(topic, i): queue for topic, some in table.by_topic.items() for i, queue in some.items()}
            assert both == plain and all(table.by_topic.values())


@given(st.integers(0, 460), st.sampled_from((3, 203, 204, 205, 500)))
@settings(max_examples=60)
def test_the_end_of_a_file_is_where_reading_it_whole_finds_it(entries: int, per_file: int) -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = ConsumeQueue(disk, "flights", 0, per_file * ENTRY_BYTES)
        for number in range(entries):
            queue.append(number, 1_000 + number * SIZE, SIZE, number)
        queue.write_tail()
        for file in queue.files:
            data = disk.open(queue.path(file)).read_at(0, queue.file_bytes)
            sizes = [size for _, size, _ in ENTRY.iter_unpack(data)]
            assert queue._entries_in(file) == (sizes.index(0) if 0 in sizes else per_file)
        again = ConsumeQueue(disk, "flights", 0, per_file * ENTRY_BYTES)
        again.load()
        assert again.max_queue_offset == entries and again.files == queue.files


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(-2, 100),
)
def test_the_first_entry_from_a_place_is_the_one_that_looking_at_each_finds(
    gaps: list[int], begin: int, minimum: int, wanted: int
) -> None:
    with Simulation(seed=1) as sim:
        queue = ConsumeQueue(sim.node("a").disk, "flights", 0, PER_FILE * ENTRY_BYTES)
        at = 0
        for number, gap in enumerate(gaps, start=begin):
            at += gap
            queue.append(number, at, 1, 0)
            at += 1
        queue.write_tail()
        queue.min_queue_offset = max(begin - begin % PER_FILE, min(minimum, queue.max_queue_offset))
        offsets = range(queue.min_queue_offset, queue.max_queue_offset)
        plain = next((number for number in offsets if queue._lies_from(number, wanted)), offsets.stop)
        assert queue.first_from(wanted) == plain
        if queue.physical_end <= wanted:
            assert plain == queue.max_queue_offset, "what recovery takes for granted"


def test_what_lies_before_a_torn_end_stays_when_a_queue_is_opened() -> None:
    """An entry that the power tore may hold any number, a negative one too: nothing is deleted for it."""
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = ConsumeQueue(disk, "flights", 0, PER_FILE * ENTRY_BYTES)
        for number in range(11):
            queue.append(number, number * SIZE, SIZE, 0)
        queue.write_tail()
        disk.open(queue.path(queue.files[-1])).write_at(2 * ENTRY_BYTES, ENTRY.pack(-(1 << 60), 77, 5))
        again = ConsumeQueue(disk, "flights", 0, PER_FILE * ENTRY_BYTES)
        again.load()
        assert again.files == queue.files and again.min_queue_offset == 0
        assert again.entry_at(0) == (0, SIZE, 0)


@given(st.lists(st.tuples(st.sampled_from("rrrrfw"), st.integers(0, 5)), max_size=40), st.integers(1, 4))
def test_a_file_read_through_few_descriptors_reads_as_if_it_were_opened_each_time(
    script: list[tuple[str, int]], limit: int
) -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        files, plain = OpenFiles(disk, limit), dict[str, bytes]()
        for version, (what, number) in enumerate(script):
            name = f"file{number}"
            if what == "w":
                plain[name] = b"%d" % version
                disk.open(name, create=True).write_at(0, plain[name])
            elif what == "f":
                files.forget(name)
                if plain.pop(name, None) is not None:
                    disk.remove(name)
            else:
                assert files.read(name, 0, len(plain.get(name, b"x"))) == plain.get(name, b"")
            assert len(files._files) <= limit


def test_real_descriptors_are_bounded_too(tmp_path: Path) -> None:
    """Counted by the system: what is open, not what we believe to be open."""
    own = Path("/proc/self/fd")
    if not own.exists():
        own = Path("/dev/fd")
    disk = RealDisk(str(tmp_path))
    for number in range(40):
        disk.open(f"f{number}", create=True).close()
    before = len(list(own.iterdir()))
    files = OpenFiles(disk, limit=10)
    for number in (*range(40), *range(0, 40, 3)):
        files.read(f"f{number}", 0, 1)
        assert len(list(own.iterdir())) - before <= 10
    files.close()
    assert len(list(own.iterdir())) == before
