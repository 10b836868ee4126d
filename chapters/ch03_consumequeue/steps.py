"""The chapter's page, step by step: each command prints what the page shows, from the code of this floor.

    python3 -m chapters.ch03_consumequeue.steps STEP
    (scan, naive, gate, entry, follow, pull, filter, cut, fire)
    python3 -m chapters.ch03_consumequeue.steps power --seed 51

One broker, one topic, eight queues, all of January: 80,476 records, of which each queue has its own. The log
is one in memory (`logs.PaperLog`), its records byte for byte RocketMQ's; queues and pulls are the real ones.
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from zlib import crc32

from chapters.ch03_consumequeue.logs import PaperLog, bodies
from chapters.ch03_consumequeue.naive import Disk, Follower, PowerCut, positions
from chapters.story import DEPARTED, Event, january, new_york, new_york_ms, parse
from chapters.toy import Broker
from mq.clients.subscription import build_subscription
from mq.commitlog.put import DispatchRequest
from mq.consumequeue.filter import TagFilter
from mq.consumequeue.getmessage import GetMessageResult, Limits, get_message
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, FILE_BYTES, ConsumeQueue
from mq.consumequeue.store import QueueStore
from mq.sim.simulation import Simulation

TOPIC, QUEUES = "flights", 8
HERO = "HA51/2013-01-09"
SEED = 51
ASKED = 32
SHOWN_RECORDS = 16
LIMITS = Limits(memory_bytes=1 << 40)
SYNC_MS = new_york_ms(30)
POWER_MS = new_york_ms(30, 12)
LATE_QUEUE_OFFSET = 9_000


def queue_of(event: Event) -> int:
    """Where an event goes: by its key, as the toy does."""
    return crc32(event.key.encode()) % QUEUES


@cache
def january_log() -> PaperLog:
    """All of January as one log."""
    log = PaperLog()
    for event in january():
        log.put(TOPIC, queue_of(event), event.body, event.tag, event.flight_id, store_ms=event.when_ms)
    return log


def is_departure(event: Event) -> bool:
    """HA51's of January 9."""
    return (event.flight_id, event.kind) == (HERO, DEPARTED)


@cache
def hero() -> tuple[int, int]:
    """HA51's departure of January 9: its queue, and its queue offset there."""
    index = next(i for i, event in enumerate(january()) if is_departure(event))
    request = january_log().requests[index]
    return request.queue_id, request.queue_offset


@contextmanager
def followed(seed: int = SEED) -> Iterator[tuple[Simulation, QueueStore]]:
    """The queues of January, made by following the log; nothing is on the disk yet."""
    with Simulation(seed) as sim:
        queues = QueueStore(sim.node("JFK"), january_log())
        queues.dispatch(january_log().requests)
        yield sim, queues


def queue(queues: QueueStore, queue_id: int) -> ConsumeQueue:
    """One that is there."""
    found = queues.find(TOPIC, queue_id)
    assert found is not None
    return found


# ---------------------------------------------------------------- the trouble


def scan() -> list[str]:
    """A pull that has the log alone walks it from its first record."""
    queue_id, _number = hero()
    rows = [f"{'from queue offset':>17}  {'messages':>8}  {'records touched':>15}"]
    for start in (0, 1_000, LATE_QUEUE_OFFSET):
        rows.append(f"{start:>17,}  {ASKED:>8}  {touched(queue_id, start):>15,}")
    return rows


def touched(queue_id: int, start: int, asked: int = ASKED) -> int:
    """How many records a pull walks over that has the log alone and begins at its first byte."""
    seen = 0
    for number, request in enumerate(january_log().requests, 1):
        seen += request.queue_id == queue_id
        if seen == start + asked:
            return number
    return len(january_log().requests)


