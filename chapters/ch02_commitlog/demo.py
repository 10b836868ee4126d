"""The log in bytes, and the night in which the power went.

    python -m chapters.ch02_commitlog.demo

A record, the end of a segment, and the bytes that no checksum watches. Then JFK's machine dies a third of a
second after midnight of January 30, four times: by process and by power, under ASYNC_FLUSH and SYNC_FLUSH,
in virtual time with RocketMQ's own settings.
"""

import asyncio
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from chapters.ch02_commitlog.stores import (
    EVENING_MS,
    POWER_GOES_MS,
    REAL_RECORD,
    Field,
    append,
    changes_noticed,
    evening_at,
    fields_of,
    log_of,
    noticed_table,
    queue_of,
)
from chapters.story import Event, new_york
from mq.commitlog.client import Producer
from mq.commitlog.log import CommitLog
from mq.commitlog.message import Message
from mq.commitlog.reader import LogReader
from mq.commitlog.record import BLANK_MAGIC, decode_record
from mq.commitlog.store import MessageStore
from mq.routing.client import ClientInstance
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.node import EPOCH_MS
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv

JFK = "JFK"
TOPIC = "flights"
QUEUES = 8
SEED = 30
POLICIES = ("ASYNC_FLUSH", "SYNC_FLUSH")
DEATHS = ("process", "power")


# ---------------------------------------------------------------- a record


def record_text() -> str:
    """RocketMQ's own record, field by field: position, bytes, name, meaning."""
    message = decode_record(REAL_RECORD)
    meanings = {
        "size": f"{message.size} bytes",
        "magic": "a message",
        "body CRC": "CRC-32 of the body alone",
        "queue id": str(message.queue_id),
        "flag": str(message.flag),
        "queue offset": f"{message.queue_offset}: the third of its queue",
        "physical offset": f"{message.physical_offset}: its place in the log",
        "sys flag": "both hosts are IPv4",
        "born time": "2023-11-14 22:13:20 UTC",
        "born host": message.born_host,
        "store time": "a millisecond later",
        "store host": message.store_host,
        "reconsume times": str(message.reconsume_times),
        "prepared offset": str(message.prepared_transaction_offset),
        "body length": str(len(message.body)),
        "body": message.body.decode(),
        "topic length": str(len(message.topic)),
        "topic": message.topic,
        "properties length": str(len(message.properties_text)),
        "properties": message.properties_text.replace("\x01", "=").replace("\x02", " "),
    }
    lines = []
    for field in fields_of(REAL_RECORD):
        data = REAL_RECORD[field.begin : field.end]
        rows = [data[at : at + 8].hex(" ") for at in range(0, len(data), 8)]
        lines.append(f"{field.begin:4}  {rows[0]:<23}  {field.name:<17}  {meanings[field.name]}")
        lines += [f"{field.begin + 8 * count:4}  {row}" for count, row in enumerate(rows[1:], start=1)]
    return _text(lines)


# ---------------------------------------------------------------- the end of a segment


def segment_text() -> str:
    """Where a record does not fit any more: the mark, what is behind it, and how the next file begins."""
    with Simulation() as sim:
        log = log_of(sim.node("broker").disk, 1 << 12)
        append(log, 1500, 1500, 1500)
        end, room = 3000, (1 << 12) - 3000
        assert log.segments.read(end + 4, 4) == BLANK_MAGIC.to_bytes(4, "big")
        rest, next_file = log.segments.read(end + 8, room - 8), log.segments.path(1 << 12)[-20:]
        return _text(
            [
                "Segments of 4,096 bytes, and three records of 1,500.",
                "The third needs 1,508, with room for a mark, and 1,096 are left.",
                "",
                _line(log, end - 4, "the second record ends"),
                _line(log, end, f"{room:,} bytes are left here"),
                _line(log, end + 4, "BLANK: go on in the next file"),
                _line(log, end + 8, f"this and all the rest is {max(rest)}"),
                _line(log, 1 << 12, f"file {next_file} begins"),
            ]
        )


def _line(log: CommitLog, position: int, meaning: str) -> str:
    return f"{position:6}  {log.segments.read(position, 4).hex(' ')}  {meaning}"


# ---------------------------------------------------------------- what no checksum watches


def unwatched_text() -> str:
    """For every field of a record: who notices when one of its bytes is changed?"""
    with Simulation() as sim:
        noticed = changes_noticed(sim.node("broker").disk)
    rows = noticed_table(noticed)
    blind = sum(stops < 255 for stops in noticed)
    lines = [f"{'bytes':>9}  {'field':<17}  changed, is it noticed?", ""]
    lines += [
        f"{_span(field):>9}  {field.name:<17}  {_verdict(fewest, most)}" for field, fewest, most in rows
    ]
    lines += ["", f"{blind} of {len(noticed)} bytes can change without anybody noticing."]
    return _text(lines)


def _span(field: Field) -> str:
    return f"{field.begin}" if field.end == field.begin + 1 else f"{field.begin}-{field.end - 1}"


def _verdict(fewest: int, most: int) -> str:
    if fewest == 255:
        return "always"
    return "never" if most == 0 else f"{most} of its 255 wrong values"


