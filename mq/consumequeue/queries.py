"""The requests that ask about queues, offsets and keys · depth

What always holds: a queue that nobody ever wrote to has minimum and maximum 0 and no earliest message; it is
not an error to ask. A group that never committed is told 0 while the queue is young: its first message is
still there and still in memory. Only then "not found" sends a consumer to where it wants to begin.

Real: org.apache.rocketmq.broker.processor.QueryMessageProcessor and its neighbours (equivalent)
"""

from mq.consumequeue.bytime import offset_by_time, store_time_ms
from mq.consumequeue.config import ConsumeQueueConfig
from mq.consumequeue.headers import (
    QueryConsumerOffsetHeader,
    QueryMessageHeader,
    QueueHeader,
    SearchOffsetHeader,
    UpdateConsumerOffsetHeader,
)
from mq.consumequeue.index import IndexService
from mq.consumequeue.logview import Log
from mq.consumequeue.offsets import ConsumerOffsetManager
from mq.consumequeue.store import QueueStore
from mq.wire.codes import ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.rpc import Request

UNIQUE_KEY_QUERY = "_UNIQUE_KEY_QUERY"  # says that the key is a client's id: look for more of the same
NO_MESSAGES = -1
NOTHING_INDEXED = {"indexLastUpdatePhyoffset": "0", "indexLastUpdateTimestamp": "0"}


class QueueQueries:
    """Codes 29 to 32: where is what, in one queue."""

    def __init__(self, log: Log, queues: QueueStore) -> None:
        self.log = log
        self.queues = queues

    def search_offset(self, request: Request) -> None:
        """Code 29: the message stored nearest to a time."""
        header = request.header(SearchOffsetHeader)
        queue = self.queues.find(header.topic, header.queue_id)
        found = offset_by_time(queue, self.log, header.timestamp) if queue is not None else 0
        request.succeed({"offset": str(found)})

    def max_offset(self, request: Request) -> None:
        """Code 30: the queue offset of the next message to come."""
        header = request.header(QueueHeader)
        queue = self.queues.find(header.topic, header.queue_id)
        request.succeed({"offset": str(queue.max_queue_offset if queue is not None else 0)})

    def min_offset(self, request: Request) -> None:
        """Code 31: the queue offset of the first message that is still there."""
        header = request.header(QueueHeader)
        queue = self.queues.find(header.topic, header.queue_id)
        request.succeed({"offset": str(queue.min_queue_offset if queue is not None else 0)})

    def earliest_store_time(self, request: Request) -> None:
        """Code 32: when the first message that is still there was stored, ms since 1970; -1 when none is."""
        header = request.header(QueueHeader)
        queue = self.queues.find(header.topic, header.queue_id)
        found = NO_MESSAGES
        if queue is not None:
            found = store_time_ms(queue, self.log, queue.min_queue_offset)
        request.succeed({"timestamp": str(found)})


class ConsumerOffsets:
    """Codes 14 and 15: how far a group has come."""

    def __init__(
        self, log: Log, queues: QueueStore, offsets: ConsumerOffsetManager, memory_bytes: int
    ) -> None:
        self.log = log
        self.queues = queues
        self.offsets = offsets
        self.memory_bytes = memory_bytes

    def query(self, request: Request) -> None:
        """Code 14."""
        header = request.header(QueryConsumerOffsetHeader)
        found = self.offsets.query(header.consumer_group, header.topic, header.queue_id)
        if found < 0:
            remark = ""
            if not header.set_zero_if_not_found:
                remark = "Not found, do not set to zero, maybe this group boot first"
            elif not self._is_young(header.topic, header.queue_id):
                remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
            if remark:  # with fields, though they are empty: as the real broker's
                request.reply(RemotingCommand(ResponseCode.QUERY_NOT_FOUND, {}, remark=remark))
                return
            found = 0
        request.succeed({"offset": str(found)})

    def update(self, request: Request) -> None:
        """Code 15."""
        header = request.header(UpdateConsumerOffsetHeader)
        self.offsets.commit(header.consumer_group, header.topic, header.queue_id, header.commit_offset)
        request.succeed({})

    def _is_young(self, topic: str, queue_id: int) -> bool:
        """Whether the queue's very first message is there and in memory, or none ever came."""
        queue = self.queues.find(topic, queue_id)
        if queue is None:
            return True
        first = queue.entry_at(0)
        if queue.min_queue_offset > 0 or first is None:
            return queue.min_queue_offset == 0
        return self.log.max_physical_offset - first.physical_offset <= self.memory_bytes


class QueryMessageProcessor:
    """Code 12: messages by key."""

    def __init__(self, log: Log, index: IndexService, config: ConsumeQueueConfig) -> None:
        self.log = log
        self.index = index
        self.config = config

    def process(self, request: Request) -> None:
        """The records that have the key's hash, one behind the other in the log's order."""
        header = request.header(QueryMessageHeader)
        max_num = header.max_num
        if request.ext_fields.get(UNIQUE_KEY_QUERY) == "true":
            max_num = self.config.default_query_max_num
        max_num = min(max_num, self.config.max_msgs_num_batch)
        found = self.index.query(
            header.topic, header.key, max_num, header.begin_timestamp, header.end_timestamp
        )
        records = [self._record(physical_offset) for physical_offset in found.physical_offsets]
        body = b"".join(records)
        if not body:
            remark = "can not find message, maybe time range not correct"
            request.reply(RemotingCommand(ResponseCode.QUERY_NOT_FOUND, dict(NOTHING_INDEXED), remark=remark))
            return
        fields = {
            "indexLastUpdatePhyoffset": str(found.last_update_physical_offset),
            "indexLastUpdateTimestamp": str(found.last_update_timestamp_ms),
        }
        request.succeed(fields, body)

    def _record(self, physical_offset: int) -> bytes:
        size = self.log.size_at(physical_offset)
        record = self.log.record_at(physical_offset, size) if size else None
        return self.log.read(physical_offset, size) if record is not None else b""