def two_writes() -> list[str]:
    """The follower of naive.py on January 30, with the power going in place of each of its writes."""
    broker, writes = Broker(), 0
    for event in january():
        if new_york_ms(30) <= event.when_ms < POWER_MS:
            broker.put(queue_of(event), event.key, event.body)
    twice: list[int] = []
    while True:
        disk = Disk()
        disk.writes_left = writes
        try:
            Follower(broker, disk).follow()
        except PowerCut:
            disk.writes_left = None
            Follower(broker, disk).follow()
            entered = [position for queue_id in range(QUEUES) for position in positions(disk, queue_id)]
            twice.append(len(entered) - len(set(entered)))
            writes += 1
        else:
            break
    count = sum(map(len, broker.queues))
    return [
        f"{count:,} events, {writes} writes",
        f"{writes} power cuts, one in place of each",
        f"{sum(times > 0 for times in twice)} restarts entered events twice,",
        f"at worst {max(twice)} of them",
    ]


# ---------------------------------------------------------------- the steps


def gate() -> list[str]:
    """January 9 in the simulator, and what the display reads."""
    from chapters.ch03_consumequeue import demo  # a whole broker, which no other step needs

    return demo.gate_text().splitlines()


def entry() -> list[str]:
    """Find the entry of HA51's departure, and the record that it leads to."""
    queue_id, number = hero()
    with followed() as (_, queues):
        one = queue(queues, queue_id)
        data = one.read(number, 1)
        found = one.entry_at(number)
        assert found is not None
        record = january_log().record_at(found.physical_offset, found.size)
        assert record is not None
        event = parse(record.body)
        far = 1_000_000 * ENTRY_BYTES
        return [
            f"queue {queue_id}, queue offset {number:,}",
            f"entry   at {number:,} * {ENTRY_BYTES} = {number * ENTRY_BYTES:,}",
            f"        {data[:8].hex()}  {found.physical_offset:>9,}",
            f"        {data[8:12].hex()}          {found.size:>9,}",
            f"        {data[12:].hex()}  {found.tags_code:>9,}",
            f"record  calls itself queue {record.queue_id}, number {record.queue_offset:,}",
            f"body    {event.flight} {event.kind} {new_york(event.when_ms)},",
            f"        due {new_york(event.due_ms)}",
            "",
            "entry 1,000,000 would be in the file",
            f"{one.path(far - far % FILE_BYTES).rpartition('/')[2]}, at byte {far % FILE_BYTES:,}",
        ]


def follow() -> list[str]:
    """Make the queues, write them, throw them away, make them again in other portions: the same bytes?"""
    with Simulation(SEED) as sim:
        digests = []
        for node, portion in (("JFK", 1), ("again", 1_000)):
            queues = QueueStore(sim.node(node), january_log())
            requests = january_log().requests
            for start in range(0, len(requests), portion):
                queues.dispatch(requests[start : start + portion])
            queues.dispatch(requests[-5_000:])  # told twice
            sim.run(lambda queues=queues: queues.flush(thorough=True))  # type: ignore[misc]
            digests.append(digest(queues))
        counts = [one.max_queue_offset for one in queues.queues.values()]
    log_bytes, queue_bytes = len(january_log().data), sum(counts) * ENTRY_BYTES
    return [
        f"log        {len(january_log().requests):,} records, {log_bytes:,} bytes",
        f"queues     {len(counts)}, of {min(counts):,} to {max(counts):,} entries",
        f"           {queue_bytes:,} bytes, {queue_bytes / log_bytes:.1%} of the log",
        "SHA-256 of all eight queues, made",
        f"  one record at a time     {digests[0][:16]}",
        f"  1,000 records at a time  {digests[1][:16]}",
    ]


def digest(queues: QueueStore) -> str:
    """SHA-256 over all entries of all queues."""
    summed = hashlib.sha256()
    for key in sorted(queues.queues):
        summed.update(all_entries(queues.queues[key]))
    return summed.hexdigest()


