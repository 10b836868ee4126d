"""Parted: are these bytes the beginning of a record, or has a log parted from its original? · depth

What always holds: a piece of a record whose end is still to come is no reason to stop. Everything else that
stands where a record must begin is: whoever only waits for it to become one has a log without queues, which
grows, is reported, and counts as a copy.

Real: nothing (4.9.8 stores what its reader cannot read)
"""

from mq.commitlog.log import CommitLog
from mq.commitlog.reader import LogReader
from mq.commitlog.record import BLANK_BYTES, MAX_RECORD_BYTES, MESSAGE_MAGIC, MIN_RECORD_BYTES


def why_no_record(log: CommitLog, position: int) -> str:
    """Why what lies there is no record and cannot become one; empty when it is one, or may be."""
    reader = LogReader(log, position, log.written_to, check_crc=False)
    if next(iter(reader), None) is not None or _may_become_one(log, position):
        return ""
    return reader.reason


def _may_become_one(log: CommitLog, position: int) -> bool:
    head, there = log.read(position, BLANK_BYTES), log.written_to - position
    if len(head) < BLANK_BYTES:
        return True
    size, magic = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
    room = log.segments.start_of(position) + log.segments.segment_bytes - position
    return magic == MESSAGE_MAGIC and MIN_RECORD_BYTES <= size <= min(room, MAX_RECORD_BYTES) and size > there
