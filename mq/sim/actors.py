"""Actors: a producer and a puller that write down what they were told and shown · depth

What always holds: a message is sent once, under a key of its own, so what lies there twice is the broker's
doing. An actor that begins again in a new life of its machine goes on where its history ends (sender) or
where the broker remembers that it was (reader).
"""

from collections.abc import Callable, Iterable

from mq.commitlog.client import Producer, SendResult
from mq.commitlog.message import PROPERTY_UNIQ_KEY, Message
from mq.commitlog.record import MessageExt
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.routing.client import ClientInstance
from mq.routing.route import MessageQueue
from mq.runtime.errors import MQError
from mq.sim.cluster import Cluster
from mq.sim.history import History, Record

PAUSE_MS = 200  # after a failure
READ_PAUSE_MS = 300
BATCH = 4


def queue_name(queue: MessageQueue) -> str:
    """As a history names it."""
    return f"{queue.topic}/{queue.broker_name}/{queue.queue_id}"


def records_of(messages: Iterable[MessageExt], broker_name: str, history: History) -> list[Record]:
    """Messages as a history has them; torn ones are left out."""
    return [
        Record(
            message.properties.get(PROPERTY_UNIQ_KEY, ""),
            message.body,
            f"{message.topic}/{broker_name}/{message.queue_id}",
            message.queue_offset,
            message.physical_offset,
        )
        for message in messages
        if not is_torn(message, history)
    ]


def is_torn(message: MessageExt, history: History) -> bool:
    """Whether a loss of power put zeros into its properties: the checksum covers the body alone.

    Only what was promised to nobody can be torn so; if it was promised, its key is missed and it is lost.
    """
    if "\0" not in message.properties_text:
        return False
    known = history.sent.get(message.properties.get(PROPERTY_UNIQ_KEY, ""))
    return known is None or known.body != message.body


class Sender:
    """Sends numbered messages until `until_ms`, some of them in batches, at most `limit` in all."""

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        topic: str,
        until_ms: float,
        gap_ms: float = 150,
        limit: int = 1_000,
        body_bytes: int = 600,
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.topic = topic
        self.until_ms = until_ms
        self.gap_ms = gap_ms
        self.limit = limit
        self.body_bytes = body_bytes
        self.count = 0
        self.is_done = False

    async def run(self, instance: ClientInstance) -> None:
        """One life of it."""
        node = instance.node
        producer = Producer(instance, f"{self.name}-producers")
        producer.retry_times = 0
        await instance.add(producer)
        while self.cluster.now_ms < self.until_ms and self.count < self.limit:
            size = node.random.choice((1, 1, 1, 1, BATCH))
            if not await self._send(producer, size):
                await node.sleep_ms(PAUSE_MS)
            await node.sleep_ms(node.random.random() * 2 * self.gap_ms)
        self.is_done = True

    async def _send(self, producer: Producer, size: int) -> bool:
        node = producer.instance.node
        messages = [self._message(node.random.randrange(self.body_bytes)) for _ in range(size)]
        keys = [message.properties[PROPERTY_UNIQ_KEY] for message in messages]
        try:
            result = await (producer.send(messages[0]) if size == 1 else producer.send_batch(messages))
        except MQError as error:
            why = error.remark.partition("\n")[0]
            node.journal.record("no answer", why, key=keys[0], count=size)
            return False
        self._told(node.journal.record, keys, result)
        return True

    def _message(self, extra: int) -> Message:
        key = f"{self.name}-{self.count:05d}"
        self.count += 1
        body = f"{key} {'x' * extra}".encode()
        message = Message(self.topic, body, tags="AB"[self.count % 2], keys=f"tail{self.count % 5}")
        message.properties[PROPERTY_UNIQ_KEY] = key
        self.cluster.history.send(key, self.topic, body, self.name, self.cluster.now_ms)
        return message

    def _told(self, record: Callable[..., None], keys: list[str], result: SendResult) -> None:
        queue, status = queue_name(result.queue), result.status.name
        for place, key in enumerate(keys, start=result.queue_offset):
            self.cluster.history.tell(key, status, self.cluster.now_ms, queue, place)
        kind = "acknowledged" if status == "SEND_OK" else "not promised"
        cause = "" if status == "SEND_OK" else status
        record(kind, cause, key=keys[0], count=len(keys), queue=queue, at=result.queue_offset)


class Reader:
    """Pulls every queue of a topic in turn, from its beginning, and commits how far it came."""

    def __init__(self, cluster: Cluster, name: str, topic: str) -> None:
        self.cluster = cluster
        self.name = name
        self.topic = topic
        self.next: dict[MessageQueue, int] = {}
        self.stop = False

    async def run(self, instance: ClientInstance) -> None:
        """One life of it: what it had in memory is gone, so it asks where its group was."""
        consumer = PullConsumer(instance, f"{self.name}-readers")
        await instance.add(consumer)
        self.next = {}
        while not self.stop:
            try:
                for queue in await consumer.fetch_queues(self.topic):
                    await self._step(consumer, queue)
            except MQError as error:
                instance.node.journal.record("not pulled", error.remark.partition("\n")[0], reader=self.name)
            await instance.node.sleep_ms(READ_PAUSE_MS)

    async def _step(self, consumer: PullConsumer, queue: MessageQueue) -> None:
        name, history = queue_name(queue), self.cluster.history
        if queue not in self.next:
            known = await consumer.query_offset(queue)
            history.move(self.name, name)
            self.next[queue] = max(known, 0)
        begin = self.next[queue]
        answer = await consumer.pull(queue, "*", begin)
        end = self.next[queue] = answer.next_begin_offset
        if answer.status is PullStatus.OFFSET_ILLEGAL:
            history.move(self.name, name)
            journal = consumer.instance.node.journal
            journal.record("moved", reader=self.name, queue=name, begin=begin, end=end)
            return
        records = records_of(answer.messages, queue.broker_name, history)
        history.read(self.name, name, begin, end, records, self.cluster.now_ms)
        if records:
            seen = f"{records[0].key}" if len(records) == 1 else f"{records[0].key}…{records[-1].key}"
            consumer.instance.node.journal.record("pulled", reader=self.name, queue=name, to=end, keys=seen)
            await consumer.update_offset(queue, end)