def all_entries(one: ConsumeQueue) -> bytes:
    """A queue from its first entry to its last, as bytes; January fits into one file."""
    return one.read(0, one.max_queue_offset)


def ask(
    one: ConsumeQueue, queue_offset: int, tags: str = "*", most: int = ASKED
) -> tuple[GetMessageResult, int]:
    """A pull, and how many records of the log it read."""
    log = january_log()
    before = log.reads
    result = get_message(one, log, queue_offset, most, TagFilter(build_subscription(TOPIC, tags)), LIMITS)
    return result, log.reads - before


def pull() -> list[str]:
    """The same pulls as on a bare log, with the queue."""
    rows = [f"{'from':>5}  {'messages':>8}  {'next':>5}  {'records':>7}  {'bare log':>8}"]
    with followed() as (_, queues):
        queue_id, _number = hero()
        one = queue(queues, queue_id)
        for start in (0, 1_000, LATE_QUEUE_OFFSET):
            result, read = ask(one, start)
            count = len(result.records)
            rows.append(
                f"{start:>5,}  {count:>8}  {result.next_begin_offset:>5,}  {read:>7}  "
                f"{touched(queue_id, start):>8,}"
            )
    return rows


def filtered() -> list[str]:
    """Hawaiian's desk wants the tag HA from all eight queues."""
    read = pulls = 0
    found: list[bytes] = []
    with followed() as (_, queues):
        first, _reads = ask(queue(queues, 0), 0, "HA")
        for queue_id in range(QUEUES):
            one, at = queue(queues, queue_id), 0
            while at < one.max_queue_offset:
                result, reads = ask(one, at, "HA")
                at, read, pulls = result.next_begin_offset, read + reads, pulls + 1
                found += bodies(result.records)
        entries = sum(one.max_queue_offset for one in queues.queues.values())
    return [
        f"first pull   {first.status.name}, next {first.next_begin_offset}",
        f"all queues   {pulls} pulls, {entries:,} entries",
        f"             {read} records read",
        f"             {sum(parse(body).tag == 'HA' for body in found)} of {len(found)} messages are HA",
    ]


def cut() -> list[str]:
    """The last entry of a queue is forged in three ways; where does the queue end after recovery?"""
    queue_id = hero()[0]
    own = of_queue(january_log().requests, queue_id)
    forged = {
        "zeros": bytes(ENTRY_BYTES),
        "a place behind the log's end": ENTRY.pack(len(january_log().data), own[-1].size, 0),
        "the record of another queue": ENTRY.pack(*other_record(queue_id), 0),
    }
    rows = [f"{'the last entry is':<28}{'end':>7}{'after':>8}"]
    for name, data in forged.items():
        with followed() as (sim, queues):
            sim.run(lambda queues=queues: queues.flush(thorough=True))  # type: ignore[misc]
            one, last = queue(queues, queue_id), len(own) - 1
            sim.node("JFK").disk.open(one.path(0)).write_at(last * ENTRY_BYTES, data)
            again = QueueStore(sim.node("JFK"), january_log())
            again.load()
            end = queue(again, queue_id).max_queue_offset
            again.recover(clean=False, log_end=january_log().max_physical_offset)
            rows.append(f"{name:<28}{end:>7,}{queue(again, queue_id).max_queue_offset:>8,}")
    return rows


def other_record(queue_id: int) -> tuple[int, int]:
    """Where the log's last record of any other queue lies, and its size."""
    found = next(one for one in reversed(january_log().requests) if one.queue_id != queue_id)
    return found.physical_offset, found.size


# ---------------------------------------------------------------- the faults


