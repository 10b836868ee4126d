"""RouteTables: all that a NameServer knows, and the three ways in which it forgets · core

What always holds:
* It knows what brokers told it, and nothing else: nothing is written down, nobody else is asked.
* An address is in a route if and only if it is live: told of less than the expiry ago, over a connection
  that stands.
* A broker name with no address left is in no route; no table keeps an empty entry.

A broker is forgotten when it says so (`unregister`), when its connection closes (`closed`, at once), or
when it is silent (`expire`, after 120 s). The first two are news; only the third is a guess.

What the real system does: the same with five hash maps and one lock. An address that moves to another name,
or a name whose id moves to another address, leaves remains behind there; here the older entry goes.

Real: org.apache.rocketmq.namesrv.routeinfo.RouteInfoManager (equivalent)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mq.routing.config import MASTER_ID
from mq.routing.route import BrokerData, QueueData, TopicRouteData
from mq.routing.topics import DataVersion, TopicConfig
from mq.runtime.errors import MQError

MAX_BROKERS = 10_000  # addresses; ours, as is the next: a NameServer must not grow without end
MAX_TOPICS = 500_000

BROKER_EXPIRY_MS = 120_000


@dataclass(frozen=True)
class Registration:
    """What a broker says of itself."""

    cluster: str
    broker_name: str
    broker_id: int
    address: str
    ha_address: str = ""
    version: DataVersion = field(default_factory=DataVersion)
    topics: Mapping[str, TopicConfig] = field(default_factory=dict)


@dataclass
class LiveBroker:
    """One address that is believed to be alive, and why."""

    broker_name: str
    broker_id: int
    address: str
    ha_address: str
    version: DataVersion
    connection: object
    told_ms: float


@dataclass(frozen=True)
class MasterOf:
    """What a slave learns when it registers. Empty texts: there is no master, or the asker is one."""

    address: str = ""
    ha_address: str = ""


class RouteTables:
    """Topics, brokers, clusters and who is alive. Times are monotonic milliseconds, given by the caller."""

    def __init__(self, broker_expiry_ms: float = BROKER_EXPIRY_MS) -> None:
        self.broker_expiry_ms = broker_expiry_ms
        self.topics: dict[str, dict[str, QueueData]] = {}  # topic -> broker name -> its queues
        self.brokers: dict[str, BrokerData] = {}  # broker name -> cluster, and addresses by id
        self.clusters: dict[str, set[str]] = {}  # cluster -> broker names
        self.live: dict[str, LiveBroker] = {}  # address -> when it was last told of, and by whom

    def register(self, told: Registration, connection: object, now_ms: float) -> MasterOf:
        """Believe a broker. Only a master's topics count, and only when they are new or have changed.

        Raises MQError when there are too many brokers or topics.
        """
        self._check_bounds(told)
        before = self.live.get(told.address)
        if before is None or (before.broker_name, before.broker_id) != (told.broker_name, told.broker_id):
            before = None
            self._make_room(told)
        if told.broker_id == MASTER_ID and (before is None or before.version != told.version):
            self._take_topics(told)
        self._broker(told).addresses[told.broker_id] = told.address
        self.live[told.address] = LiveBroker(
            told.broker_name,
            told.broker_id,
            told.address,
            told.ha_address,
            told.version,
            connection,
            now_ms,
        )
        return self._master_of(told)

    def unregister(self, broker_name: str, broker_id: int, address: str) -> LiveBroker | None:
        """A broker says goodbye. None: no such address under this name and id."""
        live = self.live.get(address)
        if live is None or (live.broker_name, live.broker_id) != (broker_name, broker_id):
            return None
        return self._forget(address)

    def closed(self, connection: object) -> list[LiveBroker]:
        """A connection has closed: whoever registered over it is gone, now."""
        gone = [address for address, live in self.live.items() if live.connection is connection]
        return [self._forget(address) for address in gone]

    def expire(self, now_ms: float) -> list[LiveBroker]:
        """Forget whoever has been silent for longer than the expiry."""
        gone = [a for a, live in self.live.items() if live.told_ms + self.broker_expiry_ms < now_ms]
        return [self._forget(address) for address in gone]

    def route(self, topic: str) -> TopicRouteData | None:
        """Which brokers hold the topic, sorted by name. None: nobody has told of it."""
        queues = self.topics.get(topic)
        if queues is None:
            return None
        names = sorted(queues)
        brokers = [self.brokers[name] for name in names]
        copies = [BrokerData(each.cluster, each.broker_name, dict(each.addresses)) for each in brokers]
        return TopicRouteData([queues[name] for name in names], copies)

    def topic_names(self) -> list[str]:
        """Every topic that somebody has told of."""
        return sorted(self.topics)

    def _check_bounds(self, told: Registration) -> None:
        if told.address not in self.live and len(self.live) >= MAX_BROKERS:
            raise MQError(f"{MAX_BROKERS} brokers are registered already")
        new = sum(topic not in self.topics for topic in told.topics)
        if len(self.topics) + new > MAX_TOPICS:
            raise MQError(f"{told.broker_name} brings {new} new topics; at most {MAX_TOPICS} are kept")

    def _make_room(self, told: Registration) -> None:
        """An address has one name and id, and a name and id have one address: the older entry goes."""
        before = self.live.get(told.address)
        if before is not None and before.broker_name != told.broker_name:
            self._forget(told.address)
        broker = self.brokers.get(told.broker_name)
        addresses = broker.addresses if broker is not None else {}
        for broker_id, address in list(addresses.items()):
            if broker_id == told.broker_id or address == told.address:
                del addresses[broker_id]
                del self.live[address]

    def _broker(self, told: Registration) -> BrokerData:
        broker = self.brokers.setdefault(told.broker_name, BrokerData(told.cluster, told.broker_name))
        if broker.cluster != told.cluster:
            self._leave_cluster(broker)
            broker.cluster = told.cluster
        self.clusters.setdefault(told.cluster, set()).add(told.broker_name)
        return broker

    def _take_topics(self, told: Registration) -> None:
        """Topics that the broker no longer tells of stay, as in RocketMQ: they go with its last address."""
        name = told.broker_name
        for topic, config in told.topics.items():
            self.topics.setdefault(topic, {})[name] = QueueData(
                name, config.read_queue_nums, config.write_queue_nums, config.perm, config.topic_sys_flag
            )

    def _master_of(self, told: Registration) -> MasterOf:
        master = self.brokers[told.broker_name].addresses.get(MASTER_ID)
        if told.broker_id == MASTER_ID or master is None:
            return MasterOf()
        return MasterOf(master, self.live[master].ha_address)

    def _forget(self, address: str) -> LiveBroker:
        """Take an address out of every table; with a name's last address go its queues in all topics."""
        live = self.live.pop(address)
        broker = self.brokers[live.broker_name]
        del broker.addresses[live.broker_id]
        if not broker.addresses:
            del self.brokers[live.broker_name]
            self._leave_cluster(broker)
            self._forget_queues(live.broker_name)
        return live

    def _leave_cluster(self, broker: BrokerData) -> None:
        names = self.clusters[broker.cluster]
        names.discard(broker.broker_name)
        if not names:
            del self.clusters[broker.cluster]

    def _forget_queues(self, broker_name: str) -> None:
        for topic in [topic for topic, queues in self.topics.items() if broker_name in queues]:
            del self.topics[topic][broker_name]
            if not self.topics[topic]:
                del self.topics[topic]
