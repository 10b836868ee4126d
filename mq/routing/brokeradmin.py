"""BrokerAdmin: what operators ask a broker that has to do with no message · depth

What always holds: what is shown is what is so. The runtime table has RocketMQ's keys, and of those only the
ones that this broker can answer truthfully; floors above add theirs through `broker.runtime_info`. Settings
are read once, when a broker starts, so a request to change one is refused rather than obeyed in part.

Real: org.apache.rocketmq.broker.processor.AdminBrokerProcessor (simplified)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from mq.routing.bodies import write_json
from mq.routing.headers import TopicHeader
from mq.routing.properties import to_properties
from mq.routing.topics import DataVersion, check_topic_name
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import VERSION
from mq.wire.rpc import Handler, Request

if TYPE_CHECKING:
    from mq.routing.broker import Broker

VERSION_NAME = "V4_9_8"
NO_QUEUE_KEYS = (  # one loop answers requests as they come: nothing waits in a pool, and no lock is held
    "sendThreadPoolQueueSize",
    "pullThreadPoolQueueSize",
    "queryThreadPoolQueueSize",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "pageCacheLockTimeMills",
)


class BrokerAdmin:
    """Codes 25, 26, 28, 215 and 305."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.settings_version = DataVersion(broker.node.wall_ms())
        self._made_ms = broker.node.wall_ms()
        self._made_monotonic_ms = broker.node.monotonic_ms()

    def processors(self) -> dict[int, Handler]:
        """Who answers what."""
        return {
            RequestCode.UPDATE_BROKER_CONFIG: self.change_settings,
            RequestCode.GET_BROKER_CONFIG: self.settings,
            RequestCode.GET_BROKER_RUNTIME_INFO: self.runtime_info,
            RequestCode.DELETE_TOPIC_IN_BROKER: self.delete_topic,
            RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER: self.system_topics,
        }

    def change_settings(self, request: Request) -> NoReturn:
        """25: refused."""
        raise MQError(
            "settings are read when a broker starts: change its properties file and start it again",
            ResponseCode.NO_PERMISSION,
        )

    def settings(self, request: Request) -> None:
        """26: the settings of every floor that is plugged, as lines `key=value`."""
        version = write_json(self.settings_version.to_json()).decode()
        body = to_properties(self.broker.settings_in_use.values()).encode()
        request.succeed({"version": version}, body)

    def runtime_info(self, request: Request) -> None:
        """28: a table of texts."""
        up_ms = int(self.broker.node.monotonic_ms() - self._made_monotonic_ms)
        table = {
            "bootTimestamp": str(self._made_ms),
            "brokerVersion": str(VERSION),
            "brokerVersionDesc": VERSION_NAME,
            "runtime": duration(up_ms),
            **dict.fromkeys(NO_QUEUE_KEYS, "0"),
        }
        for contribute in self.broker.runtime_info:
            contribute(table)
        request.succeed(body=write_json({"table": dict(sorted(table.items()))}))

    async def delete_topic(self, request: Request) -> None:
        """215: the topic is gone from the table, and what floors keep of it, before the answer leaves.

        The NameServers are told by whoever asked (216), as in RocketMQ.
        """
        topic = request.header(TopicHeader).topic
        check_topic_name(topic)
        check_is_master(self.broker)
        if self.broker.topics.is_system(topic):
            raise MQError(f"topic {topic} belongs to the broker and cannot be deleted")
        await self.broker.topics.delete(topic)
        request.succeed()

    def system_topics(self, request: Request) -> None:
        """305: the broker's own topics."""
        request.succeed(body=write_json({"topicList": sorted(self.broker.topics.system)}))


def check_is_master(broker: Broker) -> None:
    """A slave's tables are its master's. Raises MQError."""
    if not broker.is_master:
        raise MQError("this is a slave, whose topics and groups are those of its master: ask the master")


def duration(duration_ms: int) -> str:
    """RocketMQ's words: `[ 0 days, 1 hours, 2 minutes, 3 seconds ]`."""
    minutes, seconds = divmod(duration_ms // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]"
