"""Twelve ways in which the broker on one page fails, each with the events of January.

`python3 -m chapters.toy --break 2` runs one. What it prints is counted, not written down: every failure
really happens to the toy. Each opens the chapter of its number, which repairs it.

What went wrong has one of ten names, the same ones everywhere in the book. Three of the failures are none
of them: everything arrives, and far too much is done for it. They are called waste.
"""

import os
import sys
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from chapters import toy
from chapters.story import (
    BROKERS,
    CANCELLED,
    DEPARTED,
    MINUTE_MS,
    SCHEDULED,
    Event,
    january,
    new_york,
    new_york_ms,
    parse,
)
from chapters.toy import Broker, Consumer, Damaged, NameServer, Producer, choose

ANOMALIES = (
    "lost",
    "duplicated",
    "phantom",
    "skipped",
    "out of order",
    "visible before commit",
    "resurrected after rollback",
    "early",
    "stale route",
    "diverged",
)
WASTE = "waste"


class Shown(NamedTuple):
    """What a failure showed: its name, how often it happened, and two or three sentences."""

    anomaly: str
    """One of ANOMALIES, or WASTE."""
    times: int
    lines: list[str]


Break = Callable[[], Shown]
"""Breaks the toy. The docstring is the story of the failure, and its first line the title."""


def airports() -> NameServer:
    """EWR, JFK and LGA, each with an empty broker."""
    names = NameServer()
    for name in BROKERS:
        names.register(name, Broker())
    return names


def publish(producer: Producer, events: Iterable[Event]) -> None:
    """Send each event to the queue of its key."""
    for event in events:
        producer.send(event.key, event.body)


def hero(kind: str) -> Event:
    """HA51 of January 9: scheduled, or departed, or arrived."""
    return next(event for event in january() if event.flight_id == "HA51/2013-01-09" and event.kind == kind)


def no_frames() -> Shown:
    """The network cuts where it likes.

    JFK sends its messages to a display, one write each. TCP carries bytes, not writes: they come out in
    pieces of up to 1,460, which is what fits one packet. The display takes every piece for a message.
    """
    bodies = {event.body for event in january() if event.origin == "JFK"}
    stream = b"".join(event.body for event in january() if event.origin == "JFK")
    pieces = [stream[at : at + 1460] for at in range(0, len(stream), 1460)]
    phantoms = [piece for piece in pieces if piece not in bodies]
    return Shown("phantom", len(phantoms), [
        f"{len(bodies):,} messages went in, {len(pieces):,} came out: nobody sent {len(phantoms):,} of them.",
        f"The first begins {pieces[0][:29].decode()}",
        f"and ends         {pieces[0][-29:].decode()}",
    ])  # fmt: skip


def stale_name() -> Shown:
    """LGA moves to another machine.

    On the 30th at noon the broker LGA starts on a new machine, with a copy of its log, and registers. The
    producer asked for the route on the 1st. It goes on sending to the old machine, which nobody reads any
    more.
    """
    names = airports()
    old, producer, moved_ms = names.brokers["LGA"], Producer(names), new_york_ms(30, 12)
    publish(producer, (event for event in january() if event.when_ms < moved_ms))
    new = Broker()
    new.log, new.queues = old.log[:], [queue[:] for queue in old.queues]
    names.register("LGA", new)
    publish(producer, (event for event in january() if event.when_ms >= moved_ms))
    seen = sum(1 for _ in Consumer(names.route()).poll())
    return Shown("stale route", len(january()) - seen, [
        f"{len(january()):,} events were acknowledged; the route of today leads to {seen:,}.",
        f"{len(january()) - seen:,} went to a machine that had moved away on {new_york(moved_ms)}.",
    ])  # fmt: skip


