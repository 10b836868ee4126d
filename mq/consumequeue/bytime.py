"""Lookup by time: the entry whose message was stored nearest to an instant · depth

What always holds: store times ascend along a queue (while the clock does not jump), so the answer is found
by halves: about 20 looks into the log for a million messages. An entry has no time; the record has.

What the real system does: first it chooses a file by the time of its last write, then it searches that file.
A queue that was made again from the log has only young files, and then it searches the wrong one. Here the
whole queue is searched, which costs a few steps more and needs no file times.

Real: org.apache.rocketmq.store.ConsumeQueue.getOffsetInQueueByTime (different: file times are not trusted)
"""

from bisect import bisect_left

from mq.consumequeue.logview import Log
from mq.consumequeue.queue import ConsumeQueue


def store_time_ms(queue: ConsumeQueue, log: Log, queue_offset: int) -> int:
    """When a message of the queue was stored, ms since 1970; -1 when it is gone."""
    entry = queue.entry_at(queue_offset)
    return log.store_time_at(entry.physical_offset, entry.size) if entry is not None else -1


def offset_by_time(queue: ConsumeQueue, log: Log, timestamp_ms: int) -> int:
    """The queue offset of a message stored at `timestamp_ms`, else of the nearest in time.

    Two that are equally near: the earlier. 0 for a queue without messages.
    """
    low, high = queue.min_queue_offset, queue.max_queue_offset
    if low == high:
        return 0

    def time(queue_offset: int) -> int:
        return store_time_ms(queue, log, queue_offset)

    right = low + bisect_left(range(low, high), timestamp_ms, key=time)  # the first not earlier
    if right == high:
        return high - 1
    if right == low or time(right) == timestamp_ms:
        return right
    return right if time(right) - timestamp_ms < timestamp_ms - time(right - 1) else right - 1
