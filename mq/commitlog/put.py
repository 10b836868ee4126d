"""What goes into the store, what comes out of it, and what derived stores are told · depth

What always holds: `properties` as a map and `properties_text` as it is stored are both kept, because a
record's text may hold more than a reader should see. The map is made when somebody asks for it, since nobody
does for most messages. A `DispatchRequest` made by append equals the one that the reader of the log makes: a
test compares them.

Real: org.apache.rocketmq.common.message.MessageExtBrokerInner, PutMessageResult, DispatchRequest (equivalent)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from mq.commitlog.javahash import tag_hash
from mq.commitlog.message import PROPERTY_KEYS, PROPERTY_TAGS, PROPERTY_UNIQ_KEY, decode_properties
from mq.commitlog.record import MessageExt

Words = tuple[str | None, str, str | None]
"""What derived stores are told of a message's properties: its tag, its keys, the client's id."""


def words_of(properties: Mapping[str, str]) -> Words:
    """The words in a map of properties."""
    get = properties.get
    return get(PROPERTY_TAGS), get(PROPERTY_KEYS, ""), get(PROPERTY_UNIQ_KEY)


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
    `words` are those of the properties that derived stores are told, for who knows them without the map.
    """

    __slots__ = (
        "_properties", "body", "born_host", "born_timestamp_ms", "flag", "parts",
        "prepared_transaction_offset", "properties_text", "queue_entry_code", "queue_id", "reconsume_times",
        "store_host", "sys_flag", "topic", "wait_store_ok", "words",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        queue_id: int,
        body: bytes,
        properties: dict[str, str] | None,
        properties_text: str,
        born_timestamp_ms: int,
        born_host: bytes,
        store_host: bytes,
        flag: int = 0,
        sys_flag: int = 0,
        reconsume_times: int = 0,
        wait_store_ok: bool = True,
        parts: Sequence[tuple[int, bytes, str]] | None = None,
        words: Words | None = None,
    ) -> None:
        self.topic = topic
        self.queue_id = queue_id
        self.body = body
        self._properties = properties
        self.properties_text = properties_text
        self.born_timestamp_ms = born_timestamp_ms
        self.born_host = born_host
        self.store_host = store_host
        self.flag = flag
        self.sys_flag = sys_flag
        self.reconsume_times = reconsume_times
        self.wait_store_ok = wait_store_ok
        self.parts = parts
        self.words = words
        self.prepared_transaction_offset = 0
        self.queue_entry_code: int | None = None  # what the queue entry stores in place of the tag's hash

    @property
    def properties(self) -> dict[str, str]:
        """The properties as a map, which a hook may change."""
        if self._properties is None:
            self._properties = decode_properties(self.properties_text)
        self.words = None  # from now on the map is what counts
        return self._properties

    @properties.setter
    def properties(self, properties: dict[str, str]) -> None:
        self._properties, self.words = properties, None

    @property
    def known_words(self) -> Words | None:
        """The words of this message, when they are known without parsing a text. Of a batch, none are."""
        if self.words is not None or self._properties is None or self.parts is not None:
            return self.words
        return words_of(self._properties)


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

    def __init__(
        self,
        status: PutStatus,
        remark: str = "",
        queue_offset: int = -1,
        physical_offsets: Sequence[int] = (),
        size: int = 0,
        wait_store_ok: bool = True,
    ) -> None:
        self.status = status
        self.remark = remark
        self.queue_offset = queue_offset
        self.physical_offsets = physical_offsets
        self.physical_offset = physical_offsets[0] if physical_offsets else -1
        self.size = size
        self.wait_store_ok = wait_store_ok


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
    tag, keys, uniq_key = message.known_words or words_of(decode_properties(part[2]))
    request = DispatchRequest(
        message.topic, message.queue_id, physical_offset, size, tag_hash(tag) if tag else 0,
        store_timestamp_ms, queue_offset, keys, uniq_key, message.sys_flag, part[2],
    )  # fmt: skip
    if message.queue_entry_code is not None:
        request.queue_entry_code = message.queue_entry_code
    return request


def request_of(message: MessageExt) -> DispatchRequest:
    """The request for a record that was read from the log."""
    tag, keys, uniq_key = words_of(decode_properties(message.properties_text))
    return DispatchRequest(
        message.topic, message.queue_id, message.physical_offset, message.size, tag_hash(tag) if tag else 0,
        message.store_timestamp_ms, message.queue_offset, keys, uniq_key, message.sys_flag,
        message.properties_text,
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