def memory_only() -> Shown:
    """The power goes in the storm.

    EWR keeps its log in memory and writes it to disk at midnight. On the 30th at noon the power goes. What
    came since midnight had been acknowledged.
    """
    names = airports()
    producer, broker = Producer(names), names.brokers["EWR"]
    midnight_ms, noon_ms = new_york_ms(30), new_york_ms(30, 12)
    publish(producer, (event for event in january() if event.when_ms < midnight_ms))
    disk = bytes(broker.log)
    publish(producer, (event for event in january() if midnight_ms <= event.when_ms < noon_ms))
    acknowledged = [position for queue in broker.queues for position in queue]
    broker.log = bytearray(disk)
    missing = sum(not readable(broker, position) for position in acknowledged)
    return Shown("lost", missing, [
        f"EWR had acknowledged {len(acknowledged):,} events when the power went on {new_york(noon_ms)}.",
        f"Its disk has {len(acknowledged) - missing:,} of them: {missing:,} acknowledged events are gone.",
    ])  # fmt: skip


def readable(broker: Broker, position: int) -> bool:
    """Whether the log still has the record it once had here."""
    try:
        return bool(broker.read(position))
    except Damaged:
        return False


def scan() -> Shown:
    """A display without a queue.

    After a restart only the log is left; the queues were in memory. The display at HA51's gate wants the
    day of one aircraft. It must walk the log of its broker, record by record, and look at each.
    """
    names, key = airports(), hero(SCHEDULED).key
    publish(Producer(names), january())
    broker, queue_id = choose(names.route(), key)
    position, touched, wanted = 0, 0, 0
    while position < len(broker.log):
        touched, wanted = touched + 1, wanted + (broker.read(position)[0] == key)
        position += 8 + int.from_bytes(broker.log[position : position + 4], "big")
    in_queue = len(broker.queues[queue_id])
    return Shown(WASTE, touched - wanted, [
        f"Touched {touched:,} records to find the {wanted} of aircraft {key}.",
        f"Its queue had {in_queue:,} entries, and they are all a display would have to read.",
    ])  # fmt: skip


def one_copy() -> Shown:
    """The only copy burns.

    JFK has learned to write everything to its disk before it acknowledges. On the 31st at noon the machine
    burns, disk and all, and an empty one takes its name.
    """
    names, burnt_ms = airports(), new_york_ms(31, 12)
    acknowledged = [event for event in january() if event.when_ms < burnt_ms]
    publish(Producer(names), acknowledged)
    names.register("JFK", Broker())
    left = {body for _, body in Consumer(names.route()).poll()}
    lost = [event for event in acknowledged if event.body not in left]
    return Shown("lost", len(lost), [
        f"{len(acknowledged):,} events were acknowledged by {new_york(burnt_ms)}; {len(left):,} are left.",
        f"{len(lost):,} had their only copy at JFK: {len({event.flight_id for event in lost}):,} flights.",
    ])  # fmt: skip


def polling() -> Shown:
    """The gate asks every second.

    HA51 of January 9 is due at 09:00. The gate's display asks its queue for news once a second until the
    departure is there, at 06:41 the next day.
    """
    names, due, left = airports(), hero(SCHEDULED), hero(DEPARTED)
    producer, gate = Producer(names), Consumer([choose(names.route(), due.key)])
    to_come = iter(january())
    event, requests, empty, departed = next(to_come), 0, 0, False
    while not departed:
        now_ms = due.due_ms + 1000 * requests
        while event.when_ms <= now_ms:
            producer.send(event.key, event.body)
            event = next(to_come)
        news = [body for _, body in gate.poll()]
        requests, empty, departed = requests + 1, empty + (not news), left.body in news
    return Shown(WASTE, empty, [
        f"{requests:,} requests from {new_york(due.due_ms)} to {new_york(now_ms)}, for one departure.",
        f"{empty:,} of them were answered with nothing.",
    ])  # fmt: skip


