"""Bytes of another log, appended as they are: how a copy of a log grows · depth

What always holds: a copy's byte at some physical offset is the original's byte at that offset. Pieces may be
cut anywhere; whoever reads the copy stops before a record that is not whole yet.

Real: org.apache.rocketmq.store.CommitLog.appendData (equivalent)
"""

from mq.commitlog.log import CommitLog
from mq.runtime.errors import StoreError


def append_raw(log: CommitLog, physical_offset: int, data: bytes) -> None:
    """Write bytes that another log has at this place. Raises StoreError, OSError.

    They must continue this log, or begin a log that is empty at a segment's first byte.
    """
    segments = log.segments
    if log.end == segments.first != physical_offset and physical_offset % segments.segment_bytes == 0:
        while segments.starts:  # recovery found no whole record, and left an empty file
            segments.delete_first()
    if not segments.starts:
        if physical_offset % segments.segment_bytes:
            size = segments.segment_bytes
            raise StoreError(f"bytes for {physical_offset} came: no segment of {size} bytes begins there")
        segments.add(physical_offset)
        log.end = log.written_to = log.synced_to = physical_offset
    if physical_offset != log.end or log.written_to != log.end:
        raise StoreError(f"bytes for {physical_offset} came; the log goes on at {log.end}")
    view = memoryview(data)
    while view:
        if log.end == segments.capacity_end:
            segments.add()
        room = segments.start_of(log.end) + segments.segment_bytes - log.end
        segments.write(log.end, bytes(view[:room]))
        log.end += len(view[:room])
        view = view[room:]
    log.written_to = log.end
