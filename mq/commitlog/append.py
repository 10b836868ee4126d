"""Appender: messages become records, and can be taken back until they are written · depth

What always holds: a message gets the next number of its queue when it is appended. Until `write_out` nothing
of it is in a file, and `undo` gives the numbers back. A half message and a rolled-back one get number 0.

This is the plain way, one record after the other. `FastAppender` does the same for the messages that come all
day, and is tested against it.

Real: org.apache.rocketmq.store.CommitLog.asyncPutMessage, DefaultAppendMessageCallback (equivalent)
"""

from collections.abc import Sequence

from mq.commitlog.log import CommitLog
from mq.commitlog.put import AppendResult, Dispatcher, DispatchRequest, InnerMessage, PutStatus, request_for
from mq.commitlog.record import encode_record, encoded_size, is_counted, with_host_bits


class Appender:
    """What was appended to a log since its last write, for derived stores and for an undo."""

    def __init__(self, log: CommitLog, dispatchers: Sequence[Dispatcher]) -> None:
        self.log = log
        self.dispatchers = dispatchers  # without any, nobody has to be told of records
        self.next_offsets: dict[tuple[str, int], int] = {}  # by (topic, queue id)
        self.requests: list[DispatchRequest] = []
        self.counted: list[tuple[tuple[str, int], int]] = []  # queue offsets given since the last write

    def append(self, message: InnerMessage, store_timestamp_ms: int) -> AppendResult:
        """Append a message or batch that `why_illegal` has let pass.

        Raises OSError when the next segment cannot be made; then `undo` must follow.
        """
        queue = message.topic, message.queue_id
        message.sys_flag = with_host_bits(message.sys_flag, message.born_host, message.store_host)
        counted = is_counted(message.sys_flag)
        queue_offset = self.next_offsets.get(queue, 0) if counted else 0
        places: list[int] = []
        total_bytes = 0
        topic = message.topic.encode()
        parts = message.parts or ((message.flag, message.body, message.properties_text),)
        for part_queue_offset, part in enumerate(parts, start=queue_offset):
            flag, body, properties_text = part
            properties = properties_text.encode()
            size = encoded_size(topic, body, properties, message.born_host, message.store_host)
            physical_offset = self.log.place_for(size)
            record = encode_record(
                topic, body, properties, message.queue_id, part_queue_offset if counted else 0,
                physical_offset, flag, message.sys_flag, message.born_timestamp_ms, message.born_host,
                store_timestamp_ms, message.store_host, message.reconsume_times,
                message.prepared_transaction_offset,
            )  # fmt: skip
            self.log.append(record)
            places.append(physical_offset)
            total_bytes += size
            if self.dispatchers:
                place = physical_offset, size, part_queue_offset if counted else 0
                self.requests.append(request_for(message, part, place, store_timestamp_ms))
        if counted:
            self.counted.append((queue, queue_offset))
            self.next_offsets[queue] = queue_offset + len(parts)
        return AppendResult(PutStatus.PUT_OK, "", queue_offset, places, total_bytes, message.wait_store_ok)

    def write_out(self, store_timestamp_ms: int) -> list[DispatchRequest]:
        """One write for everything; returns what derived stores must be told. Raises OSError: then `undo`."""
        self.log.write_out(store_timestamp_ms)
        self.counted.clear()
        requests, self.requests = self.requests, []
        return requests

    def undo(self) -> None:
        """Nothing was written: forget the records, give the numbers back. Raises OSError as `abandon`."""
        self.requests.clear()
        for queue, queue_offset in reversed(self.counted):
            self.next_offsets[queue] = queue_offset
        self.counted.clear()
        self.log.abandon()
