"""LogReader: walk the log record by record, and know why it ended · core

What always holds: every record that is passed on begins where the one before it ended (or at the next
segment's first byte), carries its own position and a body that fits its checksum. The first bytes that do
not are the end: a log cannot be read past a place where the size of a record is in doubt.

Real: org.apache.rocketmq.store.CommitLog.checkMessageAndReturnSize (equivalent)
"""

from collections.abc import Iterator

from mq.commitlog.log import CommitLog
from mq.commitlog.record import (
    BLANK_BYTES,
    BLANK_MAGIC,
    MAX_RECORD_BYTES,
    MESSAGE_MAGIC,
    MIN_RECORD_BYTES,
    MessageExt,
    RecordError,
    decode_record,
)

NOTHING_HERE = "nothing is written here"
CHUNK_BYTES = 1 << 20  # so much is read at once


class LogReader:
    """Iterate over it for the records from `position` up to `limit`, each a MessageExt.

    `position` is always where the next record begins; `reason` says why the walk ended before `limit`.
    """

    def __init__(self, log: CommitLog, position: int, limit: int, check_crc: bool = True) -> None:
        self.log = log
        self.position = position  # where the next record begins
        self.limit = limit
        self.check_crc = check_crc
        self.reason = ""  # why the walk ended before `limit`; empty when it did not
        self.cut = False  # whether it ended at bytes that are something, but no record
        self._chunk, self._chunk_at = b"", 0

    def __iter__(self) -> Iterator[MessageExt]:
        while self.position < self.limit:
            try:
                message = self._record()
            except RecordError as error:
                self.reason = error.remark
                self.cut = error.remark != NOTHING_HERE
                return
            if message is None:
                self.position = self._next_segment()
            else:
                self.position += message.size
                yield message

    def _record(self) -> MessageExt | None:
        """The record at `position`; None at a BLANK mark. Raises RecordError."""
        head = self._bytes(BLANK_BYTES)
        size, magic = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
        if magic == BLANK_MAGIC:
            if size != self._next_segment() - self.position:
                raise RecordError(f"a BLANK mark of {size} bytes does not end at its segment's end")
            return None
        if magic != MESSAGE_MAGIC:
            raise RecordError(NOTHING_HERE if magic == size == 0 else f"magic {magic:#010x}")
        if not MIN_RECORD_BYTES <= size <= MAX_RECORD_BYTES:
            raise RecordError(f"a record of {size} bytes cannot be")
        message = decode_record(self._bytes(size), check_crc=self.check_crc)
        if message.physical_offset != self.position:
            raise RecordError(f"the record says that it lies at {message.physical_offset}")
        return message

    def _bytes(self, length: int) -> bytes:
        start = self.position - self._chunk_at
        if start < 0 or start + length > len(self._chunk):
            self._chunk, self._chunk_at, start = self._read(max(length, CHUNK_BYTES)), self.position, 0
        data = self._chunk[start : start + length]
        if len(data) < length:
            raise RecordError(f"{length} bytes are wanted, {len(data)} are there")
        return data

    def _read(self, length: int) -> bytes:
        return self.log.segments.read(self.position, min(length, self.limit - self.position))

    def _next_segment(self) -> int:
        segments = self.log.segments
        return segments.start_of(self.position) + segments.segment_bytes
