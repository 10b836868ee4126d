"""Exercise 3.1: the entry of a queue offset."""

from exercises.ch03_consumequeue.rig import (
    FIELDS,
    CountingDisk,
    add,
    empty_queue,
    entry,
    fill,
    first_events,
    station,
)
from exercises.testing import Difference, chapter, example, expect, invariant, outcome, system
from mq.consumequeue.queue import ENTRY, ConsumeQueue, Entry

PER_FILE = 8
NOTHING = Entry(0, 0, 0)


def ask(queue: ConsumeQueue, number: int, want: Entry | None, otherwise: str, **known: object) -> None:
    """`entry_at(number)` must be `want`. A mistake is known by what it gives."""
    got = outcome(queue.entry_at, number)
    difference = None
    if isinstance(want, tuple) and isinstance(got, tuple) and len(got) == 3:
        difference = Difference(ENTRY.pack(*want), _packed(got), FIELDS, "entry", number)
    last = queue.max_queue_offset - 1
    first = queue.min_queue_offset
    known = {"a_bare_tuple": is_bare(want), **known}
    expect(got, want, otherwise, known, difference, number=number, byte=20 * number, last=last, first=first)


def counted_by(entry_bytes: int, number: int) -> Entry:
    """What is read where the entry would begin if entries were so long."""
    data = b"".join(ENTRY.pack(*entry(one)) for one in range(number + 2))
    return Entry(*ENTRY.unpack_from(data, number * entry_bytes))


def is_bare(want: Entry | None) -> object:
    """A predicate: the right three numbers, but not as an Entry."""
    return lambda got: isinstance(got, tuple) and not isinstance(got, Entry) and got == want


def _packed(got: tuple[object, ...]) -> bytes:
    try:
        return ENTRY.pack(*got)
    except Exception:  # noqa: BLE001  (values that do not fit are no bytes)
        return b""


@example
def the_third_entry_is_read() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(5))  # number n: a record of 200 + n bytes, which lies at 250 n
        ask(queue, 2, Entry(500, 202, 2307), "wrong_entry", twelve_bytes=counted_by(12, 2))


@invariant
def every_entry_of_the_first_file_is_read() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(PER_FILE))
        for number in range(PER_FILE):
            ask(queue, number, entry(number), "wrong_entry")


@invariant
def there_is_nothing_at_the_end_and_behind_it() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(5))
        for number in (5, 6, PER_FILE, 1000):
            past = "past_the_end" if number == 5 else "far_past_the_end"
            ask(queue, number, None, past, **{past: Exception})


@invariant
def there_is_nothing_before_the_first() -> None:
    with empty_queue(PER_FILE) as queue:
        ask(queue, 0, None, "empty_queue", empty_queue=Exception)
        fill(queue, range(5))
        ask(queue, -1, None, "negative", negative=Exception)


@invariant
def what_no_file_has_yet_is_read_from_the_tail() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(5))
        add(queue, range(5, 7))
        ask(queue, 4, entry(4), "wrong_entry")
        for number in (5, 6):
            not_there = {"no_tail": lambda got: got in (None, NOTHING)}
            ask(queue, number, entry(number), "wrong_in_tail", **not_there, wrong_in_tail=Exception)
        ask(queue, 7, None, "past_the_end", past_the_end=Exception)
        add(queue, range(7, 3 * PER_FILE))  # a tail that is longer than a file
        for number in (7, 8, 3 * PER_FILE - 1):
            ask(queue, number, entry(number), "long_tail", long_tail=Exception)


@invariant
def the_second_file_goes_on_where_the_first_ended() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(2 * PER_FILE + 3))
        in_first = lambda got: got in (None, *map(entry, range(PER_FILE))) or isinstance(got, Exception)  # noqa: E731
        for number in (PER_FILE - 1, PER_FILE, PER_FILE + 1, 2 * PER_FILE, 2 * PER_FILE + 2):
            known = {"only_one_file": in_first} if number >= PER_FILE else {}
            ask(queue, number, entry(number), "wrong_entry", **known)


@invariant
def the_first_entry_that_is_left_keeps_its_number() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(
            queue, range(3 * PER_FILE, 5 * PER_FILE)
        )  # the files before were deleted: the log let go of them
        for number in (3 * PER_FILE, 3 * PER_FILE + 1, 5 * PER_FILE - 1):
            shifted = lambda got: got != entry(number)  # noqa: B023, E731
            ask(queue, number, entry(number), "first_is_not_zero", first_is_not_zero=shifted)
        for number in (0, 3 * PER_FILE - 1):
            ask(queue, number, None, "gone", gone=Exception)


@invariant
def an_entry_that_points_at_nothing_is_not_shown() -> None:
    """The file is still there, because its last entries count; its first do not any more."""
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(2 * PER_FILE))
        queue.min_queue_offset = 3
        ask(queue, 2, None, "gone", gone=Exception)
        ask(queue, 3, entry(3), "wrong_entry")


@invariant
def a_file_that_is_missing_is_no_error() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(2 * PER_FILE))
        queue.disk.remove(queue.path(PER_FILE * 20))
        ask(queue, PER_FILE, None, "missing_file_raises", missing_file_raises=Exception)


@invariant
def a_very_large_number_is_found() -> None:
    with empty_queue(PER_FILE) as queue:
        begin = 400_000_000_000_000_009  # a position of 8 bytes can still say where it lies
        for number in (begin, begin + 9):
            queue.append(number, 250, 200, 2305)
        queue.write_tail()
        ask(queue, begin, Entry(250, 200, 2305), "float_division", float_division=Exception)


@invariant
def no_file_is_left_open() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(PER_FILE))
        disk = queue.disk = CountingDisk(queue.disk)
        for number in range(PER_FILE):
            ask(queue, number, entry(number), "wrong_entry")
        expect(disk.open_files <= 1, True, "left_open", count=disk.open_files, reads=PER_FILE)


@chapter
def a_queue_is_found_again_and_searched() -> None:
    with empty_queue(PER_FILE) as queue:
        fill(queue, range(5 * PER_FILE + 2))
        again = ConsumeQueue(queue.disk, queue.topic, queue.queue_id, queue.file_bytes)
        again.load()
        numbers = (again.min_queue_offset, again.max_queue_offset, again.physical_end)
        last = entry(5 * PER_FILE + 1)
        expect(numbers, (0, 5 * PER_FILE + 2, last.physical_end), "found_again")
        for number in (0, 11, 5 * PER_FILE + 1):
            expect(again.first_from(entry(number).physical_offset), number, "searched", number=number)
        again.delete_before(entry(2 * PER_FILE + 4).physical_offset)
        expect(again.min_queue_offset, 2 * PER_FILE + 4, "retention")
        ask(again, 2 * PER_FILE + 4, entry(2 * PER_FILE + 4), "first_is_not_zero")
        ask(again, 2 * PER_FILE + 3, None, "gone")


@system
def every_entry_of_new_years_day_points_at_its_record() -> None:
    with station(entries_per_file=50) as airport:
        airport.connect()
        airport.start()
        airport.put(first_events(2000))
        airport.run(airport.store.stop())
        airport.open()
        airport.connect()
        airport.start()
        airport.put(first_events(300))
        for queue_id, entries in airport.expected().items():
            queue = airport.queues.queues["flights", queue_id]
            for number, packed in entries:
                ask(queue, number, Entry(*ENTRY.unpack(packed)), "not_its_record")
