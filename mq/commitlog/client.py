"""Producer: choose a queue, send, and try another broker when that fails · depth

What always holds: SEND_OK means that a broker has the message in its log by its own policy. After any other
end the message may be stored or not; a retry may store it twice, under the same UNIQ_KEY. All tries of one
send share one time limit. A message that was given a queue is tried on that queue only.

Real: org.apache.rocketmq.client.impl.producer.DefaultMQProducerImpl (simplified)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mq.commitlog.batch import encode_batch
from mq.commitlog.headers import SendMessageRequestHeaderV2, SendMessageResponseHeader
from mq.commitlog.ids import UniqKeys
from mq.commitlog.message import (
    PROPERTY_UNIQ_KEY,
    PROPERTY_WAIT,
    Message,
    MessageIllegal,
    encode_properties,
)
from mq.routing.client import ClientInstance, Participant, find_or_default
from mq.routing.route import MessageQueue, publish_queues
from mq.routing.topics import AUTO_CREATE_TOPIC
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import RemoteError, RequestTimeout, Unreachable
from mq.wire.headers import decode_header, encode_header
from mq.wire.rpc import Connection

SEND_TIMEOUT_MS = 3_000  # RocketMQ's sendMsgTimeout, for all tries together
RETRY_TIMES = 2  # RocketMQ's retryTimesWhenSendFailed: three tries
DEFAULT_TOPIC_QUEUE_NUMS = 4


class SendStatus(Enum):
    """What the broker promised. Only SEND_OK is an acknowledgement."""

    SEND_OK = ResponseCode.SUCCESS
    FLUSH_DISK_TIMEOUT = ResponseCode.FLUSH_DISK_TIMEOUT
    FLUSH_SLAVE_TIMEOUT = ResponseCode.FLUSH_SLAVE_TIMEOUT
    SLAVE_NOT_AVAILABLE = ResponseCode.SLAVE_NOT_AVAILABLE


STATUS_OF = {int(status.value): status for status in SendStatus}
RETRY_CODES = frozenset({17, 14, 1, 2, 16, 204, 205})  # another broker may do better


@dataclass(frozen=True, slots=True)
class SendResult:
    """Where a message went. `msg_id` is the client's id, `offset_msg_id` says where it lies."""

    status: SendStatus
    msg_id: str
    offset_msg_id: str
    queue: MessageQueue
    queue_offset: int


