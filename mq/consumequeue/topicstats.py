"""What operators ask about queues and about how far groups have come · depth

What always holds: a queue that nobody wrote to is shown as 0 to 0; a group that never committed for a queue
is shown at 0. Times are ms since 1970; 0 when there is no message to take them from.

The keys of these tables are objects, as fastjson writes them, `{{"brokerName":…}:{…}}`: no JSON, but what
Java's tools read, and they read nothing else.

Real: org.apache.rocketmq.broker.processor.AdminBrokerProcessor (equivalent: codes 202, 208 and 300)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mq.clients.manager import ConsumerManager
from mq.consumequeue.bytime import store_time_ms
from mq.consumequeue.logview import Log
from mq.consumequeue.offsets import TOPIC_GROUP, ConsumerOffsetManager
from mq.consumequeue.store import QueueStore
from mq.routing.bodies import write_json
from mq.routing.broker import Broker
from mq.routing.headers import TopicHeader
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.rpc import Handler, Request

Row = tuple[Mapping[str, object], Mapping[str, object]]


@dataclass(frozen=True)
class ConsumeStatsHeader:
    """208. Without a topic: all that the group ever committed for."""

    consumer_group: str
    topic: str | None = None


class TopicStats:
    """Reads queues, offsets and who is connected; changes nothing."""

    def __init__(
        self,
        broker: Broker,
        log: Log,
        queues: QueueStore,
        offsets: ConsumerOffsetManager,
        consumers: ConsumerManager,
    ) -> None:
        self.broker = broker
        self.log = log
        self.queues = queues
        self.offsets = offsets
        self.consumers = consumers

    def processors(self) -> dict[int, Handler]:
        """Who answers what."""
        return {
            RequestCode.GET_TOPIC_STATS_INFO: self.topic_stats,
            RequestCode.GET_CONSUME_STATS: self.consume_stats,
            RequestCode.QUERY_TOPIC_CONSUME_BY_WHO: self.groups_of_topic,
        }

    def topic_stats(self, request: Request) -> None:
        """202: for each queue of a topic its ends, and when its last message was stored."""
        topic = request.header(TopicHeader).topic
        config = self.broker.topics.find(topic)
        if config is None:
            raise MQError(f"topic[{topic}] not exist", ResponseCode.TOPIC_NOT_EXIST)
        rows = [self._ends(config, queue_id) for queue_id in range(config.write_queue_nums)]
        request.succeed(body=b'{"offsetTable":%b}' % _table(rows))

    def consume_stats(self, request: Request) -> None:
        """208: for each queue that a group reads, where it ends and where the group is."""
        header = request.header(ConsumeStatsHeader)
        group = header.consumer_group
        names = [header.topic] if header.topic else sorted(self._topics_of(group))
        found = [self.broker.topics.find(name) for name in names if self._reads(group, name)]
        rows = [
            self._progress(config, queue_id, group)
            for config in found
            if config is not None
            for queue_id in range(config.read_queue_nums)
        ]
        request.succeed(body=b'{"consumeTps":0.0,"offsetTable":%b}' % _table(rows))

    def groups_of_topic(self, request: Request) -> None:
        """300: who subscribes to a topic now, and who ever committed for it."""
        topic = request.header(TopicHeader).topic
        now = [group for group, info in self.consumers.groups.items() if topic in info.subscriptions]
        names = sorted({*now, *self.offsets.groups_of(topic)})
        request.succeed(body=write_json({"groupList": names}))

    def _topics_of(self, group: str) -> list[str]:
        pairs = (key.partition(TOPIC_GROUP) for key in self.offsets.table)
        return [topic for topic, _, of_group in pairs if of_group == group]

    def _reads(self, group: str, topic: str) -> bool:
        """Whether its members, when there are any, still want the topic."""
        info = self.consumers.find(group)
        return info is None or not info.subscriptions or topic in info.subscriptions

    def _ends(self, config: TopicConfig, queue_id: int) -> Row:
        queue, last_ms = self.queues.find(config.topic_name, queue_id), 0
        low, high = (queue.min_queue_offset, queue.max_queue_offset) if queue is not None else (0, 0)
        if queue is not None and high > 0:
            last_ms = store_time_ms(queue, self.log, high - 1)
        values = {"lastUpdateTimestamp": last_ms, "maxOffset": high, "minOffset": low}
        return self._name(config, queue_id), values

    def _progress(self, config: TopicConfig, queue_id: int, group: str) -> Row:
        queue, last_ms = self.queues.find(config.topic_name, queue_id), 0
        done = max(self.offsets.query(group, config.topic_name, queue_id), 0)
        if queue is not None and done > 0:
            last_ms = max(store_time_ms(queue, self.log, done - 1), 0)
        end = queue.max_queue_offset if queue is not None else 0
        values = {"brokerOffset": end, "consumerOffset": done, "lastTimestamp": last_ms}
        return self._name(config, queue_id), values

    def _name(self, config: TopicConfig, queue_id: int) -> Mapping[str, object]:
        name = self.broker.config.broker_name
        return {"brokerName": name, "queueId": queue_id, "topic": config.topic_name}


def forget_group(offsets: ConsumerOffsetManager, group: str) -> None:
    """Take away what a group has committed, for every topic."""
    for key in [key for key in offsets.table if key.partition(TOPIC_GROUP)[2] == group]:
        del offsets.table[key]
    offsets.persist()


def _table(rows: Iterable[Row]) -> bytes:
    return b"{%b}" % b",".join(write_json(name) + b":" + write_json(values) for name, values in rows)
