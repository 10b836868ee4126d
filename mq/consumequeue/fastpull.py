"""A pull from the end of a queue, which is where nearly all consumers are · depth

What always holds: `fast_get_message` returns what `get_message` returns, its plain twin; a property test
holds them equal. It serves a consumer that is inside its queue and whose messages still count as in memory;
all others are given to the twin, and so is a log that is not the store itself: somebody looks at what is read
from it.

Where the time goes, and what is done about it: the records of one queue lie in the log apart by what came for
other queues in between. When two are near each other, the log is asked for a piece that may hold the next
ones too: one system call in place of thirty. Records far apart are read one by one. And what cannot change
while one pull is answered is looked up once.

Real: nothing (RocketMQ reads mapped memory)
"""

from mq.commitlog.record import MAX_RECORD_BYTES
from mq.commitlog.store import MessageStore
from mq.consumequeue.filter import MessageFilter
from mq.consumequeue.getmessage import SCAN_BYTES, GetMessageResult, GetMessageStatus, Limits, get_message
from mq.consumequeue.logview import Log
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, ConsumeQueue

NEAR_BYTES = 16 << 10  # two records are near when so much lies between them at most
PIECE_BYTES = 64 << 10

_FOUND, _NOTHING = GetMessageStatus.FOUND, GetMessageStatus.NO_MATCHED_MESSAGE
_REMOVING = GetMessageStatus.MESSAGE_WAS_REMOVING


def fast_get_message(
    queue: ConsumeQueue,
    log: Log,
    queue_offset: int,
    max_messages: int,
    wanted: MessageFilter,
    limits: Limits,
) -> GetMessageResult:
    """As `get_message`: up to `max_messages` messages of the queue from `queue_offset` on."""
    low, high, entries = queue.min_queue_offset, queue.max_queue_offset, b""
    if low <= queue_offset < high and type(log) is MessageStore:
        entries = queue.read(queue_offset, max(SCAN_BYTES // ENTRY_BYTES, max_messages))
    log_end = log.max_physical_offset
    memory_begin = log_end - limits.memory_bytes  # what lies here or behind counts as in memory
    if not entries or int.from_bytes(entries[:8], "big") < memory_begin:
        return get_message(queue, log, queue_offset, max_messages, wanted, limits)
    most_messages = min(max_messages, limits.messages_in_memory)
    most_bytes, matches, is_wanted = limits.bytes_in_memory, wanted.matches_entry, wanted.matches_record
    records: list[bytes] = []
    status, read, total_bytes = _NOTHING, 0, 0
    piece, piece_begin, piece_end, near_end = b"", 0, 0, -1
    for physical_offset, size, tags_code in ENTRY.iter_unpack(entries):
        if physical_offset < memory_begin or size < 0:  # no queue that is whole has such an entry
            return get_message(queue, log, queue_offset, max_messages, wanted, limits)
        if records and (len(records) >= most_messages or total_bytes + size > most_bytes):
            break
        read += 1
        if not matches(tags_code):
            if not records:
                status = _NOTHING
            continue
        end = physical_offset + size
        if not piece_begin <= physical_offset <= end <= piece_end:
            is_near = physical_offset <= near_end and size <= PIECE_BYTES
            length = PIECE_BYTES if is_near else size if size <= MAX_RECORD_BYTES else 0
            piece = log.read(physical_offset, length)
            piece_begin, piece_end = physical_offset, physical_offset + len(piece)
        near_end = end + NEAR_BYTES
        record = piece[physical_offset - piece_begin : end - piece_begin]
        if len(record) == size and is_wanted(record):
            status = _FOUND
            records.append(record)
            total_bytes += size
        elif not records:
            status = _REMOVING if len(record) < size else _NOTHING
    return GetMessageResult(status, queue_offset + read, low, high, records)
