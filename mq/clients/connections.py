"""Who is connected, for operators; and a group that is deleted · depth

What always holds: a group without members is not online, whatever the table of groups says. Deleting a group
deletes its line in that table, and its members' next heartbeat makes it again; what it has committed stays,
unless the request says otherwise: then whoever keeps it is told through `offsets_unwanted`.

Real: org.apache.rocketmq.broker.processor.AdminBrokerProcessor (equivalent: codes 203, 204 and 207)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mq.clients.groups import SubscriptionGroupManager
from mq.clients.manager import ClientChannel, ConsumerManager, ProducerManager
from mq.routing.bodies import write_json
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.rpc import Handler, Request


@dataclass(frozen=True)
class ConsumerGroupHeader:
    """203."""

    consumer_group: str


@dataclass(frozen=True)
class ProducerGroupHeader:
    """204."""

    producer_group: str


@dataclass(frozen=True)
class DeleteGroupHeader:
    """207."""

    group_name: str
    remove_offset: bool = False


class Connections:
    """Codes 203, 204 and 207. `check_is_master` raises when the tables are those of another."""

    def __init__(
        self,
        producers: ProducerManager,
        consumers: ConsumerManager,
        groups: SubscriptionGroupManager,
        check_is_master: Callable[[], None],
    ) -> None:
        self.producers = producers
        self.consumers = consumers
        self.groups = groups
        self.check_is_master = check_is_master
        self.offsets_unwanted: list[Callable[[str], None]] = []  # a group's, whoever keeps them

    def processors(self) -> dict[int, Handler]:
        """Who answers what."""
        return {
            RequestCode.GET_CONSUMER_CONNECTION_LIST: self.consumers_of,
            RequestCode.GET_PRODUCER_CONNECTION_LIST: self.producers_of,
            RequestCode.DELETE_SUBSCRIPTIONGROUP: self.delete_group,
        }

    def consumers_of(self, request: Request) -> None:
        """203: a group's members, how it consumes, and what it wants."""
        group = request.header(ConsumerGroupHeader).consumer_group
        info = self.consumers.find(group)
        if info is None:
            raise MQError(f"the consumer group[{group}] not online", ResponseCode.CONSUMER_NOT_ONLINE)
        told = {
            "connectionSet": [_shown(channel) for channel in info.channels.values()],
            "consumeFromWhere": info.consume_from_where,
            "consumeType": info.consume_type,
            "messageModel": info.message_model,
            "subscriptionTable": {topic: wanted.to_json() for topic, wanted in info.subscriptions.items()},
        }
        request.succeed(body=write_json(told))

    def producers_of(self, request: Request) -> None:
        """204: a group's members."""
        group = request.header(ProducerGroupHeader).producer_group
        members = self.producers.channels(group)
        if not members:
            raise MQError(f"the producer group[{group}] not exist")
        request.succeed(body=write_json({"connectionSet": [_shown(channel) for channel in members]}))

    async def delete_group(self, request: Request) -> None:
        """207: harmless when there is no such group. On disk before the answer leaves."""
        header = request.header(DeleteGroupHeader)
        self.check_is_master()
        self.groups.delete(header.group_name)
        if header.remove_offset:
            for forget in self.offsets_unwanted:
                forget(header.group_name)
        if self.groups.writing is not None:
            await self.groups.writing
        request.succeed()


def _shown(channel: ClientChannel) -> dict[str, Any]:
    return {
        "clientAddr": channel.connection.peer,
        "clientId": channel.client_id,
        "language": channel.language,
        "version": channel.version,
    }
