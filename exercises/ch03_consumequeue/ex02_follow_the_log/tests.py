"""Exercise 3.2: follow the log to its end, and enter each record exactly once."""

from collections.abc import Callable, Sequence

from exercises.ch03_consumequeue.rig import FIELDS, Station, empty_queue, entry, first_events, station
from exercises.testing import Difference, Known, Said, chapter, example, expect, invariant, outcome, system
from mq.commitlog.put import DispatchRequest
from mq.commitlog.reput import Reput
from mq.consumequeue.queue import ENTRY_BYTES, ConsumeQueue
from mq.consumequeue.store import QueueStore

Rows = list[tuple[int, bytes]]  # (queue offset, 20 bytes)
SMALL_SEGMENT = 4096  # holds 16 or 17 of January's records


class Heard:
    """A derived store that only listens."""

    name = "heard"

    def __init__(self) -> None:
        self.positions: list[int] = []

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        self.positions += [request.physical_offset for request in requests]


class Full(Exception):
    """The derived store's disk has no room."""


class RefusesOnce(Heard):
    """A derived store that has no room the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = True

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        if self.is_full:
            self.is_full = False
            raise Full
        super().dispatch(requests)


def rows_of(queue: ConsumeQueue) -> Rows:
    """All entries that a reader of the queue gets."""
    rows: Rows = []
    number = queue.min_queue_offset
    while number < queue.max_queue_offset:
        data = queue.read(number, queue.max_queue_offset - number)
        if not data:
            break
        rows += [(number + at // 20, data[at : at + 20]) for at in range(0, len(data), ENTRY_BYTES)]
        number = rows[-1][0] + 1
    return rows


def compare(queue: ConsumeQueue | None, want: Rows, otherwise: str, **known: object) -> None:
    """The queue must hold what the log asks for. A mistake is known by what it makes of the rows."""
    got = rows_of(queue) if queue is not None else []
    if got == want:
        return
    first = want[0][0] if want else 0
    both = b"".join(data for _, data in want), b"".join(data for _, data in got)
    difference = Difference(*both, FIELDS, "entry", first)
    begins = got[0][0] if got else "nowhere"
    counts = {"there": len(got), "wanted": len(want), "begins": begins, "first": first}
    ends_right = queue is not None and want and queue.max_queue_offset == want[-1][0] + 1
    all_known = {"nothing_entered": [], **known, "twice": _has_twice}
    if ends_right and begins != first:
        all_known = {"no_room_before_it": got}
    if queue is not None and want and not got and queue.max_queue_offset not in (0, want[-1][0] + 1):
        raise Said("end_left_behind", number=want[-1][0], next=queue.max_queue_offset)
    expect(got, want, otherwise, all_known, difference, **counts)


def _has_twice(got: object) -> bool:
    rows = got if isinstance(got, list) else []
    return len({data for _, data in rows}) < len(rows)


def compare_all(airport: Station, queues: QueueStore, otherwise: str, **known: object) -> None:
    for queue_id, want in airport.expected().items():
        compare(queues.find("flights", queue_id), want, otherwise, **known)


def told(
    airport: Station, queues: QueueStore, begin: int = 0, confirmed: Callable[[], int] | None = None
) -> Reput:
    """Follow the log for these queues from `begin` on."""
    reput = Reput(airport.store.log, [queues], [confirmed] if confirmed else [])
    reput.dispatched_to = begin
    try:
        reput.follow()
    except AttributeError as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        is_theirs = frame is not None and frame.tb_frame.f_code.co_name == "follow"
        raise (error if is_theirs or "MessageExt" not in str(error) else Said("hands_on_messages")) from error
    return reput


@example
def three_records_become_three_entries() -> None:
    with station(queue_count=1) as airport:
        airport.start()
        airport.put(first_events(3))
        told(airport, airport.queues)
        compare(airport.queues.find("flights", 0), airport.expected()[0], "wrong_rows")


@invariant
def append_says_whether_it_entered_the_record() -> None:
    with empty_queue(8) as queue:
        for number in range(3):
            expect(outcome(queue.append, number, *entry(number)), True, "says_true", number=number)
        for number in (2, 0):
            expect(outcome(queue.append, number, *entry(number)), False, "says_false", number=number)
        end = queue.max_queue_offset, queue.physical_end
        expect(end, (3, entry(2).physical_end), "end_moved")


@invariant
def every_record_is_handed_on_once_and_in_order() -> None:
    with station() as airport:
        airport.start()
        airport.put(first_events(1100))
        first, second = Heard(), Heard()
        reput = Reput(airport.store.log, [first, second], [])  # type: ignore[list-item]
        reput.follow()
        _heard_all(first, airport, "handed_on_twice")
        expect(second.positions, first.positions, "only_one_listens", count=len(second.positions))
        reput.follow()
        _heard_all(first, airport, "handed_on_again")
        airport.put(first_events(5))
        reput.follow()
        _heard_all(first, airport, "handed_on_again")
        expect(reput.dispatched_to, airport.store.log.written_to, "forgets_where_it_is")


def _heard_all(heard: Heard, airport: Station, more: str) -> None:
    want = [record.physical_offset for record in airport.records()]
    got = heard.positions
    known = {more: lambda _: len(got) > len(want), "out_of_order": lambda _: sorted(got) == want}
    expect(got, want, "not_handed_on", known, count=len(got), wanted=len(want))


@invariant
def the_walk_goes_on_in_the_next_segment() -> None:
    with station(SMALL_SEGMENT) as airport:
        airport.start()
        airport.put(first_events(100))
        reput = told(airport, airport.queues)
        stops = airport.store.log.segments.starts[1]
        if reput.dispatched_to < airport.store.log.written_to:
            reached, end = reput.dispatched_to, airport.store.log.written_to
            raise Said("stops_at_segment", reached=reached, end=end, segment=SMALL_SEGMENT, next=stops)
        compare_all(airport, airport.queues, "wrong_rows")


@invariant
def what_is_not_confirmed_is_not_shown() -> None:
    with station() as airport:
        airport.start()
        airport.put(first_events(10))
        at = [record.physical_offset for record in airport.records()]
        confirmed = [at[4]]
        heard = Heard()
        reput = Reput(airport.store.log, [heard], [lambda: confirmed[0]])  # type: ignore[list-item]
        for limit, count in ((at[4], 4), (at[6] + 50, 6)):
            confirmed[0] = limit
            reput.follow()
            known: dict[str, object] = {"half_a_record": at[: count + 1] if limit > at[count] else None}
            if heard.positions and heard.positions[-1] >= limit:
                known["beyond_confirmed"] = heard.positions
            values = {"limit": limit, "beyond": max(heard.positions, default=0), "wanted": count}
            _expect_positions(heard, at[:count], known, values)
            if reput.dispatched_to == limit != at[count]:
                inside = {"confirmed": limit, "position": at[count]}
                raise Said("goes_on_inside_a_record", dispatched_to=reput.dispatched_to, **inside)
        confirmed[0] = airport.store.log.written_to
        reput.follow()
        expect(heard.positions, at, "passed_over", count=len(heard.positions), wanted=len(at))


def _expect_positions(heard: Heard, want: list[int], known: Known, values: dict[str, int]) -> None:
    count = len(heard.positions)
    expect(heard.positions, want, "not_handed_on", known, None, count=count, **values)


@invariant
def what_a_derived_store_refused_is_told_again() -> None:
    with station() as airport:
        airport.start()
        airport.put(first_events(10))
        heard = RefusesOnce()
        reput = Reput(airport.store.log, [heard], [])  # type: ignore[list-item]
        outcome(reput.follow)
        moved = reput.dispatched_to
        reput.follow()
        want = [record.physical_offset for record in airport.records()]
        known = {"position_first": lambda got: len(got) < len(want) and moved > 0}
        expect(heard.positions, want, "not_handed_on", known, count=len(heard.positions),
               wanted=len(want), moved=moved)  # fmt: skip


@invariant
def after_a_restart_nothing_is_entered_again() -> None:
    with station(queue_count=2) as airport:
        airport.start()
        airport.put(first_events(20))
        told(airport, airport.queues)
        for queue in airport.queues.queues.values():
            queue.write_tail()
        again = QueueStore(airport.node, airport.store, airport.file_bytes)
        again.load()
        told(airport, again)
        compare_all(airport, again, "wrong_after_restart", twice_after_restart=_has_twice)
        airport.put(first_events(6))
        told(airport, again)
        compare_all(airport, again, "wrong_after_restart", twice_after_restart=_has_twice)


@invariant
def a_record_stands_under_its_own_number() -> None:
    """The queues' files were lost, and the log has let go of its first segments."""
    with station(SMALL_SEGMENT, queue_count=2) as airport:
        airport.start()
        airport.put(first_events(60))
        airport.store.log.segments.delete_first()
        told(airport, airport.queues, airport.store.log.min_offset)
        compare_all(
            airport, airport.queues, "wrong_rows", counts_itself=lambda got: bool(got) and got[0][0] == 0
        )


