"""What the tests of chapter 3's exercises stand on: one broker's store in the simulator, and January.

The log and everything around it are ours. The queues are the learner's where the exercise has its holes.
"""

from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from zlib import crc32

from chapters.story import Event, january
from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.hosts import encode_host
from mq.commitlog.message import encode_properties
from mq.commitlog.put import InnerMessage, PutStatus
from mq.commitlog.record import MessageExt
from mq.commitlog.store import MessageStore
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, ConsumeQueue, Entry
from mq.consumequeue.store import QueueStore
from mq.runtime.disk import Disk, File
from mq.sim.simulation import Simulation

T = TypeVar("T")
TOPIC = "flights"
FIELDS = (8, 4, 8)  # of an entry: physical offset, size, tags code
HOST = encode_host("10.0.0.1:10911")


class Station:
    """One machine: a log, and `queue_count` queues that follow it. A key always goes to the same queue."""

    def __init__(
        self, world: Simulation, segment_bytes: int, entries_per_file: int, queue_count: int
    ) -> None:
        self.world = world
        self.segment_bytes = segment_bytes
        self.file_bytes = entries_per_file * ENTRY_BYTES
        self.queue_count = queue_count
        self.open()

    def open(self) -> None:
        """A store and queues over what the disk has. They are not connected yet."""
        self.node = self.world.node("JFK")
        config = MessageStoreConfig(mapped_file_size_commit_log=self.segment_bytes)
        self.store = MessageStore(self.node, config)
        self.queues = QueueStore(self.node, self.store, self.file_bytes)

    def connect(self) -> None:
        """The queues follow the log from now on, and the log asks them where each queue goes on."""
        self.store.dispatchers.append(self.queues)
        self.store.queue_ends.append(self.queues.queue_ends)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the machine do it."""
        return self.world.run(self.world.on(self.node, work), timeout_s=600)

    def start(self) -> None:
        """Recover and accept."""
        self.run(self.store.start())

    def put(self, events: Sequence[Event]) -> None:
        """Store them, and wait until all are acknowledged."""

        async def work() -> None:
            done: list[PutStatus] = []
            for event in events:
                self.store.put(self.message(event), lambda result: done.append(result.status))
            self.store.write_out()
            assert done == [PutStatus.PUT_OK] * len(events), set(done)

        self.run(work())

    def message(self, event: Event) -> InnerMessage:
        """The event as the broker would get it."""
        properties = {"KEYS": event.key, "TAGS": event.tag}
        queue_id = crc32(event.key.encode()) % self.queue_count
        text = encode_properties(properties)
        return InnerMessage(TOPIC, queue_id, event.body, properties, text, event.when_ms, HOST, HOST)

    def records(self, below: int | None = None) -> Iterator[MessageExt]:
        """Every record of the log, found by walking it here, without any of the code under test."""
        position = self.store.log.min_offset
        end = self.store.log.written_to if below is None else below
        while position < end:
            size = self.store.size_at(position)
            record = self.store.record_at(position, size)
            if record is None:  # a BLANK mark says how many bytes are left in its segment
                position += size
            else:
                yield record
                position += size

    def expected(self, below: int | None = None) -> dict[int, list[tuple[int, bytes]]]:
        """Queue id -> the entries that the log asks for, as (queue offset, 20 bytes)."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for record in self.records(below):
            entry = ENTRY.pack(record.physical_offset, record.size, java_hash(record.tags or ""))
            found.setdefault(record.queue_id, []).append((record.queue_offset, entry))
        return found


def java_hash(text: str) -> int:
    """Java's String.hashCode, once more and slowly: what is judged is not asked."""
    total = 0
    for letter in text:
        total = (total * 31 + ord(letter)) % (1 << 32)
    return total - (1 << 32) if total >> 31 else total


class CountingDisk:
    """A disk that knows how many of the files that were opened through it are still open."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.open_files = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.disk, name)

    def open(self, path: str, create: bool = False) -> File:
        """As the real one, and counted."""
        file = self.disk.open(path, create)
        close = file.close

        def counted() -> None:
            self.open_files -= 1
            close()

        self.open_files += 1
        file.close = counted  # type: ignore[method-assign]
        return file


@contextmanager
def station(
    segment_bytes: int = 1 << 20, entries_per_file: int = 1000, queue_count: int = 8
) -> Iterator[Station]:
    """A machine that has not started."""
    with Simulation(seed=30) as world:
        yield Station(world, segment_bytes, entries_per_file, queue_count)


@contextmanager
def empty_queue(entries_per_file: int) -> Iterator[ConsumeQueue]:
    """Queue 3 of `flights` on an empty disk."""
    with Simulation(seed=30) as world:
        yield ConsumeQueue(world.node("JFK").disk, TOPIC, 3, entries_per_file * ENTRY_BYTES)


def entry(number: int) -> Entry:
    """A made-up entry that is unlike every other: records of 200 to 299 bytes, one after the other."""
    return Entry(250 * number, 200 + number % 50, 2305 + number)


def fill(queue: ConsumeQueue, numbers: range) -> None:
    """Enter `entry(number)` for each, and write them to files."""
    add(queue, numbers)
    queue.write_tail()


def add(queue: ConsumeQueue, numbers: range) -> None:
    """Enter `entry(number)` for each; they stay in the tail."""
    for number in numbers:
        queue.append(number, *entry(number))


def first_events(count: int) -> tuple[Event, ...]:
    """The first of January, in published order."""
    return january()[:count]