@contextmanager
def torn(seed: int) -> Iterator[tuple[QueueStore, list[DispatchRequest], list[DispatchRequest]]]:
    """The queues after the power went, not yet recovered; what was synced before, and what was not.

    A broker syncs its queues once a minute; half a day without it shows more.
    """
    log = january_log()
    synced = [request for request in log.requests if request.store_timestamp_ms < SYNC_MS]
    later = [request for request in log.requests if SYNC_MS <= request.store_timestamp_ms < POWER_MS]
    with Simulation(seed) as sim:
        queues = QueueStore(sim.node("JFK"), log)
        queues.dispatch(synced)
        sim.run(lambda: queues.flush(thorough=True))
        queues.dispatch(later)
        queues.tails.least_bytes = 1
        sim.run(lambda: queues.flush(thorough=False))
        sim.kill("JFK", death="power")
        after = QueueStore(sim.restart("JFK"), log)
        after.load()
        yield after, synced, later


def power(seed: int = SEED) -> list[str]:
    """The power goes at noon on the 30th; nothing was synced since midnight. What do the files hold?"""
    with torn(seed) as (after, synced, later):
        wanted = [of_queue(synced + later, queue_id) for queue_id in range(QUEUES)]
        there = [survivors(after, queue_id, wanted[queue_id]) for queue_id in range(QUEUES)]
        ends = [queue(after, queue_id).max_queue_offset for queue_id in range(QUEUES)]
        begin = later[0].physical_offset
        after.recover(clean=False, log_end=later[-1].physical_offset + later[-1].size)
        after.rewriting(True)
        after.dispatch(later)
        after.rewriting(False)
        right = [survivors(after, queue_id, wanted[queue_id]) for queue_id in range(QUEUES)]
    rows = ["queue synced entered     end   right   after"]
    for queue_id, all_of_it in enumerate(wanted):
        safe = len(of_queue(synced, queue_id))
        rows.append(
            f"{queue_id:>5} {safe:>6,} {len(all_of_it):>7,}  {ends[queue_id]:>6,}  "
            f"{there[queue_id]:>6,}  {right[queue_id]:>6,}"
        )
    lost = sum(map(len, wanted)) - sum(there)
    rows.append(f"seed {seed}: {lost} of {len(later):,} unsynced entries gone,")
    rows.append(f"the log read again from {begin:,}")
    return rows


def of_queue(requests: list[DispatchRequest], queue_id: int) -> list[DispatchRequest]:
    """One queue's part of what the log said."""
    return [request for request in requests if request.queue_id == queue_id]


def survivors(queues: QueueStore, queue_id: int, wanted: list[DispatchRequest]) -> int:
    """How many entries say what the log said."""
    one = queues.find(TOPIC, queue_id)
    found = ENTRY.iter_unpack(all_entries(one) if one else b"")
    said = [(request.physical_offset, request.size) for request in wanted]
    return sum(entry[:2] == record for entry, record in zip(found, said, strict=False))


def fire() -> list[str]:
    """The disk with the log burns; the queues were on another."""
    empty = PaperLog()
    with followed() as (_, queues):
        one = queue(queues, hero()[0])
        result = get_message(one, empty, hero()[1], ASKED, TagFilter(build_subscription(TOPIC, "*")), LIMITS)
    return [
        f"queue {one.queue_id} still has {one.max_queue_offset:,} entries",
        f"a pull from {hero()[1]:,}: {len(result.records)} messages,",
        result.status.name,
    ]


STEPS: dict[str, Callable[[], list[str]]] = {
    "scan": scan,
    "naive": two_writes,
    "gate": gate,
    "entry": entry,
    "follow": follow,
    "pull": pull,
    "filter": filtered,
    "cut": cut,
    "power": power,
    "fire": fire,
}


def main(arguments: list[str]) -> int:
    if len(arguments) == 3 and arguments[0] == "power" and arguments[1] == "--seed":
        print("\n".join(power(int(arguments[2]))))
        return 0
    if len(arguments) != 1 or arguments[0] not in STEPS:
        print(f"steps: one of {', '.join(STEPS)}", file=sys.stderr)
        return 2
    print("\n".join(STEPS[arguments[0]]()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