def two_workers(seed: int = 51, workers: int = 2) -> Shown:
    """Two workers on one queue.

    The boards of January are drawn from the queues, and one worker a queue is slow, so there are two. Each
    takes the next message when it is free, and needs a moment for it, mostly short and now and then long.
    The board shows what was drawn last: it may say *departed* of a flight that has arrived.
    """
    names, random = airports(), Random(seed)
    publish(Producer(names), january())
    truth = {event.flight_id: event.kind for event in january()}
    board: dict[str, str] = {}
    for queue in names.route():
        free_at, drawn = [0.0] * workers, []
        for _, body in Consumer([queue]).poll():
            worker = free_at.index(min(free_at))
            free_at[worker] += random.expovariate(1.0)
            drawn.append((free_at[worker], parse(body)))
        board |= {event.flight_id: event.kind for _, event in sorted(drawn)}
    wrong = [flight_id for flight_id, kind in truth.items() if board[flight_id] != kind]
    return Shown("out of order", len(wrong), [
        f"{workers} workers a queue, moments drawn from seed {seed}.",
        f"Boards showing the wrong final state: {len(wrong):,} of {len(truth):,}.",
        *(f"{name} has {truth[name]}, and its board says {board[name]}." for name in wrong[:1]),
    ])  # fmt: skip


def two_writes() -> Shown:
    """Announced, and never done.

    A cancellation is announced to the boards and recorded in the operations database. The desk announces
    first, and its machine may stop between the two. So it is run once for every cancellation, to stop just
    there.
    """
    cancelled = [event for event in january() if event.kind == CANCELLED]
    ends = [desk(cancelled[: number + 1], announce_first=True) for number in range(len(cancelled))]
    phantoms = sum(len(announced - recorded) for announced, recorded in ends)
    ends = [desk(cancelled[: number + 1], announce_first=False) for number in range(len(cancelled))]
    missing = sum(len(recorded - announced) for announced, recorded in ends)
    return Shown("visible before commit", phantoms, [
        f"The desk ran {len(cancelled)} times, each time to stop between the two writes of a cancellation.",
        f"Announcing first: {phantoms} of {len(ends)} runs have one on the boards and not in the database.",
        f"Recording first: {missing} of {len(ends)} have one in the database and on no board.",
    ])  # fmt: skip


def desk(cancelled: list[Event], announce_first: bool) -> tuple[set[bytes], set[bytes]]:
    """Cancel one after another, stop in the middle of the last: what was announced, what is recorded."""
    names, recorded = airports(), {event.body for event in cancelled[:-1]}
    publish(Producer(names), cancelled if announce_first else cancelled[:-1])
    if not announce_first:
        recorded.add(cancelled[-1].body)
    return {body for _, body in Consumer(names.route()).poll()}, recorded


def at_once() -> Shown:
    """A question that cannot wait.

    Fifteen minutes after a flight was due someone should ask whether it has left. The desk sends the
    question when the flight is due, and the toy delivers what it has: at once. (A flight that leaves in the
    minute of the question had not left.)
    """
    left_ms = {event.flight_id: event.when_ms for event in january() if event.kind == DEPARTED}
    due = {event.flight_id: event for event in january() if event.flight_id in left_ms}
    names = airports()
    publish(Producer(names), due.values())
    asked = [parse(body) for _, body in Consumer(names.route()).poll()]
    no_at_once = [event for event in asked if left_ms[event.flight_id] >= event.due_ms]
    no_later = [event for event in asked if left_ms[event.flight_id] >= event.due_ms + 15 * MINUTE_MS]
    return Shown("early", len(no_at_once) - len(no_later), [
        f"{len(asked):,} flights left. Asked at once, {len(no_at_once):,} had not.",
        f"Asked fifteen minutes later, {len(no_later):,} had not: "
        f"{len(no_at_once) - len(no_later):,} alarms were early, and false.",
    ])  # fmt: skip


def everything() -> Shown:
    """One airline among sixteen.

    The desk of Hawaiian wants the events with the tag HA. The toy knows keys and positions, and no tags. So
    it hands over everything, and the desk throws nearly all of it away.
    """
    names = airports()
    publish(Producer(names), january())
    received = [body for _, body in Consumer(names.route()).poll()]
    kept = [body for body in received if parse(body).tag == "HA"]
    thrown = sum(map(len, received)) - sum(map(len, kept))
    return Shown(WASTE, len(received) - len(kept), [
        f"Received {len(received):,} events and kept {len(kept)}, {len(kept) / len(received):.3%}.",
        f"{thrown:,} bytes were carried to be thrown away.",
    ])  # fmt: skip


