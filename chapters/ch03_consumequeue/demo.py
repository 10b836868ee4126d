"""The display at HA51's gate, on the day that the flight left 1,301 minutes late.

    python3 -m chapters.ch03_consumequeue.demo

The broker of chapter 3 takes every event of January 9 and of the following morning at the instant at which
it happened, in eight queues. Then the display asks what became of HA51, in four ways, and the records of the
log that the broker touches for it are counted. What lies on the disk is shown byte by byte.
"""

from dataclasses import dataclass
from functools import cache
from zlib import crc32

from chapters.story import DEPARTED, Event, january, new_york, new_york_ms, parse
from mq.commitlog.client import Producer
from mq.commitlog.message import Message
from mq.commitlog.record import MessageExt
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.consumequeue.logview import Log
from mq.consumequeue.pull import PullMessageProcessor
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES
from mq.consumequeue.store import QueueStore
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance, MessageQueue, create_topic
from mq.routing.topics import TopicConfig
from mq.runtime.disk import Disk
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv

TOPIC, QUEUES, SEED = "flights", 8, 51
HERO, AIRCRAFT = "HA51/2013-01-09", "N384HA"
BEGINS_MS = new_york_ms(9)
SHOWN_ENTRIES = 3


class CountingLog:
    """The broker's log, and how many records pulls have read from it."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.touched = 0
        self.record_at, self.size_at, self.store_time_at = log.record_at, log.size_at, log.store_time_at

    @property
    def min_physical_offset(self) -> int:
        """As the log says."""
        return self.log.min_physical_offset

    @property
    def max_physical_offset(self) -> int:
        """As the log says."""
        return self.log.max_physical_offset

    def read(self, physical_offset: int, size: int) -> bytes:
        """As the log reads, counted."""
        self.touched += 1
        return self.log.read(physical_offset, size)


@dataclass(frozen=True)
class Way:
    """One way to find the hero's events: how much was touched for it."""

    name: str
    entries: int
    records: int
    found: int


@dataclass(frozen=True)
class Day:
    """What the run left: how the display fared, and what lies on the disk."""

    events: int
    queue_id: int
    ways: tuple[Way, ...]
    story: tuple[MessageExt, ...]
    files: str


@cache
def run() -> Day:
    """The whole day, in virtual time."""
    with Simulation(SEED) as sim:
        return sim.run(lambda: _day(sim), timeout_s=200_000)


async def _day(sim: Simulation) -> Day:
    names = build_namesrv(sim.node("namesrv"))
    settings = {
        "brokerName": "JFK",
        "namesrvAddr": names.address,
        "mappedFileSizeCommitLog": str(1 << 20),
        "registerNameServerPeriod": "60000",
        "flushIntervalCommitLog": "60000",  # nothing dies here, so nobody has to hurry
        "flushIntervalConsumeQueue": "60000",
        "flushConsumerOffsetInterval": "3600000",
    }
    broker = build_broker(sim.node("JFK"), settings, chapter=3)
    broker.server.idle_ms = 86_400_000  # at night nothing happens for hours
    for name in ("JFK", "namesrv"):
        sim.jump_clock(name, BEGINS_MS - sim.node(name).wall_ms())
    await sim.on("namesrv", names.start())
    await sim.on("JFK", broker.start())
    gate = ClientInstance(sim.node("gate"), names.address, "gate@51")
    sim.jump_clock("gate", BEGINS_MS - sim.node("gate").wall_ms())
    return await sim.on("gate", _at_the_gate(broker, gate))


async def _at_the_gate(broker: Broker, gate: ClientInstance) -> Day:
    producer, display = Producer(gate, "airports"), PullConsumer(gate, "gate")
    gate.participants += [producer, display]  # not started: no polls and no heartbeats for thirty hours
    await create_topic(gate, broker.address, TopicConfig(TOPIC, QUEUES, QUEUES))
    await gate.routes.find(TOPIC)
    events = _events()
    for event in events:
        await gate.node.sleep_ms(max(event.when_ms - gate.node.wall_ms(), 0))
        message = Message(TOPIC, event.body, event.tag, f"{event.key} {event.flight_id}")
        await producer.send(message, MessageQueue(TOPIC, "JFK", crc32(event.key.encode()) % QUEUES))
    queue_id = crc32(AIRCRAFT.encode()) % QUEUES
    ways, story = await _four_ways(broker, display, queue_id, len(events))
    return Day(len(events), queue_id, ways, story, _files(broker, queue_id, story[0]))


def _events() -> list[Event]:
    """From midnight of January 9 to the moment at which HA51 left at last."""
    ends_ms = next(each.when_ms for each in january() if each.flight_id == HERO and each.kind == DEPARTED)
    return [each for each in january() if BEGINS_MS <= each.when_ms <= ends_ms]