class Producer(Participant):
    """Sends for one group. Make it, `await instance.add(producer)`, then `await producer.send(...)`."""

    def __init__(self, instance: ClientInstance, group: str) -> None:
        self.instance = instance
        self.group = group
        self.timeout_ms: float = SEND_TIMEOUT_MS
        self.retry_times = RETRY_TIMES
        self._topics: dict[str, None] = {}
        self._connections: dict[str, Connection] = {}  # by address; one that has closed is replaced
        self._uniq_keys = UniqKeys(instance.node)
        self._turn = instance.node.random.randrange(1 << 16)

    def topics(self) -> Iterable[str]:
        return tuple(self._topics)

    def heartbeat(self, data: dict[str, Any]) -> None:
        data["producerDataSet"].append({"groupName": self.group})

    async def stop(self) -> None:
        await self.instance.unregister(producer_group=self.group)

    async def queues(self, topic: str) -> list[MessageQueue]:
        """All writable queues of all brokers of a topic, in one order for everybody. Raises MQError."""
        routes = self.instance.routes
        route = routes.cached(topic)
        if route is None:
            route = await find_or_default(routes, topic, AUTO_CREATE_TOPIC, DEFAULT_TOPIC_QUEUE_NUMS)
        if topic not in self._topics:
            self._topics[topic] = None
            self.instance.heartbeat_soon()
        queues = publish_queues(route, topic)
        if not queues:
            raise MQError(
                f"topic {topic}: no broker with a master takes messages", ResponseCode.TOPIC_NOT_EXIST
            )
        return queues

    async def send(self, message: Message, queue: MessageQueue | None = None) -> SendResult:
        """Send one message. Raises MQError when no try was answered with success."""
        message.properties.setdefault(PROPERTY_UNIQ_KEY, self._uniq_keys.next())
        message.properties.setdefault(PROPERTY_WAIT, "true")
        text = encode_properties(message.properties)
        header = self._header(message.topic, message.flag, text, is_batch=False)
        msg_id = message.properties[PROPERTY_UNIQ_KEY]
        return await self._send(
            RequestCode.SEND_MESSAGE_V2, header, message.body, msg_id, message.topic, queue
        )

    async def send_batch(self, messages: Sequence[Message], queue: MessageQueue | None = None) -> SendResult:
        """Send messages of one topic together: all are stored, in a row, or none. Raises MQError."""
        if not messages or any(message.topic != messages[0].topic for message in messages):
            raise MessageIllegal("a batch holds at least one message, and all of one topic")
        for message in messages:
            message.properties.setdefault(PROPERTY_UNIQ_KEY, self._uniq_keys.next())
            message.properties.setdefault(PROPERTY_WAIT, "true")
        first = messages[0]
        header = self._header(first.topic, 0, encode_properties({PROPERTY_WAIT: "true"}), is_batch=True)
        msg_ids = ",".join([message.properties[PROPERTY_UNIQ_KEY] for message in messages])
        body = encode_batch(messages)
        return await self._send(RequestCode.SEND_BATCH_MESSAGE, header, body, msg_ids, first.topic, queue)

    def _header(self, topic: str, flag: int, properties: str, is_batch: bool) -> SendMessageRequestHeaderV2:
        now_ms = self.instance.node.wall_ms()
        return SendMessageRequestHeaderV2(
            self.group, topic, AUTO_CREATE_TOPIC, DEFAULT_TOPIC_QUEUE_NUMS, 0, 0, now_ms, flag, properties,
            0, False, None, is_batch,
        )  # fmt: skip

    async def _send(
        self,
        code: RequestCode,
        header: SendMessageRequestHeaderV2,
        body: bytes,
        msg_id: str,
        topic: str,
        wanted: MessageQueue | None,
    ) -> SendResult:
        node = self.instance.node
        deadline_ms = node.monotonic_ms() + self.timeout_ms
        failure: MQError = RequestTimeout(f"nobody was reached in the {self.timeout_ms:.0f} ms of this send")
        last_broker = ""
        if wanted is not None and topic not in self._topics:
            await self.queues(topic)  # so that the broker's address is known, and the route stays so
        for _ in range(1 if wanted is not None else 1 + self.retry_times):
            queue = wanted or self._next_queue(await self.queues(topic), last_broker)
            last_broker = queue.broker_name
            if deadline_ms <= node.monotonic_ms():
                break
            try:
                address = await self._reach_master(queue, deadline_ms)
                left_ms = deadline_ms - node.monotonic_ms()
                return await self._try(code, header, body, msg_id, queue, address, left_ms)
            except (Unreachable, RequestTimeout, RemoteError) as error:
                failure = error
                if isinstance(error, RemoteError) and error.code not in RETRY_CODES:
                    break
        raise failure

    def _next_queue(self, queues: list[MessageQueue], last_broker: str) -> MessageQueue:
        """The next in turn; after a failure, the next on another broker if there is one."""
        for _ in queues:
            self._turn += 1
            queue = queues[self._turn % len(queues)]
            if queue.broker_name != last_broker:
                return queue
        self._turn += 1
        return queues[self._turn % len(queues)]

    async def _reach_master(self, queue: MessageQueue, deadline_ms: float) -> str:
        """The address of the queue's master, with a connection to it. Raises Unreachable, RequestTimeout."""
        address = self.instance.routes.broker_address(queue.broker_name)
        if address is None:
            raise Unreachable(f"no route names the master of {queue.broker_name}")
        connection = self._connections.get(address)
        if connection is None or not connection.is_open:
            left_s = (deadline_ms - self.instance.node.monotonic_ms()) / 1000
            try:
                async with asyncio.timeout(left_s):  # a connection has a longer limit of its own
                    self._connections[address] = await self.instance.rpc.connect(address)
            except TimeoutError:
                raise RequestTimeout(f"{address} was not reached in the time of this send") from None
        return address

    async def _try(
        self,
        code: RequestCode,
        header: SendMessageRequestHeaderV2,
        body: bytes,
        msg_id: str,
        queue: MessageQueue,
        address: str,
        timeout_ms: float,
    ) -> SendResult:
        header.e, header.n = queue.queue_id, queue.broker_name
        command = RemotingCommand(code, encode_header(header), body)
        answer = await self.instance.rpc.invoke(address, command, timeout_ms)
        status = STATUS_OF.get(answer.code)
        if status is None:
            raise RemoteError(answer.code, answer.remark)
        told = decode_header(SendMessageResponseHeader, answer.ext_fields)
        chosen = MessageQueue(queue.topic, queue.broker_name, told.queue_id)
        return SendResult(status, msg_id, told.msg_id or "", chosen, told.queue_offset)
