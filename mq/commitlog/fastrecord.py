"""Records one behind the other, decoded in half the time · depth

What always holds: `decode_all` gives what `decode_record` gives at each position, its plain twin, and raises
what it raises; a property test holds them equal. A record that is not of the usual kind (an IPv6 host, a
length that does not fit, a wrong checksum) is given to the twin, which knows what to say about it.

Real: nothing (RocketMQ decodes each message of a pull on its own)
"""

import struct
from zlib import crc32

from mq.commitlog.hosts import decode_host
from mq.commitlog.messageext import MessageExt
from mq.commitlog.record import BORN_HOST_V6, MESSAGE_MAGIC, MIN_RECORD_BYTES, STORE_HOST_V6, decode_record

_HEAD = struct.Struct(">iIIiiqqiq8sq8siqi")  # of a record with two IPv4 hosts, as far as its body
_HEAD_BYTES = _HEAD.size
_V6_BITS = BORN_HOST_V6 | STORE_HOST_V6


def decode_all(data: bytes) -> list[MessageExt]:
    """As the body of a pull's answer holds them. Raises RecordError."""
    found: list[MessageExt] = []
    add, unpack, position, end = found.append, _HEAD.unpack_from, 0, len(data)
    while position < end:
        if end - position >= MIN_RECORD_BYTES:
            message = MessageExt()
            (
                size, magic, message.body_crc, message.queue_id, message.flag, message.queue_offset,
                message.physical_offset, sys_flag, message.born_timestamp_ms, born_host,
                message.store_timestamp_ms, store_host, message.reconsume_times,
                message.prepared_transaction_offset, body_length,
            ) = unpack(data, position)  # fmt: skip
            body_at, record_end = position + _HEAD_BYTES, position + size
            topic_at = body_at + body_length + 1
            if magic == MESSAGE_MAGIC and not sys_flag & _V6_BITS and body_at < topic_at < record_end <= end:
                properties_at = topic_at + data[topic_at - 1] + 2
                body = data[body_at : topic_at - 1]
                if (
                    properties_at <= record_end
                    and properties_at + (data[properties_at - 2] << 8 | data[properties_at - 1]) == record_end
                    and crc32(body) & 0x7FFFFFFF == message.body_crc
                ):
                    try:
                        message.topic = data[topic_at : properties_at - 2].decode()
                        message.properties_text = data[properties_at:record_end].decode()
                        message.size, message.sys_flag, message.body = size, sys_flag, body
                        message.born_host = decode_host(born_host)
                        message.store_host = decode_host(store_host)
                        add(message)
                        position = record_end
                        continue
                    except UnicodeDecodeError:
                        pass  # the twin says it
        message = decode_record(data, position)
        add(message)
        position += message.size
    return found
