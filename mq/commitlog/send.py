"""SendMessageProcessor: may this message be stored, and what does the sender get to hear? · depth

What always holds: a message is checked in RocketMQ's order, and the first check that fails is the answer. The
stored properties are the client's in its order, without WAIT (it concerns only this request), without names
that have no value, and with CLUSTER. A message in a batch keeps its own properties as they came and gets
those of the batch, WAIT included, as in the real broker. An answer always has extFields, also when it
refuses: Java clients look into them unasked.

`send_message_hooks` see sends of clients only, after the checks: half messages hang there (chapter 7). The
store's own `put_message_hooks` see every put.

Real: org.apache.rocketmq.broker.processor.SendMessageProcessor (equivalent)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from mq.commitlog.batch import decode_batch
from mq.commitlog.fastsend import known_message
from mq.commitlog.headers import (
    FAQ,
    SendMessageRequestHeader,
    SendMessageResponseHeader,
    ViewMessageRequestHeader,
    check_numbers,
    from_v2,
)
from mq.commitlog.hosts import encode_host, host_hex
from mq.commitlog.message import NAME_END, PROPERTY_CLUSTER, PROPERTY_WAIT, VALUE_END, decode_properties
from mq.commitlog.put import AppendResult, InnerMessage, PutStatus
from mq.commitlog.record import TRANSACTION_MASK, TRANSACTION_PREPARED
from mq.commitlog.store import MessageStore
from mq.routing.broker import Broker
from mq.routing.route import PERM_WRITE
from mq.routing.topics import NOT_ALLOWED_TOPICS, RETRY_TOPIC_PREFIX, TopicConfig, check_topic_name
from mq.runtime.errors import MQError
from mq.wire.codec import JSON
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.command import VERSION, RemotingCommand
from mq.wire.headers import encode_header
from mq.wire.knownheaders import KnownCommand
from mq.wire.rpc import Request

SendHook = Callable[[Request, SendMessageRequestHeader, InnerMessage], "RemotingCommand | None"]

RESPONSE_OF = {
    PutStatus.PUT_OK: ResponseCode.SUCCESS,
    PutStatus.FLUSH_DISK_TIMEOUT: ResponseCode.FLUSH_DISK_TIMEOUT,
    PutStatus.FLUSH_SLAVE_TIMEOUT: ResponseCode.FLUSH_SLAVE_TIMEOUT,
    PutStatus.SLAVE_NOT_AVAILABLE: ResponseCode.SLAVE_NOT_AVAILABLE,
    PutStatus.SERVICE_NOT_AVAILABLE: ResponseCode.SERVICE_NOT_AVAILABLE,
    PutStatus.MESSAGE_ILLEGAL: ResponseCode.MESSAGE_ILLEGAL,
    PutStatus.PROPERTIES_SIZE_EXCEEDED: ResponseCode.MESSAGE_ILLEGAL,
    PutStatus.CREATE_MAPPED_FILE_FAILED: ResponseCode.SYSTEM_ERROR,
    PutStatus.UNKNOWN_ERROR: ResponseCode.SYSTEM_ERROR,
}
STORED = (
    PutStatus.PUT_OK,
    PutStatus.FLUSH_DISK_TIMEOUT,
    PutStatus.FLUSH_SLAVE_TIMEOUT,
    PutStatus.SLAVE_NOT_AVAILABLE,
)
"""The message is in the log, so the answer says where; only the first of these promises that it stays."""

_PUT_OK = PutStatus.PUT_OK

FAILED_FIELDS = {"TRACE_ON": "true", "MSG_REGION": "DefaultRegion"}

# RocketMQ's own answer, byte for byte, cut where this send's values go: a tenth of the cost of json.dumps.
_QUEUE = '{"code":0,"extFields":{"queueId":"'
_ID = '","TRACE_ON":"true","MSG_REGION":"DefaultRegion","msgId":"'
_OFFSET = '","queueOffset":"'
_OPAQUE = '"},"flag":1,"language":"JAVA","opaque":'
_END = f',"serializeTypeCurrentRPC":"JSON","version":{VERSION}}}'


class SendMessageProcessor:
    """Answers 10, 310 and 320."""

    def __init__(self, broker: Broker, store: MessageStore) -> None:
        self.broker = broker
        self.store = store
        self.send_message_hooks: list[SendHook] = []
        self._cluster = broker.config.broker_cluster_name
        self._store_host = b""

    def process(self, request: Request) -> None:
        """Check, hand to the hooks, put; the answer follows when the store knows the message's fate."""
        command, message = request.command, None
        if type(command) is KnownCommand and self._store_host:
            message = known_message(request, command, self.broker, self._store_host)
        if message is None or self.send_message_hooks:
            try:
                header = self.header_of(request)
                message = message or self.message_of(request, header)
            except MQError as error:
                request.reply(RemotingCommand(error.response_code, dict(FAILED_FIELDS), remark=error.remark))
                return
            for hook in self.send_message_hooks:
                answer = hook(request, header, message)
                if answer is not None:
                    request.reply(answer)
                    return
        self.store.put(message, partial(self._answer, request, message.queue_id, message.store_host))

    def header_of(self, request: Request) -> SendMessageRequestHeader:
        """The typed header of 10, 310 or 320. Raises HeaderError."""
        if request.command.code == RequestCode.SEND_MESSAGE:
            header = request.header(SendMessageRequestHeader)
            check_numbers(header)
            return header
        return from_v2(request.ext_fields)

    def message_of(self, request: Request, header: SendMessageRequestHeader) -> InnerMessage:
        """The message that will be stored, checked. Raises MQError: the first check that fails."""
        return self._inner_message(request, header, self._checked_topic(header))

    def _checked_topic(self, header: SendMessageRequestHeader) -> TopicConfig:
        """The topic's config, created if that is allowed. Raises MQError: the first check that fails."""
        name, topics, config = header.topic, self.broker.topics, self.broker.config
        topic = topics.find(name)
        if topic is None:
            check_topic_name(name)
        if name in NOT_ALLOWED_TOPICS:
            raise MQError(f"the topic[{name}] is not allowed for clients", ResponseCode.NO_PERMISSION)
        if topic is None:
            queue_nums = header.default_topic_queue_nums
            topic = topics.create_for_send(name, header.default_topic, queue_nums)
            if topic is None and name.startswith(RETRY_TOPIC_PREFIX):
                topic = topics.create_retry_topic(name)
        if topic is None:
            raise MQError(f"topic[{name}] not exist, apply first please!{FAQ}", ResponseCode.TOPIC_NOT_EXIST)
        if not config.broker_permission & PERM_WRITE and topic.order:
            remark = f"the broker[{self.broker.address}] sending message is forbidden"
            raise MQError(remark, ResponseCode.NO_PERMISSION)
        queues = max(topic.write_queue_nums, topic.read_queue_nums)
        if header.queue_id >= queues:
            raise MQError(f"request queueId[{header.queue_id}] is illegal: topic {name} has {queues} queues")
        if header.sys_flag & TRANSACTION_MASK == TRANSACTION_PREPARED and not self.send_message_hooks:
            remark = f"the broker[{self.broker.address}] sending transaction message is forbidden"
            raise MQError(remark, ResponseCode.NO_PERMISSION)
        return topic

    def _inner_message(
        self, request: Request, header: SendMessageRequestHeader, topic: TopicConfig
    ) -> InnerMessage:
        """What will be stored. Raises MessageIllegal."""
        queue_id = header.queue_id
        if queue_id < 0:
            queue_id = self.broker.node.random.randrange(max(topic.write_queue_nums, 1))
        properties = decode_properties(header.properties or "")
        wait = properties.get(PROPERTY_WAIT, "true") != "false"
        if not header.batch:
            properties.pop(PROPERTY_WAIT, None)
        properties[PROPERTY_CLUSTER] = self._cluster
        text = VALUE_END.join([f"{name}{NAME_END}{value}" for name, value in properties.items()])
        parts = None
        if header.batch:
            parts = [(flag, body, _joined(own, text)) for flag, body, own in decode_batch(request.body)]
        if not self._store_host:
            self._store_host = encode_host(self.broker.address)  # the port is known once we listen
        return InnerMessage(
            header.topic,
            queue_id,
            request.command.body,
            properties,
            "" if parts is not None else text,
            header.born_timestamp,
            encode_host(request.connection.peer),
            self._store_host,
            header.flag,
            header.sys_flag,
            header.reconsume_times or 0,
            wait,
            parts,
        )

    def _answer(self, request: Request, queue_id: int, store_host: bytes, result: AppendResult) -> None:
        if result.status not in STORED:
            code = RESPONSE_OF[result.status]
            request.reply(
                RemotingCommand(code, dict(FAILED_FIELDS), remark=result.remark or result.status.name)
            )
            return
        command, host = request.command, host_hex(store_host)
        if len(result.physical_offsets) == 1:
            message_id = f"{host}{result.physical_offset:016X}"
        else:  # of each, as `offset_message_id` makes it
            message_id = ",".join([f"{host}{offset:016X}" for offset in result.physical_offsets])
        if result.status is _PUT_OK and command.serialize_type == JSON:
            header = (
                f"{_QUEUE}{queue_id}{_ID}{message_id}{_OFFSET}{result.queue_offset}{_OPAQUE}{command.opaque}{_END}"
            )
            size = len(header)  # all of it is ASCII
            request.reply_frame((size + 4 << 32 | size).to_bytes(8, "big") + header.encode())
            return
        fields = SendMessageResponseHeader(queue_id, msg_id=message_id, queue_offset=result.queue_offset)
        remark = None if result.status is _PUT_OK else result.status.name
        request.reply(RemotingCommand(RESPONSE_OF[result.status], encode_header(fields), remark=remark))


def _joined(own: str, of_all: str) -> str:
    """What one message of a batch is stored with: its own properties as they came, then the batch's."""
    if own.endswith(VALUE_END):
        return own + of_all
    return f"{own}{VALUE_END}{of_all}" if own else of_all


class ViewMessageProcessor:
    """Answers 33: one message by its physical offset."""

    def __init__(self, store: MessageStore) -> None:
        self.store = store

    def process(self, request: Request) -> None:
        """The record as it lies in the log, or code 1."""
        physical_offset = request.header(ViewMessageRequestHeader).offset
        size = self.store.size_at(physical_offset)
        message = self.store.record_at(physical_offset, size)
        if message is None:
            raise MQError(f"can not find message by the offset, {physical_offset}")
        request.succeed(body=self.store.read(physical_offset, size))