async def _four_ways(
    broker: Broker, display: PullConsumer, queue_id: int, count: int
) -> tuple[tuple[Way, ...], tuple[MessageExt, ...]]:
    pulls = broker.part(PullMessageProcessor)
    log = pulls.log = CountingLog(pulls.log)
    queue = MessageQueue(TOPIC, "JFK", queue_id)
    ways = []
    for name, queues, expression in (
        ("all eight queues", [MessageQueue(TOPIC, "JFK", number) for number in range(QUEUES)], "*"),
        (f"queue {queue_id}", [queue], "*"),
        (f"queue {queue_id}, tag HA", [queue], "HA"),
    ):
        before, entries, messages = log.touched, 0, []
        for each in queues:
            at = 0
            while (outcome := await display.pull(each, expression, at)).status is not PullStatus.NO_NEW_MSG:
                messages += outcome.messages
                at = outcome.next_begin_offset
            entries += at
        ways.append(Way(name, entries, log.touched - before, len(_of_hero(messages))))
    found = await display.query_message(TOPIC, HERO)
    ways.append(Way(f"key {HERO}", 0, len(found), len(_of_hero(found))))
    return tuple(ways), tuple(_of_hero(messages))


def _of_hero(messages: list[MessageExt]) -> list[MessageExt]:
    return [message for message in messages if parse(message.body).flight_id == HERO]


# What lies on the disk.


def _files(broker: Broker, queue_id: int, first: MessageExt) -> str:
    queue = broker.part(QueueStore).find(TOPIC, queue_id)
    assert queue is not None
    queue.write_tail()
    disk, path = broker.node.disk, queue.path(0)
    lines = [f"{path}, {disk.stat(path).length_bytes:,} bytes, {queue.max_queue_offset} entries", ""]
    lines += ["   entry  position  physical offset   size      tags code"]
    begin = first.queue_offset
    for number in range(begin, begin + SHOWN_ENTRIES):
        data = _bytes(disk, path, number * ENTRY_BYTES, ENTRY_BYTES)
        fields = ENTRY.unpack(data)
        lines.append(
            f"{number:>8}  {number * ENTRY_BYTES:>8}  {data[:8].hex()}  {data[8:12].hex()}  {data[12:].hex()}"
        )
        lines.append(f"{'':>20}{fields[0]:>16}  {fields[1]:>8}  {fields[2]:>16}")
    lines += ["", *_record(disk, first)]
    return "\n".join(lines) + "\n"


RECORD_FIELDS = (
    ("size", 4), ("magic", 4), ("body checksum", 4), ("queue id", 4), ("flag", 4), ("queue offset", 8),
    ("physical offset", 8), ("sys flag", 4), ("born time", 8), ("born host", 8), ("store time", 8),
    ("store host", 8), ("reconsume times", 4), ("prepared offset", 8), ("body length", 4),
)  # fmt: skip


def _record(disk: Disk, message: MessageExt) -> list[str]:
    segment = message.physical_offset // (1 << 20) * (1 << 20)
    path = f"commitlog/{segment:020d}"
    data = _bytes(disk, path, message.physical_offset - segment, message.size)
    lines = [f"{path}, the {message.size} bytes at {message.physical_offset - segment}", ""]
    at = 0
    for name, length in RECORD_FIELDS:
        part = data[at : at + length]
        lines.append(f"{at:>8}  {name:<16}  {part.hex():<16}  {_meaning(name, part)}".rstrip())
        at += length
    lines.append(f"{at:>8}  {'body':<16}  {message.body.decode()}")
    at += len(message.body)
    lines.append(f"{at:>8}  {'topic':<16}  {data[at : at + 1].hex()} {message.topic}")
    at += 1 + len(message.topic)
    text = message.properties_text.replace("\x01", "=").replace("\x02", "; ")
    lines.append(f"{at:>8}  {'properties':<16}  {data[at : at + 2].hex()} {text}")
    return lines


def _meaning(name: str, part: bytes) -> str:
    number = int.from_bytes(part, "big")
    if name in ("born time", "store time"):
        return f"{new_york(number)} in New York"
    if name in ("born host", "store host"):
        return f"{'.'.join(map(str, part[:4]))}:{int.from_bytes(part[4:], 'big')}"
    return "" if name in ("magic", "body checksum") else f"{number:,}"


def _bytes(disk: Disk, path: str, position: int, length: int) -> bytes:
    file = disk.open(path)
    data = file.read_at(position, length)
    file.close()
    return data


def gate_text() -> str:
    """What the display shows, and what each way of finding it costs."""
    day = run()
    lines = [
        f"{day.events:,} events in {QUEUES} queues,",
        f"Jan 09 00:00 to {new_york(_events()[-1].when_ms)}",
        "",
        f"HA51 of January 9 is {AIRCRAFT}: queue {day.queue_id}",
    ]
    for message in day.story:
        event = parse(message.body)
        lines.append(f"  {new_york(event.when_ms)}  {event.kind:<9}  queue offset {message.queue_offset:>3}")
    lines += ["", f"{'the display reads':<19}{'entries':>8}{'records':>8}{'of HA51':>8}"]
    lines += [f"{way.name:<19}{way.entries:>8,}{way.records:>8,}{way.found:>8}" for way in day.ways]
    return "\n".join(lines) + "\n"


def golden() -> dict[str, str]:
    """The bytes on the disk; the display's bill is a step of the page."""
    return {"files.txt": run().files}


def main() -> None:
    """Both, on a terminal."""
    print(gate_text())
    print(run().files, end="")


if __name__ == "__main__":
    main()
