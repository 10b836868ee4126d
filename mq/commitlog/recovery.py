"""Recovery: where does the log end, and from where must the derived stores be fed again? · core

What always holds: the log is the truth. After a clean end the last three segments are read to find its end.
After an unclean end reading begins at the newest segment that was certainly whole when the checkpoint was
written. The first bytes that are no record are the end; what lies behind them was promised to nobody.

Real: org.apache.rocketmq.store.CommitLog.recoverNormally, recoverAbnormally (equivalent)
"""

from mq.commitlog.log import CommitLog
from mq.commitlog.reader import LogReader
from mq.commitlog.record import BORN_HOST_V6, MESSAGE_MAGIC, SYS_FLAG_AT

CLEAN_SEGMENTS = 3  # RocketMQ reads so many after a clean end
MAGIC_AT, STORE_TIMESTAMP_AT, V6_EXTRA_BYTES = 4, 56, 12  # an IPv6 born host lies before the store time
HEAD_BYTES = STORE_TIMESTAMP_AT + 8 + V6_EXTRA_BYTES


def recovery_start(log: CommitLog, clean: bool, safe_timestamp_ms: int) -> int:
    """The first position of the segment from which to read.

    `safe_timestamp_ms`: every record stored up to then is durable, in the log and in what is derived from it.
    """
    starts = log.segments.starts
    if clean:
        return starts[max(len(starts) - CLEAN_SEGMENTS, 0)] if starts else 0
    for start in reversed(starts):
        timestamp_ms = first_store_timestamp_ms(log, start)
        if timestamp_ms is not None and timestamp_ms <= safe_timestamp_ms:
            return start
    return starts[0] if starts else 0


def first_store_timestamp_ms(log: CommitLog, start: int) -> int | None:
    """When the first record of a segment was stored; None when there is no record."""
    head = log.segments.read(start, HEAD_BYTES)
    if len(head) < HEAD_BYTES or int.from_bytes(head[MAGIC_AT : MAGIC_AT + 4], "big") != MESSAGE_MAGIC:
        return None
    has_v6 = int.from_bytes(head[SYS_FLAG_AT : SYS_FLAG_AT + 4], "big") & BORN_HOST_V6
    at = STORE_TIMESTAMP_AT + (V6_EXTRA_BYTES if has_v6 else 0)
    return int.from_bytes(head[at : at + 8], "big") or None


def recover_log(log: CommitLog, start: int, check_crc: bool = True) -> LogReader:
    """Find the end by reading from `start`, cut there, and go on from there.

    Returns the reader: `position` is the end, `reason` says why it is there.
    """
    reader = LogReader(log, start, log.segments.capacity_end, check_crc)
    for message in reader:
        log.last_store_timestamp_ms = message.store_timestamp_ms
    log.resume(reader.position)
    log.synced_to = start  # what was read may be in the page cache only
    return reader
