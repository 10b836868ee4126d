"""get_message: which messages a pull gets, and from where it goes on · core

What always holds:
* Every answer says where to go on (`next_begin_offset`), also one without messages.
* A pull reads one queue. It touches the log only for records that it returns (or that a filter must see).
* Entries that are filtered out are counted as read: a consumer never gets stuck in front of them.
* The first message is always returned, whatever its size; the limits apply to the others.

Real: org.apache.rocketmq.store.DefaultMessageStore.getMessage (equivalent)
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from mq.commitlog.record import MAX_RECORD_BYTES
from mq.consumequeue.filter import MessageFilter
from mq.consumequeue.logview import Log
from mq.consumequeue.queue import ENTRY, ENTRY_BYTES, ConsumeQueue
from mq.wire.codes import ResponseCode

SCAN_BYTES = 16_000  # entries that one pull reads at least, if the queue has them


class GetMessageStatus(Enum):
    """What a pull met. The names travel as the reply's remark."""

    FOUND = auto()
    NO_MATCHED_MESSAGE = auto()
    MESSAGE_WAS_REMOVING = auto()
    OFFSET_FOUND_NULL = auto()
    OFFSET_OVERFLOW_BADLY = auto()
    OFFSET_OVERFLOW_ONE = auto()
    OFFSET_TOO_SMALL = auto()
    NO_MATCHED_LOGIC_QUEUE = auto()
    NO_MESSAGE_IN_QUEUE = auto()


Status = GetMessageStatus

CODES = {
    Status.FOUND: ResponseCode.SUCCESS,
    Status.NO_MATCHED_MESSAGE: ResponseCode.PULL_RETRY_IMMEDIATELY,
    Status.MESSAGE_WAS_REMOVING: ResponseCode.PULL_RETRY_IMMEDIATELY,
    Status.OFFSET_FOUND_NULL: ResponseCode.PULL_NOT_FOUND,
    Status.OFFSET_OVERFLOW_ONE: ResponseCode.PULL_NOT_FOUND,
    Status.OFFSET_OVERFLOW_BADLY: ResponseCode.PULL_OFFSET_MOVED,
    Status.OFFSET_TOO_SMALL: ResponseCode.PULL_OFFSET_MOVED,
    Status.NO_MATCHED_LOGIC_QUEUE: ResponseCode.PULL_NOT_FOUND,
    Status.NO_MESSAGE_IN_QUEUE: ResponseCode.PULL_NOT_FOUND,
}


def response_code(status: GetMessageStatus, queue_offset: int) -> ResponseCode:
    """The code on the wire: a consumer that is somewhere in a queue without messages must move."""
    if status in (Status.NO_MATCHED_LOGIC_QUEUE, Status.NO_MESSAGE_IN_QUEUE) and queue_offset != 0:
        return ResponseCode.PULL_OFFSET_MOVED
    return CODES[status]


@dataclass(frozen=True)
class Limits:
    """How much one pull returns. `memory_bytes`: a record further behind the log's end counts as on disk."""

    memory_bytes: int
    bytes_in_memory: int = 262_144
    messages_in_memory: int = 32
    bytes_on_disk: int = 65_536
    messages_on_disk: int = 8


@dataclass(slots=True)
class GetMessageResult:
    """What a pull found: records as they lie in the log, and where the consumer goes on."""

    status: GetMessageStatus
    next_begin_offset: int
    min_offset: int = 0
    max_offset: int = 0
    records: list[bytes] = field(default_factory=list)
    is_far_behind: bool = False  # what was read is no longer in memory: a slave might serve it as well


def get_message(
    queue: ConsumeQueue | None,
    log: Log,
    queue_offset: int,
    max_messages: int,
    wanted: MessageFilter,
    limits: Limits,
) -> GetMessageResult:
    """Up to `max_messages` messages of the queue from `queue_offset` on."""
    if queue is None:
        return GetMessageResult(Status.NO_MATCHED_LOGIC_QUEUE, 0)
    low, high = queue.min_queue_offset, queue.max_queue_offset
    if high == 0:
        return GetMessageResult(Status.NO_MESSAGE_IN_QUEUE, 0, low, high)
    if queue_offset < low:
        return GetMessageResult(Status.OFFSET_TOO_SMALL, low, low, high)
    if queue_offset == high:
        return GetMessageResult(Status.OFFSET_OVERFLOW_ONE, queue_offset, low, high)
    if queue_offset > high:
        return GetMessageResult(Status.OFFSET_OVERFLOW_BADLY, high, low, high)
    entries = queue.read(queue_offset, max(SCAN_BYTES // ENTRY_BYTES, max_messages))
    if not entries:
        return GetMessageResult(Status.OFFSET_FOUND_NULL, queue.next_file(queue_offset), low, high)
    result = GetMessageResult(Status.NO_MATCHED_MESSAGE, queue_offset, low, high)
    _collect(result, entries, log, max_messages, wanted, limits)
    return result


def _collect(
    result: GetMessageResult,
    entries: bytes,
    log: Log,
    max_messages: int,
    wanted: MessageFilter,
    limits: Limits,
) -> None:
    total_bytes, log_end = 0, log.max_physical_offset
    for physical_offset, size, tags_code in ENTRY.iter_unpack(entries):
        result.is_far_behind = log_end - physical_offset > limits.memory_bytes
        if result.records and _is_full(result, total_bytes + size, max_messages, limits):
            return
        result.next_begin_offset += 1
        status = Status.NO_MATCHED_MESSAGE
        if wanted.matches_entry(tags_code):
            record = log.read(physical_offset, size) if size <= MAX_RECORD_BYTES else b""
            if len(record) < size:
                status = Status.MESSAGE_WAS_REMOVING
            elif wanted.matches_record(record):
                status = Status.FOUND
                result.records.append(record)
                total_bytes += size
        if not result.records or status is Status.FOUND:
            result.status = status


def _is_full(result: GetMessageResult, total_bytes: int, max_messages: int, limits: Limits) -> bool:
    """Whether one more record, with which it would have `total_bytes`, is too much."""
    count = len(result.records)
    if result.is_far_behind:
        most_bytes, most_messages = limits.bytes_on_disk, limits.messages_on_disk
    else:
        most_bytes, most_messages = limits.bytes_in_memory, limits.messages_in_memory
    return count >= max_messages or total_bytes > most_bytes or count >= most_messages
