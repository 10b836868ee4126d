"""PaperLog: a log in memory that tests and the demonstration can cut, age and forge.

Records are those of the real log, byte for byte; queue offsets are counted here. It answers what the queues
ask of a log (`mq.consumequeue.logview.Log`).
"""

from collections.abc import Iterable

from mq.commitlog.hosts import encode_host
from mq.commitlog.message import encode_properties
from mq.commitlog.put import DispatchRequest, request_of
from mq.commitlog.record import MessageExt, RecordError, decode_record, encode_record

BORN_HOST = encode_host("10.0.0.9:40000")
STORE_HOST = encode_host("10.0.0.1:10911")


class PaperLog:
    """Records one behind the other, from physical offset 0."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.requests: list[DispatchRequest] = []
        self.min_physical_offset = 0
        self.reads = 0
        self._next: dict[tuple[str, int], int] = {}

    @property
    def max_physical_offset(self) -> int:
        """Where the next record will begin."""
        return len(self.data)

    def put(
        self,
        topic: str = "flights",
        queue_id: int = 0,
        body: bytes = b"x",
        tag: str = "",
        keys: str = "",
        uniq_key: str = "",
        store_ms: int = 1_000,
        sys_flag: int = 0,
        queue_offset: int | None = None,
    ) -> DispatchRequest:
        """Append a message and return what a derived store is told about it."""
        if queue_offset is None:
            queue_offset = self._next.get((topic, queue_id), 0)
        self._next[topic, queue_id] = queue_offset + 1
        properties = {"KEYS": keys, "UNIQ_KEY": uniq_key, "TAGS": tag}
        text = encode_properties({name: value for name, value in properties.items() if value})
        record = encode_record(
            topic.encode(), body, text.encode(), queue_id, queue_offset, len(self.data), 0, sys_flag,
            store_ms, BORN_HOST, store_ms, STORE_HOST,
        )  # fmt: skip
        self.data += record
        self.requests.append(request_of(decode_record(record)))
        return self.requests[-1]

    def lose_from(self, physical_offset: int) -> None:
        """The machine died: what lies here and behind was never on the disk."""
        del self.data[physical_offset:]
        self.requests = [request for request in self.requests if request.physical_offset < physical_offset]
        self._next = {(each.topic, each.queue_id): each.queue_offset + 1 for each in self.requests}

    def requests_from(self, physical_offset: int) -> list[DispatchRequest]:
        """What a reader of the log would hand over from there."""
        return [request for request in self.requests if request.physical_offset >= physical_offset]

    def read(self, physical_offset: int, size: int) -> bytes:
        """Up to `size` bytes; nothing below the minimum."""
        if not self.min_physical_offset <= physical_offset:
            return b""
        self.reads += 1
        return bytes(self.data[physical_offset : physical_offset + size])

    def record_at(self, physical_offset: int, size: int) -> MessageExt | None:
        """The message at a place."""
        try:
            message = decode_record(self.read(physical_offset, size))
        except RecordError:
            return None
        return message if message.physical_offset == physical_offset else None

    def size_at(self, physical_offset: int) -> int:
        """The size that the record here gives itself."""
        return int.from_bytes(self.read(physical_offset, 4), "big")

    def store_time_at(self, physical_offset: int, size: int) -> int:
        """When it was stored; -1 when it is gone."""
        message = self.record_at(physical_offset, size)
        return message.store_timestamp_ms if message is not None else -1


def bodies(records: Iterable[bytes]) -> list[bytes]:
    """The bodies of records as a pull returns them."""
    return [decode_record(record).body for record in records]
