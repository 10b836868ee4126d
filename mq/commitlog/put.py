"""What goes into the store, what comes out of it, and what derived stores are told · depth

What always holds: `properties` as a map and `properties_text` as it is stored are both kept, because a
record's text may hold more than a reader should see. A `DispatchRequest` made by append equals the one that
the reader of the log makes: a test compares them.

Real: org.apache.rocketmq.common.message.MessageExtBrokerInner, PutMessageResult, DispatchRequest (equivalent)
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Protocol

from mq.commitlog.javahash import java_hash
from mq.commitlog.message import PROPERTY_KEYS, PROPERTY_TAGS, PROPERTY_UNIQ_KEY, decode_properties
from mq.commitlog.record import MessageExt


class PutStatus(Enum):
    """How a put went. Only PUT_OK promises anything: the others, what they say and no more."""

    PUT_OK = 0
    FLUSH_DISK_TIMEOUT = 1
    FLUSH_SLAVE_TIMEOUT = 2
    SLAVE_NOT_AVAILABLE = 3
    SERVICE_NOT_AVAILABLE = 4
    MESSAGE_ILLEGAL = 5
    PROPERTIES_SIZE_EXCEEDED = 6
    CREATE_MAPPED_FILE_FAILED = 7
    UNKNOWN_ERROR = 8


class InnerMessage:
    """A message on its way into the log. Hosts are packed (`encode_host`); times are ms since 1970.

    For a batch, `parts` holds (flag, body, properties text) of each message, and body and text are empty.
    """

    __slots__ = (
        "body", "born_host", "born_timestamp_ms", "flag", "parts", "prepared_transaction_offset",
        "properties", "properties_text", "queue_entry_code", "queue_id", "reconsume_times", "store_host",
        "sys_flag", "topic", "wait_store_ok",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        queue_id: int,
        body: bytes,
        properties: dict[str, str],
        properties_text: str,
        born_timestamp_ms: int,
        born_host: bytes,
        store_host: bytes,
        flag: int = 0,
        sys_flag: int = 0,
        reconsume_times: int = 0,
        wait_store_ok: bool = True,
        parts: Sequence[tuple[int, bytes, str]] | None = None,
    ) -> None:
        self.topic = topic
        self.queue_id = queue_id
        self.body = body
        self.properties = properties
        self.properties_text = properties_text
        self.born_timestamp_ms = born_timestamp_ms
        self.born_host = born_host
        self.store_host = store_host
        self.flag = flag
        self.sys_flag = sys_flag
        self.reconsume_times = reconsume_times
        self.wait_store_ok = wait_store_ok
        self.parts = parts
        self.prepared_transaction_offset = 0
        self.queue_entry_code: int | None = None  # what the queue entry stores in place of the tag's hash


class AppendResult:
    """Where a put landed. For a batch: the first message's place, and every message's physical offset."""

    __slots__ = (
        "physical_offset",
        "physical_offsets",
        "queue_offset",
        "remark",
        "size",
        "status",
        "wait_store_ok",
    )

    def __init__(self, status: PutStatus, remark: str = "") -> None:
        self.status = status
        self.remark = remark
        self.physical_offset = self.queue_offset = -1
        self.size = 0
        self.physical_offsets: list[int] = []
        self.wait_store_ok = True


class DispatchRequest:
    """What a derived store is told about one record of the log."""

    __slots__ = (
        "keys", "physical_offset", "properties_text", "queue_entry_code", "queue_id", "queue_offset", "size",
        "store_timestamp_ms", "sys_flag", "tags_code", "topic", "uniq_key",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        queue_id: int,
        physical_offset: int,
        size: int,
        tags_code: int,
        store_timestamp_ms: int,
        queue_offset: int,
        keys: str,
        uniq_key: str | None,
        sys_flag: int,
        properties_text: str,
    ) -> None:
        self.topic = topic
        self.queue_id = queue_id
        self.physical_offset = physical_offset
        self.size = size
        self.tags_code = self.queue_entry_code = tags_code
        self.store_timestamp_ms = store_timestamp_ms
        self.queue_offset = queue_offset
        self.keys = keys
        self.uniq_key = uniq_key
        self.sys_flag = sys_flag
        self.properties_text = properties_text

    def as_tuple(self) -> tuple[object, ...]:
        """For comparison: two requests about one record are equal in every field."""
        return tuple(getattr(self, name) for name in self.__slots__)


def request_for(
    message: InnerMessage, part: tuple[int, bytes, str], place: tuple[int, int, int], store_timestamp_ms: int
) -> DispatchRequest:
    """The request for a record that is being appended; `place` is (physical offset, size, queue offset)."""
    physical_offset, size, queue_offset = place
    properties = message.properties if message.parts is None else decode_properties(part[2])
    tag = properties.get(PROPERTY_TAGS)
    request = DispatchRequest(
        message.topic, message.queue_id, physical_offset, size, java_hash(tag) if tag else 0,
        store_timestamp_ms, queue_offset, properties.get(PROPERTY_KEYS, ""),
        properties.get(PROPERTY_UNIQ_KEY), message.sys_flag, part[2],
    )  # fmt: skip
    if message.queue_entry_code is not None:
        request.queue_entry_code = message.queue_entry_code
    return request


def request_of(message: MessageExt) -> DispatchRequest:
    """The request for a record that was read from the log."""
    properties = decode_properties(message.properties_text)
    tag = properties.get(PROPERTY_TAGS)
    return DispatchRequest(
        message.topic, message.queue_id, message.physical_offset, message.size, java_hash(tag) if tag else 0,
        message.store_timestamp_ms, message.queue_offset, properties.get(PROPERTY_KEYS, ""),
        properties.get(PROPERTY_UNIQ_KEY), message.sys_flag, message.properties_text,
    )  # fmt: skip


class Dispatcher(Protocol):
    """A derived store: everything in it can be made again from the log.

    `name` is its field in the checkpoint: "logics" (queues) or "index".
    """

    name: str

    def load(self) -> None:
        """Open what is there; before the log knows its end."""

    def recover(self, clean: bool, log_end: int) -> None:
        """Drop what refers to `log_end` or beyond, and what an unclean end may have left half written."""

    def recovered_to(self) -> int:
        """After `recover`: the physical offset from which it needs dispatching; 0 when nothing is there."""

    def rewriting(self, on: bool) -> None:
        """While on, requests are the truth about everything behind them: what differs is overwritten."""

    def dispatch(self, requests: Sequence[DispatchRequest]) -> None:
        """Take requests in the order of the log. A repeat is passed over."""

    def truncate(self, physical_offset: int) -> None:
        """The log was cut here: drop what refers to what is gone. `recovered_to` says what is lacking."""

    def delete_before(self, physical_offset: int) -> None:
        """Drop what refers to records below `physical_offset`."""

    async def flush(self, thorough: bool) -> int | None:
        """Make durable what pays (`thorough`: everything). Returns the store time up to which it now is
        durable, or None when something is left. Raises OSError."""

    def close(self) -> None:
        """Give files back; everything has been flushed."""
