"""The story that is interrupted at every Disk call: a NameServer, a broker, a producer and a pull consumer.

What always holds: files are small, so that log, queues and index each roll several times; topics are made on
request and by sending; sends are single, pipelined and in batches; the broker stops and starts in between.
`History` is what the client was told, and nothing else: the judge compares it with what a restart finds.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import PROPERTY_UNIQ_KEY, PROPERTY_WAIT, Message, encode_properties
from mq.consumequeue.client import PullConsumer
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance, MessageQueue, create_topic
from mq.routing.topics import TopicConfig
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv

POLICIES = ("ASYNC_FLUSH", "SYNC_FLUSH")
CHAPTER = 3
NAMES, BROKER, CLIENT = "names", "broker", "client"
BROKER_ADDRESS, NAMES_ADDRESS = "10.0.0.1:10911", "10.0.0.2:9876"
GROUP = "display"
SMALL_FILES = {
    "namesrvAddr": NAMES_ADDRESS,
    "mappedFileSizeCommitLog": "8192",  # two pages: the later one may survive without the earlier
    "mappedFileSizeConsumeQueue": "160",  # eight entries
    "flushConsumeQueueLeastPages": "0",  # each second the queues are written, and not synced
    "maxHashSlotNum": "1030",  # header and entries lie in different pages
    "maxIndexNum": "25",
    "flushConsumerOffsetInterval": "15000",
}
FILL = "abcdefghijklmnopqrstuvwxyz0123456789" * 40


@dataclass
class Sent:
    """One message that was handed to the producer; the last four fields are known once it is acknowledged."""

    number: int
    topic: str
    body: bytes
    properties: dict[str, str]
    in_batch: bool = False
    acknowledged_ms: float | None = None
    queue_id: int = -1
    queue_offset: int = -1
    physical_offset: int = -1

    @property
    def uniq_key(self) -> str:
        """What tells it from every other message."""
        return self.properties[PROPERTY_UNIQ_KEY]

    @property
    def stored(self) -> str:
        """Its properties as they are stored: with CLUSTER, and without WAIT unless in a batch."""
        text = encode_properties(self.properties)
        if self.in_batch:  # its own WAIT as it came, then the batch's
            text += encode_properties({PROPERTY_WAIT: "true"}) * 2
        return f"{text}CLUSTER\x01DefaultCluster"

    def __str__(self) -> str:
        where = f" at {self.topic}/{self.queue_id}@{self.queue_offset}" if self.acknowledged_ms else ""
        return f"message {self.number}{where}"


@dataclass
class History:
    """What was sent, and what the client was told."""

    sent: dict[str, Sent] = field(default_factory=dict)  # by UNIQ_KEY, in the order of sending
    created: dict[str, int] = field(default_factory=dict)  # topics whose creation was confirmed: their queues
    committed: list[int] = field(default_factory=list)  # consumer offsets of flights/0, in the order told
    committed_safely: int = -1  # the last of them that a write of the table must have taken in

    def acknowledged(self) -> list[Sent]:
        """Everything that was acknowledged, in the order of the log."""
        told = [sent for sent in self.sent.values() if sent.acknowledged_ms is not None]
        return sorted(told, key=lambda sent: sent.physical_offset)


def properties_for(policy: str) -> dict[str, str]:
    """The broker's settings."""
    return {**SMALL_FILES, "flushDiskType": policy}


