"""One queue: the arithmetic of its files, against a plain list of entries."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, FILLER, FILLER_SIZE, ConsumeQueue, Entry
from mq.runtime.disk import Disk
from mq.runtime.errors import StoreError
from mq.sim.simulation import Simulation

PER_FILE = 3
FILE_BYTES = PER_FILE * ENTRY_BYTES


def queue_on(disk: Disk) -> ConsumeQueue:
    queue = ConsumeQueue(disk, "flights", 5, FILE_BYTES)
    queue.load()
    return queue


def entry(number: int) -> Entry:
    """Records of 100 bytes, one behind the other, from physical offset 1,000."""
    return Entry(1_000 + 100 * number, 100, number - 3)


def fill(queue: ConsumeQueue, begin: int, end: int) -> None:
    for number in range(begin, end):
        assert queue.append(number, *entry(number))


def file_bytes(disk: Disk, path: str) -> bytes:
    file = disk.open(path)
    data = file.read_at(0, file.length())
    file.close()
    return data


def test_an_entry_is_20_bytes_at_20_times_its_number_in_the_file_named_by_its_first_position() -> None:
    """I3.1, as it lies on disk."""
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 5)
        queue.write_tail()
        assert disk.list("consumequeue/flights/5") == ["00000000000000000000", "00000000000000000060"]
        second = file_bytes(disk, "consumequeue/flights/5/00000000000000000060")
        assert second.hex() == (
            "0000000000000514" + "00000064" + "0000000000000000"  # entry 3: physical 1,300, size 100, code 0
            + "0000000000000578" + "00000064" + "0000000000000001"  # entry 4
            + "00" * 20  # the file has its full length from the first moment
        )  # fmt: skip


def test_a_reader_sees_the_files_and_the_tail_as_one() -> None:
    with Simulation(seed=1) as sim:
        queue = queue_on(sim.node("a").disk)
        fill(queue, 0, 4)
        queue.write_tail()
        fill(queue, 4, 8)
        assert [queue.entry_at(number) for number in range(8)] == [entry(number) for number in range(8)]
        assert queue.entry_at(-1) is None and queue.entry_at(8) is None
        assert list(ENTRY.iter_unpack(queue.read(3, 100))) == [entry(3), entry(4), entry(5)], (
            "a run of entries ends where its file ends"
        )


def test_a_record_is_entered_once_however_often_it_is_handed_over() -> None:
    """I3.2 for one queue: the entry itself says how far the queue has followed the log."""
    with Simulation(seed=1) as sim:
        queue = queue_on(sim.node("a").disk)
        fill(queue, 0, 4)
        for number in range(4):
            assert not queue.append(number, *entry(number))
        assert queue.max_queue_offset == 4


def test_a_number_that_is_taken_stays_with_the_record_that_has_it() -> None:
    with Simulation(seed=1) as sim:
        queue = queue_on(sim.node("a").disk)
        fill(queue, 0, 4)
        assert not queue.append(2, 9_000, 100, 0)
        assert queue.entry_at(2) == entry(2) and queue.max_queue_offset == 4


def test_what_was_cut_is_gone_from_the_file_too() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 8)
        queue.write_tail()
        queue.cut(4)
        assert disk.list(queue.directory) == ["00000000000000000000", "00000000000000000060"]
        assert file_bytes(disk, queue.path(60)) == ENTRY.pack(*entry(3)) + bytes(40)
        assert queue_on(disk).max_queue_offset == 4


def test_a_queue_that_begins_late_is_filled_from_the_first_byte_of_its_file() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 7, 8)
        assert (queue.min_queue_offset, queue.max_queue_offset) == (7, 8)
        queue.write_tail()
        assert disk.list(queue.directory) == ["00000000000000000120"]
        data = file_bytes(disk, f"{queue.directory}/00000000000000000120")
        assert data == FILLER + ENTRY.pack(*entry(7)) + bytes(20)
        assert FILLER.hex() == "0000000000000000" + "7fffffff" + "0000000000000000"
        again = queue_on(disk)
        assert (again.min_queue_offset, again.max_queue_offset) == (7, 8), "fillers are not entries"


def test_a_gap_inside_a_queue_is_bridged_so_that_every_entry_keeps_its_number() -> None:
    """I3.1 holds even when a record never came: RocketMQ would put the next one in its place."""
    with Simulation(seed=1) as sim:
        queue = queue_on(sim.node("a").disk)
        fill(queue, 0, 2)
        fill(queue, 4, 6)
        assert [queue.entry_at(number) for number in (0, 1, 4, 5)] == [entry(n) for n in (0, 1, 4, 5)]
        for missing in (2, 3):
            bridge = queue.entry_at(missing)
            assert bridge is not None and bridge.size == FILLER_SIZE
        queue.delete_before(0)
        assert queue.min_queue_offset == 0, "what lies before the gap is still found"


def test_a_gap_wider_than_a_file_gives_the_old_entries_up() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 2)
        queue.write_tail()
        fill(queue, 100, 101)
        queue.write_tail()
        assert (queue.min_queue_offset, queue.max_queue_offset) == (100, 101)
        assert disk.list(queue.directory) == [f"{99 * ENTRY_BYTES:020d}"]


def test_retention_removes_whole_files_and_moves_the_minimum_inside_the_first() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 8)
        queue.write_tail()
        queue.delete_before(entry(4).physical_offset)
        assert queue.min_queue_offset == 4, "the first entry is not entry 0 any more"
        assert queue.entry_at(3) is None and queue.entry_at(4) == entry(4)
        assert disk.list(queue.directory) == ["00000000000000000060", "00000000000000000120"]
        queue.delete_before(10**9)
        assert queue.min_queue_offset == queue.max_queue_offset == 8
        assert disk.list(queue.directory) == ["00000000000000000120"], "the last file is never removed"


def test_the_end_of_a_queue_is_found_again_and_what_was_not_written_is_gone() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        for written in range(8):
            queue = ConsumeQueue(disk, f"t{written}", 0, FILE_BYTES)
            fill(queue, 0, written)
            queue.write_tail()
            fill(queue, written, 9)
            again = ConsumeQueue(disk, f"t{written}", 0, FILE_BYTES)
            again.load()
            assert again.max_queue_offset == written
            assert again.physical_end == (entry(written - 1).physical_end if written else 0)


@pytest.mark.parametrize(
    ("name", "length", "sentence"),
    [
        ("00000000000000000000", 61, "has 61 bytes; queue files here have 60"),
        ("00000000000000000020", 60, "is not the name of a queue file of 60 bytes"),
        ("notes.txt", 0, "is not the name of a queue file of 60 bytes"),
    ],
)
def test_a_file_that_cannot_be_ours_is_refused_with_one_sentence(
    name: str, length: int, sentence: str
) -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        disk.open(f"consumequeue/flights/5/{name}", create=True).set_length(length)
        with pytest.raises(StoreError, match=sentence):
            queue_on(disk)


def test_an_empty_last_file_is_removed() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 3)
        queue.write_tail()
        disk.open(f"{queue.directory}/00000000000000000060", create=True).close()
        again = queue_on(disk)
        assert disk.list(queue.directory) == ["00000000000000000000"]
        assert again.max_queue_offset == 3 and not again.is_damaged


@pytest.mark.parametrize("length", [0, 20, 33])
def test_files_behind_a_short_one_go_and_the_log_is_asked_again(length: int) -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 8)
        queue.write_tail()
        disk.open(f"{queue.directory}/00000000000000000060").set_length(length)
        again = queue_on(disk)
        assert again.is_damaged
        assert again.max_queue_offset >= 3 and again.physical_end >= entry(2).physical_end
        again.cut(3)
        fill(again, 3, 8)
        again.write_tail()
        whole = queue_on(disk)
        assert [whole.entry_at(number) for number in range(8)] == [entry(number) for number in range(8)]


def test_a_hole_in_the_sequence_ends_the_queue_before_it() -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue = queue_on(disk)
        fill(queue, 0, 8)
        queue.write_tail()
        disk.remove(f"{queue.directory}/00000000000000000060")
        again = queue_on(disk)
        assert again.is_damaged and again.max_queue_offset == 3


# A queue against a plain list.


@dataclass
class Plain:
    """What a queue is: a list, where it begins, and how much of it is written."""

    entries: list[Entry] = field(default_factory=list)
    minimum: int = 0
    written: int = 0


OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 7)),
    st.tuples(st.just("write"), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0)),
    st.tuples(st.just("die"), st.just(0)),
    st.tuples(st.just("cut"), st.integers(0, 6)),
    st.tuples(st.just("forget"), st.integers(0, 6)),
)


@given(st.lists(OPERATIONS, max_size=25))
def test_a_queue_is_a_list_through_appends_writes_restarts_cuts_and_retention(
    script: list[tuple[str, int]],
) -> None:
    with Simulation(seed=1) as sim:
        disk = sim.node("a").disk
        queue, plain = queue_on(disk), Plain()
        for operation, amount in script:
            queue = apply(operation, amount, queue, plain, disk)
            assert queue.max_queue_offset == len(plain.entries), operation
            assert queue.min_queue_offset == plain.minimum, operation
            for number, expected in enumerate(plain.entries):
                assert queue.entry_at(number) == (expected if number >= plain.minimum else None), operation
            for number in range(plain.minimum, len(plain.entries)):
                run = [Entry(*each) for each in ENTRY.iter_unpack(queue.read(number, 2))]
                last_in_file = number - number % PER_FILE + PER_FILE
                assert run == plain.entries[number : min(number + 2, last_in_file)]


def apply(operation: str, amount: int, queue: ConsumeQueue, plain: Plain, disk: Disk) -> ConsumeQueue:
    count = len(plain.entries)
    if operation == "append":
        fill(queue, count, count + amount)
        plain.entries += [entry(number) for number in range(count, count + amount)]
    elif operation == "cut":
        end = max(count - amount, plain.minimum)
        queue.cut(end)
        del plain.entries[end:]
        plain.written = min(plain.written, end)
    elif operation == "forget":
        first = min(plain.minimum + amount, count)
        plain.minimum = first
        queue.delete_before(entry(first).physical_offset)
    else:
        if operation in ("write", "reopen"):
            queue.write_tail()
            plain.written = count
        if operation in ("reopen", "die"):
            if plain.written < plain.minimum:  # no file is left that says how many there were
                queue.write_tail()
                plain.written = count
            del plain.entries[plain.written :]
            queue = queue_on(disk)
            queue.delete_before(entry(plain.minimum).physical_offset)
    return queue