# ---------------------------------------------------------------- the night of the 30th


class Night(NamedTuple):
    """How it went: events acknowledged when the machine died, how many of them were in the log afterwards,
    the longest wait for an answer in ms, and syncs of the log."""

    acknowledged: int
    kept: int
    slowest_ms: float
    syncs: int


def night(policy: str, death: str, seed: int = SEED) -> Night:
    """JFK's broker gets its evening, each event at its time; then its process dies, or its power goes."""
    with Simulation(seed) as sim:
        return sim.run(_night(sim, policy, death))


async def _night(sim: Simulation, policy: str, death: str) -> Night:
    names = build_namesrv(sim.node("names"))
    await sim.on("names", names.start())
    sim.node(JFK)
    sim.jump_clock(JFK, EVENING_MS - EPOCH_MS - 10_000)  # ten seconds for everybody to find each other
    settings = {"brokerName": JFK, "namesrvAddr": names.address, "flushDiskType": policy}
    broker = build_broker(sim.node(JFK), settings, chapter=2)
    broker.topics.put(TopicConfig(TOPIC, QUEUES, QUEUES))
    await sim.on(JFK, broker.start())
    display = Display(sim, names.address)
    await sim.on("operations", display.start())
    begins_ms = 10_000 - sim.loop.time() * 1000
    for event in evening_at(JFK):
        sim.at(begins_ms + event.when_ms - EVENING_MS, partial(display.publish, event))
    dies_ms = begins_ms + POWER_GOES_MS - EVENING_MS
    sim.at(dies_ms, lambda: sim.kill(JFK, death))
    await asyncio.sleep(dies_ms / 1000 + 5)
    syncs = [event for event in sim.events if event.kind == "synced" and event.node == JFK]
    there = await _bodies_after_restart(sim, settings)
    kept = sum(body in there for body in display.waited_ms)
    in_log = sum(str(dict(event.fields)["path"]).startswith("commitlog/") for event in syncs)
    return Night(len(display.waited_ms), kept, round(max(display.waited_ms.values()), 1), in_log)


async def _bodies_after_restart(sim: Simulation, settings: dict[str, str]) -> set[bytes]:
    sim.restart(JFK)
    broker = build_broker(sim.node(JFK), settings, chapter=2)
    await sim.on(JFK, broker.start())
    log = broker.part(MessageStore).log
    return {message.body for message in LogReader(log, log.min_offset, log.end)}


class Display:
    """The operations desk: publishes, and notes what was acknowledged and after how long."""

    def __init__(self, sim: Simulation, namesrv_addr: str) -> None:
        self.node = sim.node("operations")
        self.instance = ClientInstance(self.node, namesrv_addr)
        self.producer = Producer(self.instance, "operations")
        self.waited_ms: dict[bytes, float] = {}

    async def start(self) -> None:
        """Take part."""
        await self.instance.add(self.producer)
        await self.instance.start()
        await self.producer.queues(TOPIC)

    def publish(self, event: Event) -> None:
        """Send one event, beside all others."""
        self.node.spawn(self._publish(event), "publish")

    async def _publish(self, event: Event) -> None:
        began_ms = self.node.monotonic_ms()
        queue = MessageQueue(TOPIC, JFK, queue_of(event)[1])
        try:
            await self.producer.send(Message(TOPIC, event.body, tags=event.tag, keys=event.key), queue)
        except MQError:
            return
        self.waited_ms[event.body] = self.node.monotonic_ms() - began_ms


def night_text() -> str:
    """Four deaths of one machine."""
    plan = sum(event.when_ms == evening_at(JFK)[-1].when_ms for event in evening_at(JFK))
    lines = [
        f"JFK's broker, from {new_york(EVENING_MS)} on. At midnight {plan} flights of the 30th",
        f"are published; 0.3 s after {new_york(evening_at(JFK)[-1].when_ms)} the machine dies.",
        "",
        f"{'':12} {'dies by':8} {'acknowledged':>12} {'missing':>8} {'slowest answer':>15} {'syncs':>6}",
    ]
    for policy in POLICIES:
        for death in DEATHS:
            shown = night(policy, death)
            lost, wait = shown.acknowledged - shown.kept, f"{shown.slowest_ms} ms"
            lines.append(f"{policy:12} {death:8} {shown.acknowledged:12} {lost:8} {wait:>15} {shown.syncs:6}")
    return _text(lines)


# ---------------------------------------------------------------- all of it


def _text(lines: Iterable[str]) -> str:
    return "".join(line.rstrip() + "\n" for line in lines)


def _panels() -> Iterator[tuple[str, str, str]]:
    yield "record.txt", "a record of RocketMQ, field by field", record_text()
    yield "segment.txt", "the end of a segment", segment_text()
    yield "unwatched.txt", "which bytes are watched", unwatched_text()
    yield "night.txt", "the night of January 30", night_text()


def golden() -> dict[str, str]:
    """The four texts that the page shows."""
    return {name: text for name, _, text in _panels()}


def main() -> None:
    console = Console()
    for _, title, text in _panels():
        console.print(Panel(Text(text.rstrip("\n")), title=title, expand=False))


if __name__ == "__main__":
    main()
