"""Producer: choose a queue, send, and try another broker when that fails · depth

What always holds: SEND_OK means that a broker has the message in its log by its own policy. After any other
end the message may be stored or not; a retry may store it twice, under the same UNIQ_KEY. All tries of one
send share one time limit. A message that was given a queue is tried on that queue only. The message keeps the
body that it was given, also when a compressed one travels.

Four ways to send: `send` waits for the answer, `send_soon` gives a task to wait for and keeps at most
`max_in_flight` of them, `send_oneway` wants no answer, `send_batch` sends many as one.

Real: org.apache.rocketmq.client.impl.producer.DefaultMQProducerImpl (equivalent)
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from mq.commitlog.batch import encode_batch
from mq.commitlog.compressed import PACKED_WITH_ZLIB, pack_body, unpack_bodies
from mq.commitlog.headers import (
    SendMessageRequestHeaderV2,
    SendMessageResponseHeader,
    ViewMessageRequestHeader,
)
from mq.commitlog.hosts import decode_message_id
from mq.commitlog.ids import UniqKeys
from mq.commitlog.latency import LatencyTable
from mq.commitlog.message import (
    PROPERTY_UNIQ_KEY,
    PROPERTY_WAIT,
    Message,
    encode_properties,
)
from mq.commitlog.messageext import MessageExt
from mq.commitlog.record import MAX_BODY_BYTES, TRANSACTION_PREPARED, decode_record
from mq.commitlog.sendable import check_batch, check_message, check_size
from mq.routing.client import ClientInstance, Participant, find_or_default
from mq.routing.route import MessageQueue, publish_queues
from mq.routing.topics import AUTO_CREATE_TOPIC, RETRY_TOPIC_PREFIX
from mq.runtime.errors import MQError
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import RemotingCommand
from mq.wire.errors import RemoteError, RequestTimeout, Unreachable
from mq.wire.headers import decode_header, encode_header
from mq.wire.rpc import MAX_PENDING_INVOKES, Connection, expect_success

SEND_TIMEOUT_MS = 3_000  # RocketMQ's sendMsgTimeout, for all tries together
RETRY_TIMES = 2  # RocketMQ's retryTimesWhenSendFailed and retryTimesWhenSendAsyncFailed: three tries
RETRY_CODES = (17, 14, 1, 16, 204, 205)  # RocketMQ 4.9.8's retryResponseCodes: another broker may do better
COMPRESS_OVER_BYTES, COMPRESS_LEVEL = 4096, 5  # RocketMQ's compressMsgBodyOverHowmuch, and its zlib level
DEFAULT_TOPIC_QUEUE_NUMS = 4
VIEW_TIMEOUT_MS = 3_000

PROPERTY_TRANSACTION_PREPARED = "TRAN_MSG"  # "true": the first half of a transaction
PROPERTY_RECONSUME_TIME, PROPERTY_MAX_RECONSUME_TIMES = "RECONSUME_TIME", "MAX_RECONSUME_TIMES"


class TooManySends(MQError):
    """As many messages wait for their answers as this producer may have on their way: wait for some."""


class SendStatus(Enum):
    """What the broker promised. Only SEND_OK is an acknowledgement."""

    SEND_OK = ResponseCode.SUCCESS
    FLUSH_DISK_TIMEOUT = ResponseCode.FLUSH_DISK_TIMEOUT
    FLUSH_SLAVE_TIMEOUT = ResponseCode.FLUSH_SLAVE_TIMEOUT
    SLAVE_NOT_AVAILABLE = ResponseCode.SLAVE_NOT_AVAILABLE


STATUS_OF = {int(status.value): status for status in SendStatus}


@dataclass(frozen=True, slots=True)
class SendResult:
    """Where a message went. `msg_id` is the client's id, `offset_msg_id` says where it lies."""

    status: SendStatus
    msg_id: str
    offset_msg_id: str
    queue: MessageQueue
    queue_offset: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message or batch as it travels; queue and broker are filled in for each try."""

    code: RequestCode
    header: SendMessageRequestHeaderV2
    body: bytes
    msg_id: str

    def command(self, queue: MessageQueue) -> RemotingCommand:
        """The request that puts it there."""
        self.header.e, self.header.n = queue.queue_id, queue.broker_name
        return RemotingCommand(self.code, encode_header(self.header), self.body)


class Producer(Participant):
    """Sends for one group. Make it, `await instance.add(producer)`, then `await producer.send(...)`."""

    def __init__(self, instance: ClientInstance, group: str) -> None:
        self.instance = instance
        self.group = group
        self.timeout_ms: float = SEND_TIMEOUT_MS
        self.retry_times = self.retry_times_soon = RETRY_TIMES
        self.retry_codes = set(RETRY_CODES)  # answers after which `send` tries another broker
        self.retry_not_stored = False  # RocketMQ's retryAnotherBrokerWhenNotStoreOK: after 10, 11, 12 too
        self.compress_over_bytes, self.compress_level = COMPRESS_OVER_BYTES, COMPRESS_LEVEL
        self.max_message_size = MAX_BODY_BYTES
        self.max_in_flight = MAX_PENDING_INVOKES  # of `send_soon`
        self.avoid_slow_brokers = False  # RocketMQ's sendLatencyFaultEnable
        self.latencies = LatencyTable()
        self.in_flight = 0
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

    # Four ways to send.

    async def send(self, message: Message, queue: MessageQueue | None = None) -> SendResult:
        """Send one message. Raises MQError when no try was answered with success."""
        outgoing = self._prepared(message)
        return await self._send(outgoing, queue, self.retry_times, self.retry_codes)

    def send_soon(self, message: Message, queue: MessageQueue | None = None) -> asyncio.Task[SendResult]:
        """Send one message and go on: the task ends as `send` would, and takes `add_done_callback`.

        A broker's refusal is final here, as in RocketMQ; only who does not answer is replaced by another.
        Raises TooManySends while `max_in_flight` are on their way, MQError when it cannot be sent at all.
        """
        if self.in_flight >= self.max_in_flight:
            raise TooManySends(f"{self.in_flight} messages wait for their answers already")
        sending = self._send(self._prepared(message), queue, self.retry_times_soon, ())
        self.in_flight += 1
        task = self.instance.node.spawn(sending, f"send to {message.topic}")
        task.add_done_callback(self._landed)
        return task

    def _landed(self, _: asyncio.Task[SendResult]) -> None:
        self.in_flight -= 1

    async def send_oneway(self, message: Message, queue: MessageQueue | None = None) -> None:
        """Send one message and never know whether it arrived. Raises MQError when no broker was reached."""
        outgoing = self._prepared(message)
        chosen = await self._chosen(message.topic, queue, "")
        address = await self._reach_master(chosen, self.instance.node.monotonic_ms() + self.timeout_ms)
        await self.instance.rpc.invoke_oneway(address, outgoing.command(chosen))

    async def send_batch(self, messages: Sequence[Message], queue: MessageQueue | None = None) -> SendResult:
        """Send messages of one topic together: all are stored, in a row, or none. Raises MQError."""
        check_batch(messages, self.max_message_size)
        for message in messages:
            self._complete(message)
        wait = encode_properties({PROPERTY_WAIT: messages[0].properties[PROPERTY_WAIT]})
        header = self._header(messages[0].topic, 0, 0, wait, is_batch=True)
        msg_ids = ",".join([message.properties[PROPERTY_UNIQ_KEY] for message in messages])
        body = encode_batch(messages)
        check_size(len(body), self.max_message_size)
        outgoing = Outgoing(RequestCode.SEND_BATCH_MESSAGE, header, body, msg_ids)
        return await self._send(outgoing, queue, self.retry_times, self.retry_codes)

    # What travels.

    def _prepared(self, message: Message) -> Outgoing:
        """Check, complete and pack one message. Raises MQError."""
        check_message(message, self.max_message_size)
        self._complete(message)
        properties, sys_flag, body = message.properties, 0, message.body
        if len(body) >= self.compress_over_bytes:  # "over" is RocketMQ's word; it compares like this
            sys_flag, body = PACKED_WITH_ZLIB, pack_body(body, self.compress_level)
        if properties.get(PROPERTY_TRANSACTION_PREPARED) == "true":
            sys_flag |= TRANSACTION_PREPARED
        header = self._header(message.topic, sys_flag, message.flag, "", is_batch=False)
        if message.topic.startswith(RETRY_TOPIC_PREFIX):  # the broker wants to be told, not to store it
            properties = dict(properties)
            header.j = int(properties.pop(PROPERTY_RECONSUME_TIME, "0"))
            times = properties.pop(PROPERTY_MAX_RECONSUME_TIMES, None)
            header.l = int(times) if times is not None else None
        header.i = encode_properties(properties)
        return Outgoing(RequestCode.SEND_MESSAGE_V2, header, body, message.properties[PROPERTY_UNIQ_KEY])

    def _complete(self, message: Message) -> None:
        message.properties.setdefault(PROPERTY_UNIQ_KEY, self._uniq_keys.next())
        message.properties.setdefault(PROPERTY_WAIT, "true")

    def _header(
        self, topic: str, sys_flag: int, flag: int, properties: str, is_batch: bool
    ) -> SendMessageRequestHeaderV2:
        now_ms = self.instance.node.wall_ms()
        return SendMessageRequestHeaderV2(
            self.group, topic, AUTO_CREATE_TOPIC, DEFAULT_TOPIC_QUEUE_NUMS, 0, sys_flag, now_ms, flag,
            properties, 0, False, None, is_batch,
        )  # fmt: skip

    # Tries.

    async def _send(
        self, outgoing: Outgoing, wanted: MessageQueue | None, retry_times: int, retry_codes: Collection[int]
    ) -> SendResult:
        node, topic = self.instance.node, outgoing.header.b
        deadline_ms = node.monotonic_ms() + self.timeout_ms
        failure: MQError = RequestTimeout(f"nobody was reached in the {self.timeout_ms:.0f} ms of this send")
        result: SendResult | None = None
        last_broker = ""
        for _ in range(1 if wanted is not None else 1 + retry_times):
            queue = await self._chosen(topic, wanted, last_broker)
            last_broker, began_ms = queue.broker_name, node.monotonic_ms()
            if deadline_ms <= began_ms:
                break
            try:
                result = await self._try(outgoing, queue, deadline_ms)
            except (Unreachable, RequestTimeout, RemoteError) as error:
                failure = error
                self._note(wanted, last_broker, began_ms, has_failed=True)
                if isinstance(error, RemoteError) and error.code not in retry_codes:
                    break
                continue
            self._note(wanted, last_broker, began_ms, has_failed=False)
            if result.status is SendStatus.SEND_OK or not self.retry_not_stored:
                return result
        if result is not None:
            return result
        raise failure

    def _note(self, wanted: MessageQueue | None, broker_name: str, began_ms: float, has_failed: bool) -> None:
        """Remember how a try went; as in RocketMQ, not of a broker that the caller had chosen."""
        if self.avoid_slow_brokers and wanted is None:
            now_ms = self.instance.node.monotonic_ms()
            self.latencies.note(broker_name, now_ms - began_ms, has_failed, now_ms)

    async def _chosen(self, topic: str, wanted: MessageQueue | None, last_broker: str) -> MessageQueue:
        """The queue for the next try. Raises MQError."""
        if wanted is None:
            return self._next_queue(await self.queues(topic), last_broker)
        if topic not in self._topics:
            await self.queues(topic)  # so that the broker's address is known, and the route stays so
        return wanted

    def _next_queue(self, queues: list[MessageQueue], last_broker: str) -> MessageQueue:
        """The next in turn; after a failure, the next on another broker if there is one."""
        if self.avoid_slow_brokers:
            return self._next_available(queues)
        for _ in queues:
            self._turn += 1
            queue = queues[self._turn % len(queues)]
            if queue.broker_name != last_broker:
                return queue
        self._turn += 1
        return queues[self._turn % len(queues)]

    def _next_available(self, queues: list[MessageQueue]) -> MessageQueue:
        """The next in turn on a broker that is not avoided; if all are, one on the least bad."""
        now_ms = self.instance.node.monotonic_ms()
        self._turn += 1
        for step in range(len(queues)):
            queue = queues[(self._turn + step) % len(queues)]
            if self.latencies.is_available(queue.broker_name, now_ms):
                return queue
        name = self.latencies.least_bad(now_ms)
        own = [queue for queue in queues if queue.broker_name == name]
        if name is not None and not own:
            self.latencies.forget(name)
        return (own or queues)[self._turn % len(own or queues)]

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

    async def _try(self, outgoing: Outgoing, queue: MessageQueue, deadline_ms: float) -> SendResult:
        address = await self._reach_master(queue, deadline_ms)
        left_ms = deadline_ms - self.instance.node.monotonic_ms()
        answer = await self.instance.rpc.invoke(address, outgoing.command(queue), left_ms)
        status = STATUS_OF.get(answer.code)
        if status is None:
            raise RemoteError(answer.code, answer.remark)
        told = decode_header(SendMessageResponseHeader, answer.ext_fields)
        chosen = MessageQueue(queue.topic, queue.broker_name, told.queue_id)
        return SendResult(status, outgoing.msg_id, told.msg_id or "", chosen, told.queue_offset)


async def view_message(instance: ClientInstance, offset_msg_id: str) -> MessageExt:
    """The message that lies where this id says (33): the broker is asked whose address the id holds.

    Raises MQError: the id is none, nobody answers there, or no message begins there.
    """
    try:
        address, physical_offset = decode_message_id(offset_msg_id)
    except ValueError:
        raise MQError(f"{offset_msg_id!r} is not an offset message id") from None
    fields = encode_header(ViewMessageRequestHeader(physical_offset))
    command = RemotingCommand(RequestCode.VIEW_MESSAGE_BY_ID, fields)
    answer = expect_success(await instance.rpc.invoke(address, command, VIEW_TIMEOUT_MS))
    return unpack_bodies([decode_record(answer.body)])[0]
