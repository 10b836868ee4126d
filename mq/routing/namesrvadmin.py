"""NamesrvAdmin: what operators ask a NameServer, and what they may change · depth

What always holds: what is changed here lasts until the broker tells otherwise. A permission that was taken
from a broker comes back when its topics change; a topic that was deleted here comes back when a broker that
still has it registers anew. So a topic is deleted on its brokers first.

Real: org.apache.rocketmq.namesrv.processor.DefaultRequestProcessor (equivalent: codes 106, 205, 216, 224,
304, 319 and 327)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mq.routing.bodies import write_json
from mq.routing.config import NamesrvConfig
from mq.routing.properties import to_properties
from mq.routing.route import PERM_READ, PERM_WRITE, QueueData
from mq.routing.tables import RouteTables
from mq.wire.codes import RequestCode
from mq.wire.headers import encode_header
from mq.wire.rpc import Handler, Request


@dataclass(frozen=True)
class BrokerNameHeader:
    """205 and 327."""

    broker_name: str


@dataclass(frozen=True)
class WipeReply:
    """To 205: how many topics are concerned."""

    wipe_topic_count: int


@dataclass(frozen=True)
class AddReply:
    """To 327: how many topics are concerned."""

    add_topic_count: int


@dataclass(frozen=True)
class DeleteTopicHeader:
    """216. Without a cluster: in all of them."""

    topic: str
    cluster_name: str | None = None


@dataclass(frozen=True)
class ClusterHeader:
    """224."""

    cluster: str


class NamesrvAdmin:
    """Reads and changes one NameServer's tables."""

    def __init__(self, tables: RouteTables, config: NamesrvConfig) -> None:
        self.tables = tables
        self.config = config

    def processors(self) -> dict[int, Handler]:
        """Who answers what."""
        return {
            RequestCode.GET_BROKER_CLUSTER_INFO: self.cluster_info,
            RequestCode.WIPE_WRITE_PERM_OF_BROKER: self.wipe_write_perm,
            RequestCode.ADD_WRITE_PERM_OF_BROKER: self.add_write_perm,
            RequestCode.DELETE_TOPIC_IN_NAMESRV: self.delete_topic,
            RequestCode.GET_TOPICS_BY_CLUSTER: self.topics_by_cluster,
            RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS: self.system_topics,
            RequestCode.GET_NAMESRV_CONFIG: self.settings,
        }

    def cluster_info(self, request: Request) -> None:
        """106: every broker's addresses, and every cluster's brokers."""
        brokers = {name: self.tables.brokers[name].to_json() for name in sorted(self.tables.brokers)}
        clusters = {name: sorted(self.tables.clusters[name]) for name in sorted(self.tables.clusters)}
        request.succeed(body=write_json({"brokerAddrTable": brokers, "clusterAddrTable": clusters}))

    def wipe_write_perm(self, request: Request) -> None:
        """205: producers leave this broker within one poll; consumers still read it."""
        count = self._change_perm(request, lambda perm: perm & ~PERM_WRITE)
        request.succeed(encode_header(WipeReply(count)))

    def add_write_perm(self, request: Request) -> None:
        """327: read and write, for every topic; what else a topic was allowed is gone, as in 4.9.8."""
        count = self._change_perm(request, lambda perm: PERM_READ | PERM_WRITE)
        request.succeed(encode_header(AddReply(count)))

    def _change_perm(self, request: Request, change: Callable[[int], int]) -> int:
        name, count = request.header(BrokerNameHeader).broker_name, 0
        for queues in self.tables.topics.values():
            if name in queues:
                queues[name] = replace(queues[name], perm=change(queues[name].perm))
                count += 1
        return count

    def delete_topic(self, request: Request) -> None:
        """216: no route for it from now on, or none to brokers of one cluster."""
        header = request.header(DeleteTopicHeader)
        queues = self.tables.topics.get(header.topic, {})
        names = self._names_in(header.cluster_name) if header.cluster_name else list(queues)
        for name in names:
            queues.pop(name, None)
        if not queues:
            self.tables.topics.pop(header.topic, None)
        request.succeed()

    def topics_by_cluster(self, request: Request) -> None:
        """224: a cluster that nobody knows has no topics."""
        names = self._names_in(request.header(ClusterHeader).cluster)
        found = [topic for topic, queues in self.tables.topics.items() if _any_of(names, queues)]
        request.succeed(body=write_json({"topicList": sorted(found)}))

    def system_topics(self, request: Request) -> None:
        """304: those that are named after clusters and brokers, and one address to ask for the others."""
        named = [*self.tables.clusters, *self.tables.brokers]
        told: dict[str, object] = {"topicList": sorted(dict.fromkeys(named))}
        first = next(iter(self.tables.brokers.values()), None)
        if first is not None:
            told = {"brokerAddr": first.addresses[min(first.addresses)], **told}
        request.succeed(body=write_json(told))

    def settings(self, request: Request) -> None:
        """319: as lines `key=value`."""
        request.succeed(body=to_properties([self.config]).encode())

    def _names_in(self, cluster: str) -> list[str]:
        return sorted(self.tables.clusters.get(cluster, ()))


def _any_of(names: Iterable[str], queues: dict[str, QueueData]) -> bool:
    return any(name in queues for name in names)
