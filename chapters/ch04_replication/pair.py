"""A NameServer, a master and its slave in the simulator: the bench of tests and demonstrations.

All is as RocketMQ has it, its waiting times too, but for the size of a segment: virtual time costs nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from mq.commitlog.client import Producer, SendResult
from mq.commitlog.message import Message
from mq.commitlog.reader import LogReader
from mq.commitlog.record import MessageExt
from mq.commitlog.store import MessageStore
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.replication.follower import Follower
from mq.replication.haservice import HAService
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance
from mq.routing.namesrv import NameServer
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv

MASTER, SLAVE, NAMES, DESK = "LGA", "LGA-copy", "names", "desk"
TOPIC, QUEUES = "flights", 2
SMALL = {
    "mappedFileSizeCommitLog": "16384",
    "mappedFileSizeConsumeQueue": "2000",
    "maxHashSlotNum": "100",
    "maxIndexNum": "400",
}
CHAPTER = 4
STEP_S = 0.05
PATIENCE_MS = 5_000.0
"""RocketMQ's producers wait for 3 s, and a master as long for its slave: they would never hear of it."""


class Pair:
    """One broker name with a master and a slave. `settings` are for both; `master` and `slave` for one."""

    def __init__(self, sim: Simulation, role: str = "SYNC_MASTER", settings: dict[str, str] | None = None):
        self.sim = sim
        self.role = role
        self.settings = {**SMALL, **(settings or {})}
        self.names: NameServer | None = None
        self.brokers: dict[str, Broker] = {}
        self.instance: ClientInstance | None = None
        self.told = 0  # messages
        self.patience_ms = PATIENCE_MS

    @property
    def master(self) -> Broker:
        """In its present life."""
        return self.brokers[MASTER]

    @property
    def slave(self) -> Broker:
        """In its present life."""
        return self.brokers[SLAVE]

    async def start(self, *names: str) -> None:
        """The NameServer, then the brokers that are named (both, if none is), one after the other."""
        self.names = build_namesrv(self.sim.node(NAMES))
        await self.sim.on(NAMES, self.names.start())
        for name in names or (MASTER, SLAVE):
            await self.open(name)

    async def open(self, name: str, **settings: str) -> Broker:
        """Start a broker in the present life of its machine."""
        node = self.sim.node(name)
        role = {"brokerRole": self.role, "brokerId": "0"}
        if name != MASTER:
            role = {"brokerRole": "SLAVE", "brokerId": "1"}
        assert self.names is not None
        told = {"brokerName": MASTER, "namesrvAddr": self.names.address, **role, **self.settings, **settings}
        broker = self.brokers[name] = build_broker(node, told, CHAPTER)
        if name == MASTER and broker.topics.find(TOPIC) is None:
            broker.topics.put(TopicConfig(TOPIC, QUEUES, QUEUES))
        await self.sim.on(node, broker.start(), f"start {name}")
        return broker

    async def again(self, name: str, death: str = "process", after_s: float = 0.0) -> Broker:
        """Kill a broker, wait, and start it in a new life on the disk that is left."""
        self.sim.kill(name, death)
        await asyncio.sleep(after_s)
        self.sim.restart(name)
        return await self.open(name)

    async def stop(self, name: str) -> None:
        """An orderly end; its machine goes on."""
        await self.sim.on(name, self.brokers[name].stop())

    # Clients.

    async def desk(self) -> ClientInstance:
        """The operations desk: one client for everybody here."""
        if self.instance is None:
            assert self.names is not None
            self.instance = ClientInstance(self.sim.node(DESK), self.names.address, "desk@1")
            await self.sim.on(DESK, self.instance.start())
        return self.instance

    async def send(self, *bodies: bytes, wait: bool = True, queue_id: int = 0) -> list[SendResult]:
        """Send one after the other, each once, to one queue. Raises MQError."""
        producer = Producer(await self.desk(), "desk")
        producer.timeout_ms = self.patience_ms
        producer.compress_over_bytes = 1 << 30  # a body here is as long as it looks
        queue = MessageQueue(TOPIC, MASTER, queue_id)

        async def work() -> list[SendResult]:
            results = []
            for body in bodies:
                message = Message(TOPIC, body, keys="key")
                message.properties["WAIT"] = "true" if wait else "false"
                results.append(await producer.send(message, queue))
            return results

        return await self.sim.on(DESK, work(), "send")

    async def statuses(self, *bodies: bytes, wait: bool = True) -> list[str]:
        """As `send`: what was promised, or the error's kind."""
        found = []
        for body in bodies:
            try:
                found.append((await self.send(body, wait=wait))[0].status.name)
            except MQError as error:
                found.append(type(error).__name__)
        return found

    async def pull_all(self, queue_id: int = 0) -> list[bytes]:
        """Every message of a queue, from whoever answers for it now."""
        consumer = PullConsumer(await self.desk(), "gate")

        async def work() -> list[MessageExt]:
            found: list[MessageExt] = []
            while True:
                outcome = await consumer.pull(MessageQueue(TOPIC, MASTER, queue_id), "*", len(found))
                if outcome.status is not PullStatus.FOUND:
                    return found
                found += outcome.messages

        return [message.body for message in await self.sim.on(DESK, work(), "pull")]

    async def tell(self, count: int, size: int = 100, wait: bool = True) -> list[str]:
        """Send so many messages, and note in the journal what was promised and how long that took."""
        before_s = self.sim.loop.time()
        bodies = [b"%04d" % (self.told + number) + bytes(size - 4) for number in range(count)]
        self.told += count
        found = Counter(await self.statuses(*bodies, wait=wait))
        took_s = self.sim.loop.time() - before_s
        promised = ", ".join(f"{times} x {status}" for status, times in found.items())
        self.sim.record("desk", sent=count, promised=promised, took=f"{took_s:.3f} s")
        return list(found.elements())

    async def read(self, queue_id: int = 0) -> int:
        """Pull a whole queue, and note how much there is; -1 when nobody answers."""
        try:
            found = len(await self.pull_all(queue_id))
        except MQError as error:
            self.sim.record("desk", error.remark, read="nothing")
            return -1
        self.sim.record("desk", read=found)
        return found

    # Faults.

    def cut(self, both: bool = True, is_cut: bool = True) -> None:
        """Cut the line between master and slave: both ways, or only towards the slave."""
        master, slave = self.sim.node(MASTER).address, self.sim.node(SLAVE).address
        for one, other in ((master, slave), (slave, master))[: 2 if both else 1]:
            for link in self.sim.network.links(one, other):
                link.is_cut = is_cut
        self.sim.record("line", state="cut" if is_cut else "healed", ways=2 if both else 1)

    def heal(self) -> None:
        """The line is whole again."""
        self.cut(is_cut=False)

    def slow(self, delay_ms: float) -> None:
        """Bytes between master and slave take so much longer."""
        master, slave = self.sim.node(MASTER).address, self.sim.node(SLAVE).address
        for one, other in ((master, slave), (slave, master)):
            for link in self.sim.network.links(one, other):
                link.delay_s = delay_ms / 1000

    def note_ends(self) -> None:
        """Note where the logs end, as far as somebody is there to say."""
        living = {name: end for name, end in self.ends().items() if self.sim.node(name).life.alive}
        fields: dict[str, object] = dict(living)
        self.sim.record("ends", "", **fields)

    # What is where.

    async def until(self, what: Callable[[], bool], seconds: float = 60) -> float:
        """Wait until it is so; how many seconds that took. Raises AssertionError when it never is."""
        for step in range(int(seconds / STEP_S)):
            if what():
                return step * STEP_S
            await asyncio.sleep(STEP_S)
        raise AssertionError(f"it was not so within {seconds} s: {self.ends()}")

    def is_equal(self) -> bool:
        """Whether the slave's log ends where the master's does."""
        return end_of(self.slave) == end_of(self.master)

    async def equal(self, seconds: float = 60) -> float:
        """Wait for that; how long it took."""
        return await self.until(self.is_equal, seconds)

    def ends(self) -> dict[str, int]:
        """Where every log ends."""
        return {name: end_of(broker) for name, broker in self.brokers.items()}

    def is_following(self) -> bool:
        """Whether a connection stands, as both ends see it."""
        return self.slave.part(Follower).is_connected and bool(self.master.part(HAService).slaves)

    def events(self, *kinds: str) -> list[str]:
        """The journal's events of these kinds: node, kind and why, without the times."""
        return [
            f"{event.node} {event.kind}{f': {event.cause}' if event.cause else ''}"
            for event in self.sim.events
            if event.kind in kinds
        ]


def end_of(broker: Broker) -> int:
    """Where its log ends."""
    return broker.part(MessageStore).max_physical_offset


def log_of(broker: Broker, begin: int | None = None) -> bytes:
    """Every byte of its log, from its first (or from `begin`) to its end."""
    store = broker.part(MessageStore)
    position = store.min_physical_offset if begin is None else begin
    pieces = []
    while data := store.read(position, 1 << 20):
        pieces.append(data)
        position += len(data)
    return b"".join(pieces)


def bodies_of(broker: Broker) -> list[bytes]:
    """The body of every message in its log."""
    log = broker.part(MessageStore).log
    return [message.body for message in LogReader(log, log.min_offset, log.end)]


async def refused(pair: Pair, body: bytes) -> str:
    """Send what must fail; why it did."""
    try:
        await pair.send(body)
    except MQError as error:
        return error.remark
    raise AssertionError(f"{body!r} was acknowledged")
