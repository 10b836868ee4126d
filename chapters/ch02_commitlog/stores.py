"""What demonstration and tests of this chapter share: messages by hand, stores on simulated machines, damage.

A `Bench` is one machine with one store. `put` answers at once, `reborn` kills the machine, starts it again
and recovers. `fields_of` says which bytes of a record belong to which field, `changes_noticed` which of them
may change without anybody noticing.
"""

import asyncio
import struct
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import NamedTuple
from zlib import crc32

from chapters.story import BROKERS, Event, january, new_york_ms
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.hosts import encode_host
from mq.commitlog.log import CommitLog
from mq.commitlog.message import decode_properties
from mq.commitlog.put import AppendResult, DispatchRequest, InnerMessage
from mq.commitlog.reader import LogReader
from mq.commitlog.record import MessageExt, encode_record
from mq.commitlog.segments import Segments
from mq.commitlog.store import MessageStore
from mq.runtime.disk import Disk
from mq.runtime.settings import fill
from mq.sim.node import SimNode
from mq.sim.simulation import Simulation

BORN_HOST = encode_host("10.0.0.9:40000")
STORE_HOST = encode_host("10.0.0.1:10911")
SMALL_SEGMENT = 8192

# The record of RocketMQ's own MessageDecoder, made by running it: topic T, body hello, tag TagA, key k1.
REAL_RECORD = bytes.fromhex(
    "00000073daa320a73610a686000000010000000000000000000000020000000000000064000000000000018bcfe56800"
    "7f000001000030390000018bcfe568017f00000100002a9f0000000000000000000000000000000568656c6c6f015400"
    "124b455953016b3102544147530154616741 02".replace(" ", "")
)
REAL_RECORD_AT = 100  # the physical offset that it says it lies at


def inner(
    body: bytes = b"x",
    topic: str = "flights",
    queue_id: int = 0,
    text: str = "",
    wait: bool = True,
    parts: Sequence[tuple[int, bytes, str]] | None = None,
    sys_flag: int = 0,
    hosts: tuple[bytes, bytes] = (BORN_HOST, STORE_HOST),
    flag: int = 0,
) -> InnerMessage:
    """A message on its way into the log; `text` is its properties as they are stored."""
    born, store = hosts
    return InnerMessage(
        topic,
        queue_id,
        body,
        decode_properties(text),
        text,
        1_000,
        born,
        store,
        flag,
        sys_flag,
        0,
        wait,
        parts,
    )


def record(physical_offset: int, size: int, store_ms: int = 1_000) -> bytes:
    """A whole record of exactly `size` bytes for this place, 95 or more; its last byte is not 0."""
    body = bytes(65 + (physical_offset + number) % 26 for number in range(size - 95))
    return encode_record(
        b"T", body, b"k\x01v", 0, 0, physical_offset, 0, 0, store_ms, BORN_HOST, store_ms, STORE_HOST
    )


def log_of(disk: Disk, segment_bytes: int, directory: str = "commitlog") -> CommitLog:
    """An empty log of its own, without a store around it."""
    return CommitLog(Segments(disk, directory, segment_bytes))


def append(log: CommitLog, *sizes: int) -> list[int]:
    """Append and write out records of these sizes; returns where each lies."""
    places = []
    for size in sizes:
        places.append(log.place_for(size))
        log.append(record(places[-1], size))
    log.write_out(1_000)
    return places


def places(log: CommitLog) -> list[int]:
    """Where each record lies that a reader finds."""
    return [message.physical_offset for message in LogReader(log, log.min_offset, log.end)]


def whole_file(disk: Disk, path: str) -> bytes:
    """A file's bytes."""
    file = disk.open(path)
    data = file.read_at(0, file.length())
    file.close()
    return data


def spoil(disk: Disk, path: str, position: int, data: bytes) -> None:
    """Overwrite some bytes of a file behind everybody's back."""
    file = disk.open(path, create=True)
    file.write_at(position, data)
    file.close()


class Notes:
    """A derived store that only notes what it is told."""

    name = "logics"

    def __init__(self) -> None:
        self.requests: list[DispatchRequest] = []
        self.durable_ms: int | None = 0
        self.flushes: list[bool] = []
        self.needs_from = 0

    def load(self) -> None: ...

    def recovered_to(self) -> int:
        return self.needs_from

    def recover(self, clean: bool, log_end: int) -> None: ...

    def rewriting(self, on: bool) -> None: ...

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        self.requests += requests

    def truncate(self, physical_offset: int) -> None: ...

    def delete_before(self, physical_offset: int) -> None: ...

    async def flush(self, thorough: bool) -> int | None:
        self.flushes.append(thorough)
        return self.durable_ms

    def close(self) -> None: ...


