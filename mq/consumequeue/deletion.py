"""A topic is deleted: its queues go, and nothing brings them back · depth

What always holds: the queues of a topic that was deleted are gone from memory and disk before the deletion
is answered, and the topic's next message, should it be made again, is number 0. Its records stay in the log
until the log lets go of them, and a restart reads them again: so a table says, for each deleted topic, where
the log ended when it was deleted, and what lies before that is entered in no queue.

What the real system does: it has no such table. After an unclean end the old records come back, into queues
that count from 0 for the second time.

Real: org.apache.rocketmq.store.DefaultMessageStore.cleanUnusedTopic (different: as said)
"""

from collections.abc import Collection, Sequence

from mq.commitlog.put import DispatchRequest
from mq.commitlog.store import MessageStore
from mq.consumequeue.store import QueueStore
from mq.routing.bodies import number_of, pretty_json, read_object
from mq.routing.broker import Broker
from mq.routing.topics import OP_HALF_TOPIC, SCHEDULE_TOPIC
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.wire.codes import ResponseCode
from mq.wire.rpc import Request

BUSY = ResponseCode.SYSTEM_BUSY
MAX_ROUNDS = 5  # each writes the table once; whoever sends on through all of them is told to stop
NEVER_UNUSED = (SCHEDULE_TOPIC, OP_HALF_TOPIC)  # the broker writes to them whether or not its table has them


class DeletedTopics(ConfigManager):
    """Topic -> where the log ended when it was deleted, as a physical offset."""

    path = "config/deletedTopics.json"

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker.node)
        self.table: dict[str, int] = {}

    def only_living(self, requests: Sequence[DispatchRequest]) -> Sequence[DispatchRequest]:
        """Those that belong to no deleted topic."""
        ends = self.table
        return [each for each in requests if each.physical_offset >= ends.get(each.topic, 0)]

    def forget_before(self, physical_offset: int) -> None:
        """The log has let go of what lies below: whoever was deleted there cannot come back."""
        self.table = {topic: end for topic, end in self.table.items() if end > physical_offset}

    def encode(self) -> str:
        return pretty_json({"deletedTopics": self.table})

    def decode(self, text: str) -> None:
        told = read_object(text, self.path)["deletedTopics"]
        self.table = {topic: number_of(told, topic) for topic in told}


class DeletableQueues(QueueStore):
    """The queues, without those of deleted topics."""

    def __init__(self, broker: Broker, store: MessageStore, file_bytes: int, least_pages: int) -> None:
        super().__init__(broker.node, store, file_bytes, least_pages)
        self.deleted = DeletedTopics(broker)
        self.topics = broker.topics
        self.store = store

    def load(self) -> None:
        """As below. Whoever died between the table's line and the files' removal goes on here."""
        super().load()
        self._drop([topic for topic in self.deleted.table if topic not in self.topics.table])

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        """As below, but for what belongs to a deleted topic."""
        super().dispatch(self.deleted.only_living(requests) if self.deleted.table else requests)

    def truncate(self, physical_offset: int) -> None:
        """As below. What is written behind the cut is new."""
        super().truncate(physical_offset)
        ends = self.deleted.table
        self.deleted.table = {topic: min(end, physical_offset) for topic, end in ends.items()}

    async def delete_topic(self, topic: str) -> None:
        """Listens to `topics.deleted`. Raises MQError with code 2 while the topic is still being sent to."""
        self.deleted.forget_before(self.store.min_physical_offset)
        for _ in range(MAX_ROUNDS):
            self.deleted.table[topic] = end = self._dispatched_end()
            await self.deleted.persist()
            if end == self._dispatched_end() or topic not in self.topics.table:
                self._drop([topic])
                self.store.learn_queue_ends()
                if self.node.disk.exists("consumequeue"):
                    await self.node.disk.sync_directory("consumequeue")
                return
        del self.deleted.table[topic]
        await self.deleted.persist()
        raise MQError(f"{topic} is made again by those who send to it: stop them first", BUSY)

    async def clean_unused(self, request: Request) -> None:
        """Code 316: the queues of topics that are in no table go."""
        names = dict.fromkeys(topic for topic, _ in self.queues)
        for topic in names:
            if topic not in self.topics.table and topic not in NEVER_UNUSED:
                await self.delete_topic(topic)
        request.succeed()

    def _dispatched_end(self) -> int:
        self.store.write_out()
        end = self.store.max_physical_offset
        if self.store.reput.dispatched_to < end:
            raise MQError("not every stored message is in its queue yet: try again", BUSY)
        return end

    def _drop(self, topics: Collection[str]) -> None:
        disk = self.node.disk
        for key in [key for key in self.queues if key[0] in topics]:
            queue = self.queues.pop(key)
            self.tails.queues.pop(queue, None)
            queue.cut(0)
            if disk.exists(queue.directory):
                disk.remove(queue.directory)
        for directory in (f"consumequeue/{topic}" for topic in topics):
            if disk.exists(directory) and not disk.list(directory):
                disk.remove(directory)
