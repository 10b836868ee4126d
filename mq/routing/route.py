"""A topic's route: which brokers hold it, where they are, how many queues each has · core

What always holds: a route is a value. It says what one NameServer knew at one moment, and nothing about
what is true now. Its lists are sorted by broker name, so that all who were told the same have the same
list.

`readQueueNums` is how many queues consumers share, `writeQueueNums` how many producers fill: a topic
shrinks by lowering the second first.

Real: org.apache.rocketmq.common.protocol.route.TopicRouteData (equivalent)
"""

from dataclasses import dataclass, field

from mq.routing.bodies import as_list, as_object, number_of, read_object, text_of, write_json
from mq.routing.config import MASTER_ID

PERM_READ, PERM_WRITE, PERM_INHERIT = (
    4,
    2,
    1,
)  # INHERIT: may be the template of a topic that does not exist yet


@dataclass(frozen=True)
class QueueData:
    """How many queues of a topic one broker has, and what may be done with them."""

    broker_name: str
    read_queue_nums: int
    write_queue_nums: int
    perm: int
    topic_sys_flag: int = 0


@dataclass
class BrokerData:
    """One broker name and the addresses behind it, by broker id: 0 is the master, others are its slaves."""

    cluster: str
    broker_name: str
    addresses: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, order=True)
class MessageQueue:
    """One queue of a topic on one broker: what producers choose and consumers share."""

    topic: str
    broker_name: str
    queue_id: int


@dataclass
class TopicRouteData:
    """What a NameServer answers to GET_ROUTEINFO_BY_TOPIC."""

    queues: list[QueueData]
    brokers: list[BrokerData]

    def to_json(self) -> bytes:
        """The body, with its members in fastjson's order and broker ids always quoted."""
        brokers = [
            {
                "brokerAddrs": {str(broker_id): at for broker_id, at in sorted(broker.addresses.items())},
                "brokerName": broker.broker_name,
                "cluster": broker.cluster,
            }
            for broker in self.brokers
        ]
        queues = [
            {
                "brokerName": queue.broker_name,
                "perm": queue.perm,
                "readQueueNums": queue.read_queue_nums,
                "topicSysFlag": queue.topic_sys_flag,
                "writeQueueNums": queue.write_queue_nums,
            }
            for queue in self.queues
        ]
        return write_json({"brokerDatas": brokers, "filterServerTable": {}, "queueDatas": queues})

    @classmethod
    def from_json(cls, body: bytes) -> "TopicRouteData":
        """The route in a body. Raises BodyError."""
        fields = read_object(body, "a route")
        brokers = [
            _broker(as_object(each, "brokerData"))
            for each in as_list(fields.get("brokerDatas"), "brokerDatas")
        ]
        queues = [
            _queue(as_object(each, "queueData")) for each in as_list(fields.get("queueDatas"), "queueDatas")
        ]
        brokers.sort(key=lambda broker: broker.broker_name)
        queues.sort(key=lambda queue: queue.broker_name)
        return cls(queues, brokers)


def _broker(fields: dict[str, object]) -> BrokerData:
    told = as_object(fields.get("brokerAddrs"), "brokerAddrs")
    addresses = {number_of({"brokerId": key}, "brokerId"): text_of(told, key) for key in told}
    return BrokerData(text_of(fields, "cluster"), text_of(fields, "brokerName"), addresses)


def _queue(fields: dict[str, object]) -> QueueData:
    return QueueData(
        text_of(fields, "brokerName"),
        number_of(fields, "readQueueNums"),
        number_of(fields, "writeQueueNums"),
        number_of(fields, "perm"),
        number_of(fields, "topicSysFlag"),
    )


def publish_queues(route: TopicRouteData, topic: str) -> list[MessageQueue]:
    """The queues that a producer may fill: those that are writable, on brokers that have a master."""
    with_master = {broker.broker_name for broker in route.brokers if MASTER_ID in broker.addresses}
    return [
        MessageQueue(topic, queue.broker_name, queue_id)
        for queue in route.queues
        if queue.perm & PERM_WRITE and queue.broker_name in with_master
        for queue_id in range(queue.write_queue_nums)
    ]


def subscribe_queues(route: TopicRouteData, topic: str) -> list[MessageQueue]:
    """The queues that consumers share: those that are readable. A slave is enough to read from."""
    return [
        MessageQueue(topic, queue.broker_name, queue_id)
        for queue in route.queues
        if queue.perm & PERM_READ
        for queue_id in range(queue.read_queue_nums)
    ]