@invariant
def a_number_that_is_taken_is_refused() -> None:
    with empty_queue(8) as queue:
        for number in range(3):
            queue.append(number, *entry(number))
        expect(outcome(queue.append, 1, *entry(7)), False, "number_taken", number=1)
        expect((queue.max_queue_offset, queue.physical_end), (3, entry(2).physical_end), "end_moved")


@chapter
def a_clean_end_a_new_derived_store_and_a_power_cut() -> None:
    with station(64 * 1024, queue_count=4) as airport:
        airport.connect()
        airport.start()
        airport.put(first_events(500))
        compare_all(airport, airport.queues, "wrong_rows")
        airport.run(airport.store.stop())
        airport.open()
        airport.connect()
        airport.start()
        compare_all(airport, airport.queues, "wrong_after_restart", twice_after_restart=_has_twice)
        told(
            airport, airport.queues
        )  # a derived store came that has nothing yet: the log is told from its begin
        compare_all(airport, airport.queues, "wrong_after_restart", twice_after_restart=_has_twice)
        airport.put(first_events(700)[500:])
        airport.run(airport.store.flusher.sync())
        airport.put(first_events(800)[700:])
        airport.world.kill("JFK", "power")
        airport.world.restart("JFK")
        airport.open()
        airport.connect()
        airport.start()
        compare_all(airport, airport.queues, "wrong_after_power")


@system
def the_power_goes_while_only_what_is_synced_is_shown() -> None:
    with station(64 * 1024) as airport:
        airport.connect()
        airport.store.confirm_offsets.append(lambda: airport.store.log.synced_to)
        airport.start()
        for begin in range(0, 2500, 250):
            airport.put(first_events(2500)[begin : begin + 250])
            if begin != 2250:
                airport.run(airport.store.flusher.sync())
                airport.store.reput.follow()
        shown = {key: rows_of(queue) for key, queue in airport.queues.queues.items()}
        airport.world.kill("JFK", "power")
        airport.world.restart("JFK")
        airport.open()
        airport.connect()
        airport.start()
        compare_all(airport, airport.queues, "wrong_after_power")
        for key, rows in shown.items():
            now = rows_of(airport.queues.queues[key])
            lost = len(rows) - len(now)
            if rows != now[: len(rows)]:
                raise Said("shown_and_lost", queue=key[1], lost=lost)