class Client:
    """A producer and a pull consumer on one node, who write down what they are told."""

    def __init__(self, simulation: Simulation, name: str, history: History) -> None:
        self.simulation = simulation
        self.history = history
        self.node = simulation.node(name)
        self.instance = ClientInstance(self.node, NAMES_ADDRESS)
        self.producer = Producer(self.instance, f"{name}-producer")
        self.producer.retry_times = 0  # what was sent once is stored once
        self.consumer = PullConsumer(self.instance, GROUP)

    async def start(self) -> None:
        """Both take part."""
        await self.instance.add(self.producer)
        await self.instance.add(self.consumer)
        await self.instance.start()

    def message(self, topic: str, size: int = 0, in_batch: bool = False) -> Message:
        """The next message; its body, tag and keys follow from its number."""
        number = len(self.history.sent)
        size = size or 60 + number * 97 % 500
        body = f"{number:04d} {FILL[number % 36 : number % 36 + size]}".encode()
        keys = f"flight{number % 7} tail{number % 3}" if number % 4 else f"flight{number % 7}"
        message = Message(topic, body, tags="AB"[number % 2], keys=keys)
        message.properties[PROPERTY_UNIQ_KEY] = f"{number:032X}"
        sent = Sent(number, topic, body, dict(message.properties), in_batch)
        self.history.sent[sent.uniq_key] = sent
        return message

    async def send(self, topic: str, queue_id: int | None = None, size: int = 0) -> None:
        """One message; without a queue, the producer chooses."""
        message = self.message(topic, size)
        result = await self.producer.send(message, self.queue(topic, queue_id))
        self._note([message], result.status, result.queue.queue_id, result.queue_offset, result.offset_msg_id)

    async def send_batch(self, topic: str, queue_id: int, count: int) -> None:
        """Several messages in one request."""
        messages = [self.message(topic, in_batch=True) for _ in range(count)]
        result = await self.producer.send_batch(messages, self.queue(topic, queue_id))
        self._note(messages, result.status, queue_id, result.queue_offset, result.offset_msg_id)

    async def send_together(self, topic: str, *queue_ids: int) -> None:
        """Pipelined: all leave before the first answer comes."""
        sends = [self.send(topic, queue_id) for queue_id in queue_ids]
        ends = await asyncio.gather(*sends, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _note(
        self, messages: list[Message], status: SendStatus, queue_id: int, queue_offset: int, ids: str
    ) -> None:
        assert status is SendStatus.SEND_OK, f"{messages[0]} was answered with {status.name}"
        for place, (message, offset_id) in enumerate(zip(messages, ids.split(","), strict=True)):
            sent = self.history.sent[message.properties[PROPERTY_UNIQ_KEY]]
            sent.acknowledged_ms = self.node.monotonic_ms()
            sent.queue_id, sent.queue_offset = queue_id, queue_offset + place
            sent.physical_offset = int(offset_id[-16:], 16)

    @staticmethod
    def queue(topic: str, queue_id: int | None) -> MessageQueue | None:
        """The queue of our only broker."""
        return None if queue_id is None else MessageQueue(topic, "broker-a", queue_id)

    async def create(self, topic: str, queues: int) -> None:
        """Make a topic on request."""
        await create_topic(self.instance, BROKER_ADDRESS, TopicConfig(topic, queues, queues))
        self.history.created[topic] = queues
        await self.instance.routes.refresh(topic)

    async def look(self, topic: str, queue_id: int) -> None:
        """Pull a queue once from its beginning: a reader between the writers."""
        queue = MessageQueue(topic, "broker-a", queue_id)
        await self.consumer.pull(queue, "*", 0, 16)

    async def commit(self, queue_offset: int) -> None:
        """Tell the broker how far this group has come in flights/0."""
        self.history.committed.append(queue_offset)
        await self.consumer.update_offset(MessageQueue("flights", "broker-a", 0), queue_offset)


class Story:
    """The scenario under one policy. `play` is what `mq.sim.crashes` interrupts.

    `jump_ms`: by so much the broker's wall clock is set when afternoon begins, and again in the evening.
    """

    def __init__(self, policy: str, jump_ms: int = 0) -> None:
        self.policy = policy
        self.jump_ms = jump_ms
        self.history = History()
        self.marks: dict[str, int] = {}  # how many changing Disk calls there had been when a part began

    def play(self, simulation: Simulation) -> None:
        """From an empty disk to the end, or to the crash."""
        self.history = History()
        simulation.node(BROKER)
        simulation.node(NAMES)
        simulation.run(self._main(simulation), timeout_s=600)

    async def open(self, simulation: Simulation) -> Broker:
        """Start the broker in its present life."""
        node = simulation.node(BROKER)
        broker = build_broker(node, properties_for(self.policy), CHAPTER)
        await simulation.on(node, broker.start(), "start broker")
        return broker

    async def _main(self, simulation: Simulation) -> None:
        namesrv = build_namesrv(simulation.node(NAMES), {"listenPort": NAMES_ADDRESS.rpartition(":")[2]})
        await simulation.on(NAMES, namesrv.start())
        broker = await self.open(simulation)
        client = Client(simulation, CLIENT, self.history)

        await simulation.on(CLIENT, client.start(), "client")
        await self._part(simulation, "morning", self._morning(client))
        await asyncio.sleep(62)  # the queues' thorough flush, and the checkpoint behind it
        await self._part(simulation, "afternoon", self._afternoon(client))
        await simulation.on(BROKER, broker.stop(), "stop")
        broker = await self.open(simulation)
        await self._part(simulation, "short session", self._short_session(client))
        await simulation.on(BROKER, broker.stop(), "stop")  # before anything else has synced a name
        await self.open(simulation)
        await self._part(simulation, "evening", self._evening(client))

    async def _part(self, simulation: Simulation, name: str, work: Coroutine[Any, Any, None]) -> None:
        if self.jump_ms and name in ("afternoon", "evening"):
            simulation.jump_clock(BROKER, self.jump_ms)
        self.marks[name] = len(simulation.node(BROKER).machine.platter.changing_calls)
        await simulation.on(CLIENT, work, name)

    async def _morning(self, client: Client) -> None:
        await client.create("flights", 3)
        for queue_id in (0, 1, 2, 0):
            await client.send("flights", queue_id)
        await client.look("flights", 0)
        await client.send_batch("flights", 1, 5)
        await client.send("gates")  # made by this send
        await client.commit(1)
        await asyncio.sleep(26)  # the table is written after 10 s, then each 15 s
        self.history.committed_safely = 1
        await client.send_together("flights", 0, 1, 2, 0, 1, 2)
        await client.send_batch("flights", 0, 4)
        await asyncio.sleep(7)
        for queue_id in (2, 1, 0):
            await client.send("flights", queue_id, 700)
        await client.send_batch("gates", 1, 3)

    async def _afternoon(self, client: Client) -> None:
        await client.send_together("flights", 0, 1, 2, 0)
        await client.commit(5)
        await asyncio.sleep(5)
        await client.send("cancelled")
        await client.send_batch("flights", 2, 6)
        await client.look("flights", 2)
        await asyncio.sleep(5)
        await client.send_batch("flights", 0, 5)
        await client.create("boards", 2)
        await client.send_together("boards", 0, 1, 1)
        await asyncio.sleep(62)
        self.history.committed_safely = 5
        await client.send("boards", 0)

    async def _short_session(self, client: Client) -> None:
        await client.send_together("flights", 0, 1, 2)
        await client.send("gates", 0)
        await asyncio.sleep(1.5)

    async def _evening(self, client: Client) -> None:
        await client.send_batch("boards", 1, 4)
        await client.send_together("flights", 0, 1, 2, 1)
        await asyncio.sleep(11)  # long enough for a sync under every policy
        await client.send("flights", 0)
        await client.look("flights", 0)
        await client.send("late")
        await client.commit(8)