def early_yes(behind: int = 100) -> Shown:
    """A copy that says yes too soon.

    JFK has a follower that acknowledges each record when it hears of it, and has it a hundred records
    later. At noon on the 30th JFK stops, and the follower becomes JFK. An hour later the old machine comes
    back with its own log.
    """
    names, noon_ms = airports(), new_york_ms(30, 12)
    old = names.brokers["JFK"]
    publish(Producer(names), (event for event in january() if event.when_ms < noon_ms))
    acknowledged = sorted(position for queue in old.queues for position in queue)
    new = Broker()
    new.log = old.log[: acknowledged[-behind]]
    names.register("JFK", new)
    publish(Producer(names), (event for event in january() if noon_ms <= event.when_ms < new_york_ms(30, 13)))
    fork = next(at for at in acknowledged if not readable(new, at) or new.read(at) != old.read(at))
    here_alone = [at for at in acknowledged if at >= fork]
    return Shown("diverged", len(here_alone), [
        f"The two logs of JFK agree up to position {fork:,}, and there one machine says {old.read(fork)[0]},",
        f"the other {new.read(fork)[0]}. {len(here_alone)} acknowledged events are on the old machine alone.",
    ])  # fmt: skip


def two_desks() -> Shown:
    """Two desks cancel one flight.

    On January 9 HA51 is three hours late, and two operations desks have been told to cancel it if nobody
    has. Both look, both see that nobody has, both do.
    """
    names, plan = airports(), hero(SCHEDULED)
    publish(Producer(names), (event for event in january() if event.when_ms < new_york_ms(9, 12)))
    cancelled = plan._replace(when_ms=new_york_ms(9, 12), kind=CANCELLED)
    free = [cancelled.body not in log_of(names, plan.key) for desk in ("north", "south")]
    publish(Producer(names), [cancelled for may_cancel in free if may_cancel])
    found = log_of(names, plan.key).count(cancelled.body)
    return Shown("duplicated", found - 1, [
        f"{sum(free)} desks looked on {new_york(cancelled.when_ms)}: {plan.flight} was not cancelled.",
        f"It is cancelled {found} times. In truth it flew, {hero(DEPARTED).delay_minutes:,} minutes late.",
    ])  # fmt: skip


def log_of(names: NameServer, key: str) -> list[bytes]:
    """Everything told of one key, in order."""
    return [body for found, body in Consumer([choose(names.route(), key)]).poll() if found == key]


BREAKS: tuple[Break, ...] = (
    no_frames,
    stale_name,
    memory_only,
    scan,
    one_copy,
    polling,
    two_workers,
    two_writes,
    at_once,
    everything,
    early_yes,
    two_desks,
)
"""A failure's place in this list is its number, and that of the chapter which repairs it."""


def title(number: int) -> str:
    """The first line of a failure's story."""
    return (BREAKS[number].__doc__ or "").partition("\n")[0]


def show(number: int) -> None:
    """Run one failure, and print what it showed and what that is called."""
    shown = BREAKS[number]()
    print(title(number))
    print(*(f"  {line}" for line in shown.lines), sep="\n")
    print(f"{shown.anomaly.capitalize()}: {shown.times:,}. Chapter {number} repairs this.")


def main(options: list[str]) -> int:
    """Run the toy, or break it: `--list`, `--break N`. Returns the exit status, 2 for any other option."""
    try:
        status = _run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _run(options: list[str]) -> int:
    match options:
        case []:
            toy.main()
            print("\nNow break it: python3 -m chapters.toy --list")
        case ["--list"] | ["--break"]:
            for number in range(len(BREAKS)):
                print(f"python3 -m chapters.toy --break {number:<2}   {title(number)}")
        case ["--break", number] if number in map(str, range(len(BREAKS))):
            show(int(number))
        case _:
            known = f"--list or --break N, with N from 0 to {len(BREAKS) - 1}"
            print(f"toy: '{' '.join(options)}' is not {known}", file=sys.stderr)
            return 2
    return 0
