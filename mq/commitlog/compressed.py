"""A body that its sender packs and its reader unpacks · depth

What always holds: the log, the broker and `mq inspect` have the bytes as they were sent; only a consumer
unpacks them. A body that cannot be unpacked, because it is damaged, too large or packed by what the standard
library has not (LZ4, Zstandard), stays as it is, and the message's sys flag still says that it is packed.

What the real system does: Java clients unpack all three, and drop a message that they cannot unpack.

Real: org.apache.rocketmq.common.message.MessageDecoder (simplified)
"""

import zlib

from mq.commitlog.messageext import MessageExt

COMPRESSED = 0x1  # bits of the sys flag
COMPRESSION_TYPE = 0x700
ZLIB_TYPES = (0x000, 0x300)  # older clients name no type, and mean zlib
PACKED_WITH_ZLIB = COMPRESSED | 0x300  # what a producer of 4.9.8 sets
MAX_UNPACKED_BYTES = 64 << 20  # ours: a few KiB can claim to be gigabytes


def pack_body(body: bytes, level: int) -> bytes:
    """The body as it travels under `PACKED_WITH_ZLIB`. It may be longer than it was: 4.9.8 sends that too."""
    return zlib.compress(body, level)


def unpack_bodies(messages: list[MessageExt]) -> list[MessageExt]:
    """The same messages, with the bodies that their producers were given."""
    for message in messages:
        if message.sys_flag & COMPRESSED and message.sys_flag & COMPRESSION_TYPE in ZLIB_TYPES:
            message.body = _unpacked(message.body)
    return messages


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(body, MAX_UNPACKED_BYTES)
    except zlib.error:
        return body
    return plain if unpacker.eof else body
