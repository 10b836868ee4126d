"""PullConsumer: read queues by queue offset, filter exactly, remember how far one has come · depth

What always holds: `pull` never returns a message whose tag was not asked for, though the broker filters by
hash alone. What the broker says of where to go on is passed on as it is. The caller decides where a queue is
begun, and when `update_offset` says that messages are done with.

Real: org.apache.rocketmq.client.impl.consumer.DefaultMQPullConsumerImpl (simplified)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mq.clients.subscription import SubscriptionData, build_subscription
from mq.commitlog.compressed import unpack_bodies
from mq.commitlog.fastrecord import decode_all
from mq.commitlog.record import MessageExt
from mq.consumequeue.filter import only_tagged
from mq.consumequeue.headers import (
    HAS_SUBSCRIPTION,
    PullMessageHeader,
    QueryConsumerOffsetHeader,
    QueryMessageHeader,
    QueueHeader,
    SearchOffsetHeader,
    UpdateConsumerOffsetHeader,
)
from mq.routing.client import ClientInstance, Participant
from mq.routing.route import MessageQueue, subscribe_queues
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import RemoteError, Unreachable
from mq.wire.headers import decode_header, encode_header, parse
from mq.wire.rpc import expect_success

PULL_TIMEOUT_MS = 10_000  # RocketMQ's consumerPullTimeoutMillis
QUERY_TIMEOUT_MS = 5_000
END_OF_TIME_MS = (1 << 63) - 1


class PullStatus(Enum):
    """How a pull went, as a consumer sees it."""

    FOUND = ResponseCode.SUCCESS
    NO_NEW_MSG = ResponseCode.PULL_NOT_FOUND
    NO_MATCHED_MSG = ResponseCode.PULL_RETRY_IMMEDIATELY
    OFFSET_ILLEGAL = ResponseCode.PULL_OFFSET_MOVED


STATUS_OF = {int(status.value): status for status in PullStatus}


@dataclass(frozen=True, slots=True)
class PullOutcome:
    """What a pull brought. The next one asks for `next_begin_offset`, whatever the status."""

    status: PullStatus
    messages: list[MessageExt]
    next_begin_offset: int
    min_offset: int
    max_offset: int


@dataclass(slots=True)
class PullReplyHeader:
    """The four fields that every reply to a pull has."""

    suggest_which_broker_id: int
    next_begin_offset: int
    max_offset: int
    min_offset: int


class PullConsumer(Participant):
    """Reads for one group. Make it, `await instance.add(consumer)`, then `await consumer.pull(...)`."""

    def __init__(self, instance: ClientInstance, group: str) -> None:
        self.instance = instance
        self.group = group
        self._topics: dict[str, None] = {}
        self._suggested: dict[MessageQueue, int] = {}  # which broker of the group to ask next time

    def topics(self) -> Iterable[str]:
        return tuple(self._topics)

    def heartbeat(self, data: dict[str, Any]) -> None:
        now_ms = self.instance.node.wall_ms()
        subscriptions = [SubscriptionData(topic, sub_version=now_ms) for topic in self._topics]
        data["consumerDataSet"].append(
            {
                "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET",
                "consumeType": "CONSUME_ACTIVELY",
                "groupName": self.group,
                "messageModel": "CLUSTERING",
                "subscriptionDataSet": [subscription.to_json() for subscription in subscriptions],
                "unitMode": False,
            }
        )

    async def stop(self) -> None:
        await self.instance.unregister(consumer_group=self.group)

    async def fetch_queues(self, topic: str) -> list[MessageQueue]:
        """All readable queues of a topic, in one order for everybody. Raises MQError."""
        self._topics[topic] = None
        return subscribe_queues(await self.instance.routes.find(topic), topic)

    async def pull(
        self, queue: MessageQueue, expression: str | None, queue_offset: int, max_messages: int = 32
    ) -> PullOutcome:
        """Up to `max_messages` messages from `queue_offset` on. `expression`: `*`, or `TagA || TagB`.

        Raises MQError when there is no answer, or one that is none of the four statuses.
        """
        subscription = build_subscription(queue.topic, expression)
        header = PullMessageHeader(
            self.group, queue.topic, queue.queue_id, queue_offset, max_messages, HAS_SUBSCRIPTION, 0, 0,
            subscription.sub_version, subscription.sub_string, subscription.expression_type,
        )  # fmt: skip
        answer = await self.ask(
            queue, RequestCode.PULL_MESSAGE, header, PULL_TIMEOUT_MS, self._suggested.get(queue, 0)
        )
        return self.outcome(queue, subscription, answer)

    def outcome(
        self, queue: MessageQueue, subscription: SubscriptionData, answer: RemotingCommand
    ) -> PullOutcome:
        """A reply as an outcome. Raises RemoteError when it is none."""
        status = STATUS_OF.get(answer.code)
        if status is None:
            raise RemoteError(answer.code, answer.remark)
        told = decode_header(PullReplyHeader, answer.ext_fields)
        self._suggested[queue] = told.suggest_which_broker_id
        messages = only_tagged(decode_all(answer.body), subscription)
        return PullOutcome(
            status, unpack_bodies(messages), told.next_begin_offset, told.min_offset, told.max_offset
        )

    # Questions about a queue.

    async def max_offset(self, queue: MessageQueue) -> int:
        """The queue offset of the next message to come."""
        return await self._number(queue, RequestCode.GET_MAX_OFFSET, "offset")

    async def min_offset(self, queue: MessageQueue) -> int:
        """The queue offset of the first message that is still there."""
        return await self._number(queue, RequestCode.GET_MIN_OFFSET, "offset")

    async def earliest(self, queue: MessageQueue) -> int:
        """When the first message that is still there was stored, ms since 1970; -1 when none is."""
        return await self._number(queue, RequestCode.GET_EARLIEST_MSG_STORETIME, "timestamp")

    async def search_offset(self, queue: MessageQueue, timestamp_ms: int) -> int:
        """The queue offset of the message stored nearest to a time."""
        header = SearchOffsetHeader(queue.topic, queue.queue_id, timestamp_ms)
        answer = await self.ask(queue, RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, header)
        return _number_in(expect_success(answer), "offset")

    # How far the group has come.

    async def query_offset(self, queue: MessageQueue, zero_if_young: bool = True) -> int:
        """Where the group goes on; -1 when the broker does not know.

        Of a group that never committed, the broker says 0 while the queue is young, unless told not to.
        """
        header = QueryConsumerOffsetHeader(self.group, queue.topic, queue.queue_id, zero_if_young)
        answer = await self.ask(queue, RequestCode.QUERY_CONSUMER_OFFSET, header)
        if answer.code == ResponseCode.QUERY_NOT_FOUND:
            return -1
        return _number_in(expect_success(answer), "offset")

    async def update_offset(self, queue: MessageQueue, queue_offset: int) -> None:
        """The group goes on at `queue_offset` next time. Raises MQError when the broker does not say yes."""
        header = UpdateConsumerOffsetHeader(self.group, queue.topic, queue.queue_id, queue_offset)
        expect_success(await self.ask(queue, RequestCode.UPDATE_CONSUMER_OFFSET, header))

    async def query_message(
        self, topic: str, key: str, max_num: int = 64, begin_ms: int = 0, end_ms: int = END_OF_TIME_MS
    ) -> list[MessageExt]:
        """Messages that have this key (or client's id), from every broker of the topic, oldest first.

        The broker looks for the key's hash; who has another key is left out here.
        """
        header = QueryMessageHeader(topic, key, max_num, begin_ms, end_ms)
        found: list[MessageExt] = []
        for queue in _one_for_each_broker(await self.fetch_queues(topic)):
            answer = await self.ask(queue, RequestCode.QUERY_MESSAGE, header)
            if answer.code != ResponseCode.QUERY_NOT_FOUND:
                found += decode_all(expect_success(answer).body)
        named = [message for message in found if message.topic == topic and _has_key(message, key)]
        return sorted(unpack_bodies(named), key=lambda message: message.store_timestamp_ms)

    async def ask(
        self,
        queue: MessageQueue,
        code: RequestCode,
        header: Any,
        timeout_ms: float = QUERY_TIMEOUT_MS,
        broker_id: int = 0,
    ) -> RemotingCommand:
        """Ask a broker that has the queue. Raises Unreachable or RequestTimeout."""
        if self.instance.routes.cached(queue.topic) is None:
            await self.fetch_queues(queue.topic)
        address = self.instance.routes.find_broker_in_subscribe(queue.broker_name, broker_id)
        if address is None:
            raise Unreachable(f"no route names the broker {queue.broker_name}")
        return await self.instance.rpc.invoke(
            address, RemotingCommand(code, encode_header(header)), timeout_ms
        )

    async def _number(self, queue: MessageQueue, code: RequestCode, field: str) -> int:
        answer = await self.ask(queue, code, QueueHeader(queue.topic, queue.queue_id))
        return _number_in(expect_success(answer), field)


def _one_for_each_broker(queues: Iterable[MessageQueue]) -> list[MessageQueue]:
    return list({queue.broker_name: queue for queue in queues}.values())


def _has_key(message: MessageExt, key: str) -> bool:
    return key in message.keys or message.properties.get("UNIQ_KEY") == key


def _number_in(answer: RemotingCommand, field: str) -> int:
    number: int = parse(field, int, (answer.ext_fields or {}).get(field, "-1"))
    return number
