"""The record: one message as it lies in the CommitLog · core

What always holds: a record says its own size first and its own position in the log, so that a reader can
tell a record from whatever else the bytes might be. Its checksum covers the body alone: a changed topic,
queue id, property or time is not noticed by this format.

    0 size 4 | magic 4 | body CRC 4 | queue id 4 | flag 4 | queue offset 8 | physical offset 8 | sys flag 4
    40 born time 8 | born host 8 | store time 8 | store host 8 | reconsume times 4 | prepared offset 8
    84 body length 4, body | topic length 1, topic | properties length 2, properties

An IPv6 host takes 20 bytes in place of 8, and a bit of the sys flag says so.

Real: org.apache.rocketmq.common.message.MessageDecoder (equivalent)
"""

from __future__ import annotations

import struct
import zlib

from mq.commitlog.hosts import decode_host
from mq.commitlog.messageext import MessageExt as MessageExt
from mq.runtime.errors import StoreError

MESSAGE_MAGIC = 0xDAA320A7
BLANK_MAGIC = 0xCBD43194  # the rest of this segment is empty: go on in the next one
BLANK_BYTES = 8  # what a BLANK mark takes, and what every segment keeps free for it

BORN_HOST_V6, STORE_HOST_V6 = 0x10, 0x20  # bits of the sys flag
TRANSACTION_MASK = 0xC  # 0 none, 4 prepared, 8 commit, 12 rollback
TRANSACTION_PREPARED = 0x4

MAX_BODY_BYTES = 4 << 20  # RocketMQ's default; a frame of 16 MiB is what can be configured at most
MAX_TOPIC_BYTES = 127  # its length is one signed byte in Java
MAX_PROPERTIES_BYTES = 32_767  # its length is a signed int16
MAX_OVERHEAD_BYTES = 115 + MAX_TOPIC_BYTES + BLANK_BYTES  # of one record, beside body and properties
MAX_RECORD_BYTES = (16 << 20) + MAX_PROPERTIES_BYTES + MAX_OVERHEAD_BYTES


def _fixed_part(sys_flag: int) -> struct.Struct:
    born = 20 if sys_flag & BORN_HOST_V6 else 8
    store = 20 if sys_flag & STORE_HOST_V6 else 8
    return struct.Struct(f">iIIiiqqiq{born}sq{store}siqi")


_FIXED = {bits: _fixed_part(bits) for bits in (0, BORN_HOST_V6, STORE_HOST_V6, BORN_HOST_V6 | STORE_HOST_V6)}
_V6_BITS = BORN_HOST_V6 | STORE_HOST_V6
SYS_FLAG_AT = 36
MIN_RECORD_BYTES = _FIXED[0].size + 1 + 2


def is_counted(sys_flag: int) -> bool:
    """Whether a message takes a place in its queue: prepared (4) and rolled back (12) ones do not."""
    return not sys_flag & 0x4


class RecordError(StoreError):
    """Bytes that are no record: the sentence says which check they fail."""


def body_crc(body: bytes) -> int:
    """CRC-32 without its sign bit, because Java's integers have one."""
    return zlib.crc32(body) & 0x7FFFFFFF


def with_host_bits(sys_flag: int, born_host: bytes, store_host: bytes) -> int:
    """The sys flag as it is stored: its two bits about hosts are what the hosts are, whatever was sent."""
    sys_flag &= ~_V6_BITS
    if len(born_host) == 20:
        sys_flag |= BORN_HOST_V6
    return sys_flag | STORE_HOST_V6 if len(store_host) == 20 else sys_flag


def encode_record(
    topic: bytes,
    body: bytes,
    properties: bytes,
    queue_id: int,
    queue_offset: int,
    physical_offset: int,
    flag: int,
    sys_flag: int,
    born_timestamp_ms: int,
    born_host: bytes,
    store_timestamp_ms: int,
    store_host: bytes,
    reconsume_times: int = 0,
    prepared_transaction_offset: int = 0,
) -> bytes:
    """The record's bytes. Lengths must have been checked; hosts are packed as `encode_host` does."""
    sys_flag = with_host_bits(sys_flag, born_host, store_host)
    fixed = _FIXED[sys_flag & _V6_BITS]
    size = fixed.size + len(body) + 1 + len(topic) + 2 + len(properties)
    head = fixed.pack(
        size, MESSAGE_MAGIC, zlib.crc32(body) & 0x7FFFFFFF, queue_id, flag, queue_offset, physical_offset,
        sys_flag, born_timestamp_ms, born_host, store_timestamp_ms, store_host, reconsume_times,
        prepared_transaction_offset, len(body),
    )  # fmt: skip
    return b"".join(
        (head, body, len(topic).to_bytes(1, "big"), topic, len(properties).to_bytes(2, "big"), properties)
    )


def encoded_size(topic: bytes, body: bytes, properties: bytes, born_host: bytes, store_host: bytes) -> int:
    """What `encode_record` will need."""
    return 75 + len(born_host) + len(store_host) + len(body) + len(topic) + len(properties)


def decode_record(data: bytes, position: int = 0, check_crc: bool = True) -> MessageExt:
    """The record at `position`. Raises RecordError when a length, the magic or the checksum does not fit."""
    if len(data) - position < MIN_RECORD_BYTES:
        raise RecordError(f"{len(data) - position} bytes are too few for a record")
    sys_flag = int.from_bytes(data[position + SYS_FLAG_AT : position + SYS_FLAG_AT + 4], "big")
    fixed = _FIXED[sys_flag & _V6_BITS]
    if len(data) - position < fixed.size:
        raise RecordError(f"{len(data) - position} bytes are too few for a record with IPv6 hosts")
    found = MessageExt()
    (
        found.size, magic, found.body_crc, found.queue_id, found.flag, found.queue_offset,
        found.physical_offset, found.sys_flag, found.born_timestamp_ms, born_host,
        found.store_timestamp_ms, store_host, found.reconsume_times, found.prepared_transaction_offset,
        body_length,
    ) = fixed.unpack_from(data, position)  # fmt: skip
    if magic != MESSAGE_MAGIC:
        raise RecordError(f"magic {magic:#010x} is not a record's")
    body_at = position + fixed.size
    end = position + found.size
    topic_at = body_at + body_length + 1
    if body_length < 0 or not MIN_RECORD_BYTES <= found.size <= len(data) - position or topic_at > end:
        raise RecordError(f"size {found.size} and body length {body_length} do not fit together")
    properties_at = topic_at + data[topic_at - 1] + 2
    properties_end = properties_at + int.from_bytes(data[properties_at - 2 : properties_at], "big")
    if properties_end != end:
        raise RecordError(f"its parts end at {properties_end - position}, its size says {found.size}")
    found.body = data[body_at : topic_at - 1]
    if check_crc and body_crc(found.body) != found.body_crc:
        raise RecordError(
            f"body checksum {body_crc(found.body):#010x}, the record says {found.body_crc:#010x}"
        )
    found.born_host, found.store_host = decode_host(born_host), decode_host(store_host)
    try:
        found.topic = data[topic_at : properties_at - 2].decode()
        found.properties_text = data[properties_at:end].decode()
    except UnicodeDecodeError as error:
        raise RecordError(f"topic or properties are not UTF-8: {error}") from None
    return found


def decode_records(data: bytes) -> list[MessageExt]:
    """Records one behind the other, as the body of a pull's answer holds them. Raises RecordError."""
    found, position = [], 0
    while position < len(data):
        message = decode_record(data, position)
        found.append(message)
        position += message.size
    return found
