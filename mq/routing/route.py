"""A topic's route: which brokers hold it, where they are, how many queues each has · core

What always holds: a route is a value. It says what one NameServer knew at one moment, and nothing about
what is true now. Its lists are sorted by broker name, so that all who were told the same have the same
list.

`readQueueNums` is how many queues consumers share, `writeQueueNums` how many producers fill: a topic
shrinks by lowering the second first.

Real: org.apache.rocketmq.common.protocol.route.TopicRouteData (equivalent)
"""

from dataclasses import dataclass, field

from mq.routing.bodies import BodyError, as_list, as_object, number_of, read_object, text_of, write_json
from mq.routing.config import MASTER_ID
from mq.routing.orderconf import parse_order_conf

PERM_READ, PERM_WRITE, PERM_INHERIT = (
    4,
    2,
    1,
)  # INHERIT: may be the template of a topic that does not exist yet
MAX_QUEUES_PER_TOPIC = 65_535  # ours: 4.9.8 has no limit, and one request could ask for 2 billion queues


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

    def to_json(self) -> dict[str, object]:
        """As a JSON value, with its members in fastjson's order and broker ids always quoted."""
        addresses = {str(broker_id): at for broker_id, at in sorted(self.addresses.items())}
        return {"brokerAddrs": addresses, "brokerName": self.broker_name, "cluster": self.cluster}


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
    order_topic_conf: str | None = None  # `broker-a:4;broker-b:4`: these queues, whoever is alive

    def to_json(self) -> bytes:
        """The body, with its members in fastjson's order."""
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
        brokers = [broker.to_json() for broker in self.brokers]
        told: dict[str, object] = {"brokerDatas": brokers, "filterServerTable": {}}
        if self.order_topic_conf is not None:
            told["orderTopicConf"] = self.order_topic_conf
        return write_json({**told, "queueDatas": queues})

    @classmethod
    def from_json(cls, body: bytes) -> "TopicRouteData":
        """The route in a body. Raises BodyError."""
        fields = read_object(body, "a route")
        brokers = [
            broker_from_json(as_object(each, "brokerData"))
            for each in as_list(fields.get("brokerDatas"), "brokerDatas")
        ]
        queues = [
            _queue(as_object(each, "queueData")) for each in as_list(fields.get("queueDatas"), "queueDatas")
        ]
        brokers.sort(key=lambda broker: broker.broker_name)
        queues.sort(key=lambda queue: queue.broker_name)
        return cls(queues, brokers, text_of(fields, "orderTopicConf") or None)


def broker_from_json(fields: dict[str, object]) -> BrokerData:
    """The inverse of `BrokerData.to_json`. Raises BodyError."""
    told = as_object(fields.get("brokerAddrs"), "brokerAddrs")
    addresses = {number_of({"brokerId": key}, "brokerId"): text_of(told, key) for key in told}
    return BrokerData(text_of(fields, "cluster"), text_of(fields, "brokerName"), addresses)


def _queue(fields: dict[str, object]) -> QueueData:
    return QueueData(
        text_of(fields, "brokerName"),
        _queue_nums(fields, "readQueueNums"),
        _queue_nums(fields, "writeQueueNums"),
        number_of(fields, "perm"),
        number_of(fields, "topicSysFlag"),
    )


def _queue_nums(fields: dict[str, object], name: str) -> int:
    """A number of queues: a client makes an object for each, so a wild one would take all its memory."""
    number = number_of(fields, name)
    if not 0 <= number <= MAX_QUEUES_PER_TOPIC:
        raise BodyError(f"{name} is {number}; 0 to {MAX_QUEUES_PER_TOPIC} are allowed")
    return number


def publish_queues(route: TopicRouteData, topic: str) -> list[MessageQueue]:
    """The queues that a producer may fill: those that are writable, on brokers that have a master.

    An ordered topic has the queues that an operator fixed: who is alive does not move a key to another queue.
    """
    if route.order_topic_conf:
        fixed = parse_order_conf(route.order_topic_conf)
        return [MessageQueue(topic, name, queue_id) for name, count in fixed for queue_id in range(count)]
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
