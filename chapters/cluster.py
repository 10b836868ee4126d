"""Real processes, and a client that keeps January's order: what the tour is made of.

`Cluster` runs a NameServer and three brokers as processes. `Publisher` sends events so that all events of one
key are stored in the order in which they were handed over, also when a broker dies on the way; `judge` says
whether that is what came back.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from chapters.story import BROKERS, Event
from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.commitlog.record import MessageExt
from mq.consumequeue.client import PullConsumer
from mq.routing.client import ClientInstance, MessageQueue, create_topic, publish_queues
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode

TOPIC = "flights"
QUEUES = 8  # on each broker
SEGMENT_BYTES = 1 << 20
SETTINGS = (
    "diskSpaceWarningLevelRatio=100",  # January is small: it also fits on a disk that is nearly full
    "cleanFileForciblyEnable=false",
)
BATCH = 64  # events to one queue in one request
AHEAD = 1024  # events that are sent and not yet acknowledged, in all queues together
READ_AT_ONCE = 32
START_TIMEOUT_S = 30
BACK_TIMEOUT_S = 60


# ---------------------------------------------------------------- processes


class Cluster:
    """A NameServer and brokers as processes, in a session of their own, so that Ctrl-C is ours alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.addresses: dict[str, str] = {}

    async def start(self) -> None:
        """NameServer first, then the brokers side by side."""
        await self._start("namesrv", "namesrv", "--listen", "127.0.0.1:0")
        await asyncio.gather(*[self.start_broker(name) for name in BROKERS])

    async def start_broker(self, name: str) -> None:
        """Start a broker on its store; again on the port that it had, if it had one."""
        listen = self.addresses.get(name, "127.0.0.1:0")
        where = ("--name", name, "--listen", listen, "--store", str(self.store(name)))
        segments = f"mappedFileSizeCommitLog={SEGMENT_BYTES}"
        settings = [word for setting in (segments, *SETTINGS) for word in ("--set", setting)]
        await self._start(name, "broker", "--namesrv", self.addresses["namesrv"], *where, *settings)

    def store(self, name: str) -> Path:
        """Where a broker's files are."""
        return self.folder / name

    def segments(self, name: str) -> list[Path]:
        """The files of its CommitLog."""
        return sorted((self.store(name) / "commitlog").iterdir())

    async def _start(self, name: str, *arguments: str) -> None:
        self.processes[name] = process = self._spawn(name, arguments)
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await asyncio.to_thread(process.stdout.readline)
        except TimeoutError:
            line = ""
        found = re.search(r"ready at (\d+\.\d+\.\d+\.\d+:\d+)", line)
        if found is None:
            raise MQError(f"{name} did not start: {self.complaints(name) or line or 'no word from it'}")
        self.addresses[name] = found[1]

    def _spawn(self, name: str, arguments: Sequence[str]) -> "subprocess.Popen[str]":
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / f"{name}.stderr", "ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "mq", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=Path(__file__).resolve().parent.parent,
                start_new_session=True,
            )

    def complaints(self, name: str) -> str:
        """What the process wrote to stderr, its last line."""
        lines = (self.folder / f"{name}.stderr").read_text("utf-8", "replace").splitlines()
        return lines[-1] if lines else ""

    def kill(self, name: str) -> None:
        """SIGKILL: the process gets no chance to say or write anything."""
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self) -> None:
        """SIGTERM, brokers first: each writes what it has and removes its abort file."""
        for name in reversed(list(self.processes)):
            self.processes[name].terminate()
        for name, process in list(self.processes.items()):
            if process.wait(START_TIMEOUT_S) != 0:
                raise MQError(f"{name} ended with status {process.returncode}: {self.complaints(name)}")

    def end(self) -> None:
        """Nothing is left running, whatever happened before."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


# ---------------------------------------------------------------- a client


@dataclass
class Client:
    """One client process's parts, and the one list of queues of all brokers."""

    instance: ClientInstance
    producer: Producer
    consumer: PullConsumer
    queues: list[MessageQueue] = field(default_factory=list)

    @classmethod
    async def connect(cls, namesrv: str) -> "Client":
        """Start, and create the topic on every broker."""
        instance = ClientInstance(RealNode("tour", os.devnull), namesrv)
        client = cls(instance, Producer(instance, "airports"), PullConsumer(instance, "boards"))
        await instance.start()
        await instance.add(client.producer)
        await instance.add(client.consumer)
        await instance.routes.find("SELF_TEST_TOPIC")  # which every broker has
        for name in BROKERS:
            address = instance.routes.broker_address(name)
            if address is None:
                raise MQError(f"the NameServer does not know {name}")
            await create_topic(instance, address, TopicConfig(TOPIC, QUEUES, QUEUES))
        client.queues = publish_queues(await instance.routes.find(TOPIC), TOPIC)
        return client

    def queue_of(self, key: str) -> MessageQueue:
        """All queues of all brokers are one list, and the key's hash chooses from it."""
        return self.queues[crc32(key.encode()) % len(self.queues)]


