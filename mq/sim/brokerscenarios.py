"""Broker scenarios: the floors up to chapter 3 in a story with deaths, to be compared between worlds · depth

What always holds: under SYNC_FLUSH every acknowledged message is pulled in the end, whatever died meanwhile,
and nothing that was not sent. What differs between two worlds shows in the journal: every frame, sync and
answer stands in it.
"""

import asyncio

from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import PROPERTY_UNIQ_KEY, Message
from mq.consumequeue.client import PullConsumer
from mq.routing.client import ClientInstance
from mq.routing.route import MessageQueue
from mq.runtime.errors import MQError
from mq.runtime.node import Node
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv

CHAPTER = 3
TOPIC = "flights"
BROKER, NAMES = "broker", "names"
SETTINGS = {
    "flushDiskType": "SYNC_FLUSH",
    "mappedFileSizeCommitLog": "16384",
    "mappedFileSizeConsumeQueue": "400",
    "maxHashSlotNum": "500",
    "maxIndexNum": "60",
}
PAUSE_MS = 200


class Sender:
    """Sends numbered messages, single and in batches, each until it is acknowledged."""

    def __init__(self, node: Node, instance: ClientInstance) -> None:
        self.node = node
        self.producer = Producer(instance, "gate")
        self.sent: dict[str, bytes] = {}
        self.acknowledged: dict[str, None] = {}
        self.is_done = False

    async def run(self, count: int) -> None:
        """Send about `count` messages."""
        while len(self.sent) < count:
            size = self.node.random.choice((1, 1, 1, 4))
            messages = [self._message() for _ in range(size)]
            while not await self._send(messages):
                await self.node.sleep_ms(PAUSE_MS)
            await self.node.sleep_ms(self.node.random.random() * 900)
        self.is_done = True

    def _message(self) -> Message:
        number = len(self.sent)
        body = b"%d " % number + b"x" * self.node.random.randrange(900)
        message = Message(TOPIC, body, tags="AB"[number % 2], keys=f"tail{number % 5}")
        message.properties[PROPERTY_UNIQ_KEY] = f"{number:032X}"
        self.sent[message.properties[PROPERTY_UNIQ_KEY]] = body
        return message

    async def _send(self, messages: list[Message]) -> bool:
        try:
            if len(messages) == 1:
                result = await self.producer.send(messages[0])
            else:
                result = await self.producer.send_batch(messages)
        except MQError as error:
            self.node.journal.record("not sent", error.remark.partition("\n")[0], count=len(messages))
            return False
        if result.status is not SendStatus.SEND_OK:
            self.node.journal.record("not promised", result.status.name, count=len(messages))
            return False
        self.acknowledged.update(dict.fromkeys(message.properties[PROPERTY_UNIQ_KEY] for message in messages))
        queue, place = result.queue, result.queue_offset
        self.node.journal.record("acknowledged", queue=queue.queue_id, at=place, id=result.offset_msg_id)
        return True


class Reader:
    """Pulls every queue and commits how far it came, until it has seen all that the sender was promised."""

    def __init__(self, node: Node, instance: ClientInstance, sender: Sender) -> None:
        self.node = node
        self.consumer = PullConsumer(instance, "display")
        self.sender = sender
        self.seen: dict[str, bytes] = {}
        self.next: dict[MessageQueue, int] = {}

    async def run(self) -> None:
        """Round after round."""
        while not (self.sender.is_done and self.sender.acknowledged.keys() <= self.seen.keys()):
            try:
                await self._round()
            except MQError as error:
                self.node.journal.record("not pulled", error.remark.partition("\n")[0])
            await self.node.sleep_ms(PAUSE_MS)

    async def _round(self) -> None:
        for queue in await self.consumer.fetch_queues(TOPIC):
            answer = await self.consumer.pull(queue, "*", self.next.get(queue, 0))
            self.next[queue] = answer.next_begin_offset
            for message in answer.messages:
                self.seen[message.properties[PROPERTY_UNIQ_KEY]] = message.body
            if answer.messages:
                await self.consumer.update_offset(queue, answer.next_begin_offset)
                self.node.journal.record("pulled", queue=queue.queue_id, to=answer.next_begin_offset)


async def open_broker(simulation: Simulation) -> None:
    """Start it in the present life of its machine."""
    node = simulation.node(BROKER)
    namesrv_addr = f"{simulation.node(NAMES).address}:9876"
    broker = build_broker(node, {**SETTINGS, "namesrvAddr": namesrv_addr}, CHAPTER)
    await simulation.on(node, broker.start(), "start broker")


def dies(simulation: Simulation, death: str, after_ms: float, away_ms: float) -> None:
    """Plan one death of the broker, and its return."""

    def back() -> None:
        simulation.restart(BROKER)
        simulation.start(open_broker(simulation), "start again")

    def down() -> None:
        simulation.kill(BROKER, death)
        simulation.at(away_ms, back)

    simulation.at(after_ms, down)


async def _story(simulation: Simulation, count: int) -> None:
    names, client = simulation.node(NAMES), simulation.node("client")
    await simulation.on(names, build_namesrv(names, {"listenPort": "9876"}).start())
    await open_broker(simulation)
    instance = ClientInstance(client, f"{names.address}:9876")
    sender = Sender(client, instance)
    reader = Reader(client, instance, sender)
    for participant in (sender.producer, reader.consumer):
        await instance.add(participant)
    await simulation.on(client, instance.start())
    await asyncio.gather(
        simulation.on(client, sender.run(count), "sender"), simulation.on(client, reader.run(), "reader")
    )
    strange = [key for key, body in reader.seen.items() if sender.sent.get(key) != body]
    assert not strange, f"phantom: {len(strange)} messages were pulled that were never sent so"
    simulation.record("all there", acknowledged=len(sender.acknowledged), pulled=len(reader.seen))


def broker_calm(simulation: Simulation) -> None:
    """Nothing goes wrong, and the queues' thorough flush comes by."""
    simulation.run(_story(simulation, 300), timeout_s=300)


def broker_killed(simulation: Simulation) -> None:
    """The process dies twice and the power goes once, while messages are sent and pulled."""
    dies(simulation, "process", 2_000, 500)
    dies(simulation, "power", 8_000, 3_000)
    dies(simulation, "process", 66_000, 100)
    simulation.run(_story(simulation, 300), timeout_s=300)