class Bench:
    """A simulated machine with one store."""

    def __init__(self, sim: Simulation, name: str = "broker", **settings: str) -> None:
        self.sim = sim
        self.name = name
        self.settings = {"mappedFileSizeCommitLog": str(SMALL_SEGMENT), **settings}
        self.notes: Notes | None = None
        self.store: MessageStore

    @property
    def node(self) -> SimNode:
        """The machine in its present life."""
        return self.sim.node(self.name)

    def open(self, notes: Notes | None = None) -> MessageStore:
        """Make a store and start it; `notes` is told what is appended. Raises what the start raises."""
        self.store = MessageStore(self.node, fill(MessageStoreConfig, self.settings))
        if notes is not None:
            self.store.dispatchers.append(notes)
        self.sim.run(self.sim.on(self.node, self.store.start()), timeout_s=60)
        return self.store

    def close(self) -> None:
        """End cleanly."""
        self.sim.run(self.sim.on(self.node, self.store.stop()), timeout_s=60)

    def reborn(self, death: str = "process", notes: Notes | None = None) -> MessageStore:
        """Die, start again, recover."""
        self.sim.kill(self.name, death)
        self.sim.restart(self.name)
        return self.open(notes)

    def put(self, *messages: InnerMessage) -> list[AppendResult]:
        """Put them as one network read would; only what was answered at once is in the result."""
        results: list[AppendResult] = []
        for message in messages:
            self.store.put(message, results.append)
        self.store.write_out()
        return results

    async def put_and_wait(self, message: InnerMessage) -> tuple[AppendResult, float]:
        """Put one, and say after how many virtual ms it was answered."""
        began = self.node.monotonic_ms()
        result = await self.sim.on(self.node, self.store.put_and_wait(message))
        return result, round(self.node.monotonic_ms() - began, 3)

    def wait(self, seconds: float) -> None:
        """Let virtual time pass."""
        self.sim.run(asyncio.sleep(seconds))

    def messages(self) -> list[MessageExt]:
        """Everything a reader finds in the log."""
        log = self.store.log
        return list(LogReader(log, log.min_offset, log.end))

    def bodies(self) -> list[bytes]:
        """The bodies of all that."""
        return [message.body for message in self.messages()]

    def log_syncs(self) -> int:
        """How many syncs of the log's files have ended."""
        kinds = [event for event in self.sim.events if event.kind == "synced" and event.node == self.name]
        return sum(str(dict(event.fields)["path"]).startswith("commitlog/") for event in kinds)


# ---------------------------------------------------------------- the bytes of a record

FIXED = (
    ("size", 4), ("magic", 4), ("body CRC", 4), ("queue id", 4), ("flag", 4), ("queue offset", 8),
    ("physical offset", 8), ("sys flag", 4), ("born time", 8), ("born host", 8), ("store time", 8),
    ("store host", 8), ("reconsume times", 4), ("prepared offset", 8), ("body length", 4),
)  # fmt: skip


class Field(NamedTuple):
    """A field of a record: its bytes are `begin` to `end - 1`."""

    name: str
    begin: int
    end: int


def fields_of(data: bytes) -> list[Field]:
    """The fields of a record with IPv4 hosts, in order."""
    found, at = [], 0
    for name, length in FIXED:
        found.append(Field(name, at, at + length))
        at += length
    for name, width in (("body", 0), ("topic", 1), ("properties", 2)):
        if width:
            found.append(Field(f"{name} length", at, at + width))
            length = int.from_bytes(data[at : at + width], "big")
            at += width
        else:
            (length,) = struct.unpack(">i", data[at - 4 : at])
        found.append(Field(name, at, at + length))
        at += length
    return found


def changes_noticed(disk: Disk) -> list[int]:
    """For each byte of a record: in how many of its 255 wrong values does a reader of the log stop there?

    The record is RocketMQ's own with another position, between two others.
    """
    log = log_of(disk, SMALL_SEGMENT, "changes")
    (first,) = append(log, 120)
    place = log.place_for(len(REAL_RECORD))
    data = REAL_RECORD[:28] + place.to_bytes(8, "big") + REAL_RECORD[36:]
    log.append(data)
    append(log, 120)
    noticed = []
    for at, byte in enumerate(data):
        stops = 0
        for value in range(256):
            if value != byte:
                log.segments.write(place + at, bytes((value,)))
                stops += places(log) == [first]
        log.segments.write(place + at, data[at : at + 1])
        noticed.append(stops)
    return noticed


def noticed_table(noticed: Sequence[int], data: bytes = REAL_RECORD) -> list[tuple[Field, int, int]]:
    """(bytes of a field, fewest changes of one of them that are noticed, most): a field is split where some
    bytes are always watched and others not."""
    rows = []
    for field in fields_of(data):
        at = field.begin
        for count, run in groupby(
            noticed[field.begin : field.end], key=lambda stops: (stops > 0, stops == 255)
        ):
            values = list(run)
            rows.append((Field(field.name, at, at + len(values)), min(values), max(values)))
            at += len(values)
            del count
    return rows


# ---------------------------------------------------------------- the night of the 30th

EVENING_MS = new_york_ms(29, 20)
POWER_GOES_MS = new_york_ms(30) + 300
"""A third of a second after midnight, when the plan of the 30th has just been published."""


@cache
def evening_at(airport: str) -> tuple[Event, ...]:
    """What the broker of this name is sent between 20:00 on the 29th and the moment when the power goes."""
    return tuple(
        event
        for event in january()
        if EVENING_MS <= event.when_ms < POWER_GOES_MS and queue_of(event)[0] == airport
    )


def queue_of(event: Event) -> tuple[str, int]:
    """The broker and the queue of its key: all queues of all brokers are one list."""
    broker, queue_id = divmod(crc32(event.key.encode()) % (len(BROKERS) * 8), 8)
    return sorted(BROKERS)[broker], queue_id