class Lane:
    """The events that wait for one queue. One batch is under way at a time, so a retry cannot overtake."""

    def __init__(self, queue: MessageQueue) -> None:
        self.queue = queue
        self.events: deque[Event] = deque()
        self.is_closed = False
        self.bell = asyncio.Event()

    def put(self, event: Event | None) -> None:
        """One more; None says that it was the last."""
        if event is None:
            self.is_closed = True
        else:
            self.events.append(event)
        self.bell.set()

    async def take(self) -> list[Event]:
        """The next batch; an empty one is the end."""
        while not self.events and not self.is_closed:
            self.bell.clear()
            await self.bell.wait()
        return [self.events.popleft() for _ in range(min(BATCH, len(self.events)))]


class Publisher:
    """Sends events in order, and again when a broker does not answer."""

    def __init__(self, client: Client, watch: Callable[[int], None]) -> None:
        self.client = client
        self.watch = watch  # told how many events have been acknowledged
        self.acknowledged: Counter[str] = Counter()  # by broker
        self.retries = 0
        self.died_s: dict[str, float] = {}  # by broker, told by whoever killed it
        self.back_s: dict[str, float] = {}  # when it acknowledged something that was sent after that
        self._ahead = 0
        self._room = asyncio.Event()

    async def publish(self, events: Sequence[Event], at: Callable[[int, Event], None]) -> None:
        """Hand over all events; `at` is called before each is."""
        lanes = {queue: Lane(queue) for queue in self.client.queues}
        async with asyncio.TaskGroup() as group:
            for lane in lanes.values():
                group.create_task(self._drain(lane))
            for number, event in enumerate(events):
                at(number, event)
                lanes[self.client.queue_of(event.key)].put(event)
                self._ahead += 1
                while self._ahead >= AHEAD:
                    self._room.clear()
                    await self._room.wait()
            for lane in lanes.values():
                lane.put(None)

    async def _drain(self, lane: Lane) -> None:
        while batch := await lane.take():
            sent_s = await self._send([message_of(event) for event in batch], lane.queue)
            broker = lane.queue.broker_name
            self.acknowledged[broker] += len(batch)
            if broker in self.died_s and sent_s > self.died_s[broker]:  # else the dead one's last words
                self.back_s.setdefault(broker, time.monotonic())
            self._ahead -= len(batch)
            self._room.set()
            self.watch(self.acknowledged.total())

    async def _send(self, messages: list[Message], queue: MessageQueue) -> float:
        """Until it is acknowledged; returns when the request left that was."""
        give_up_s = time.monotonic() + BACK_TIMEOUT_S
        while True:
            sent_s = time.monotonic()
            try:
                result = await self.client.producer.send_batch(messages, queue)
                if result.status is SendStatus.SEND_OK:
                    return sent_s
            except MQError:
                if sent_s > give_up_s:
                    raise
            self.retries += 1
            await asyncio.sleep(0.05)


def message_of(event: Event) -> Message:
    """Tag: the carrier. Keys: the aircraft, and the flight on its day."""
    keys = event.key if event.key == event.flight_id else f"{event.key} {event.flight_id}"
    return Message(TOPIC, event.body, event.tag, keys)


async def read_queue(client: Client, queue: MessageQueue, watch: Callable[[int], None]) -> list[MessageExt]:
    """The whole queue, from its first message to its last."""
    found: list[MessageExt] = []
    end = await client.consumer.max_offset(queue)
    while len(found) < end:
        outcome = await client.consumer.pull(queue, "*", len(found), READ_AT_ONCE)
        if not outcome.messages:
            break
        found += outcome.messages
        watch(len(outcome.messages))
    return found


# ---------------------------------------------------------------- judging


@dataclass(frozen=True)
class Verdict:
    """What came back, compared with what was published, key by key."""

    keys: int
    lost: int
    phantom: int
    duplicated: int
    out_of_order: int

    @property
    def is_exact(self) -> bool:
        """The same events, once each, in the same order for every key."""
        return self.survived and not self.duplicated

    @property
    def survived(self) -> bool:
        """As `is_exact`, but an event that was sent twice may be there twice."""
        return not (self.lost or self.phantom or self.out_of_order)


def judge(events: Sequence[Event], queues: Sequence[Sequence[MessageExt]]) -> Verdict:
    """Compare the bodies of every key, in order. Of an event that is there twice the first counts."""
    published: dict[str, list[bytes]] = defaultdict(list)
    read: dict[str, list[bytes]] = defaultdict(list)
    for event in events:
        published[event.key].append(event.body)
    for messages in queues:
        for message in messages:
            read[message.keys[0]].append(message.body)
    once = {key: list(dict.fromkeys(bodies)) for key, bodies in read.items()}
    missing = {key: set(bodies).difference(once.get(key, ())) for key, bodies in published.items()}
    strange = defaultdict(set, {key: set(once[key]).difference(published.get(key, ())) for key in once})
    whole = [key for key in published if not missing[key] and not strange[key]]
    wrong = [key for key in whole if once[key] != published[key]]
    return Verdict(
        keys=len(published),
        lost=sum(map(len, missing.values())),
        phantom=sum(map(len, strange.values())),
        duplicated=sum(map(len, read.values())) - sum(map(len, once.values())),
        out_of_order=len(wrong),
    )
