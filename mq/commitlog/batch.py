"""A batch on the wire: messages of one topic, one behind the other · depth

What always holds: an element is `size 4 | 0 | 0 | flag 4 | body length 4, body | properties length 2,
properties`. The elements fill the body exactly; anything else is refused whole.

Real: org.apache.rocketmq.common.message.MessageDecoder.encodeMessages, decodeMessages (equivalent)
"""

import struct
from collections.abc import Sequence

from mq.commitlog.message import Message, MessageIllegal, encode_properties

_HEAD = struct.Struct(">iiiii")  # size, magic, body CRC, flag, body length
ELEMENT_OVERHEAD_BYTES = _HEAD.size + 2


def encode_batch(messages: Sequence[Message]) -> bytes:
    """The body of a SEND_BATCH_MESSAGE. Raises MessageIllegal when a message does not fit its element."""
    return b"".join([_encode(message) for message in messages])


def _encode(message: Message) -> bytes:
    properties = encode_properties(message.properties).encode()
    size = ELEMENT_OVERHEAD_BYTES + len(message.body) + len(properties)
    try:
        head = _HEAD.pack(size, 0, 0, message.flag, len(message.body))
        return b"".join((head, message.body, len(properties).to_bytes(2, "big"), properties))
    except (struct.error, OverflowError):
        raise MessageIllegal(f"flag {message.flag} or properties of {len(properties)} bytes") from None


def decode_batch(body: bytes) -> list[tuple[int, bytes, str]]:
    """(flag, body, properties text) of each element. Raises MessageIllegal."""
    found: list[tuple[int, bytes, str]] = []
    position = 0
    try:
        while position < len(body):
            size, _, _, flag, body_length = _HEAD.unpack_from(body, position)
            body_at = position + _HEAD.size
            properties_at = body_at + body_length + 2
            end = position + size
            if (
                body_length < 0
                or not properties_at <= end <= len(body)
                or (properties_at + (body[properties_at - 2] << 8 | body[properties_at - 1]) != end)
            ):
                raise MessageIllegal(
                    f"batch element {len(found)}: its parts do not add up to its size {size}"
                )
            text = body[properties_at:end].decode()
            found.append((flag, body[body_at : properties_at - 2], text))
            position = end
    except (struct.error, UnicodeDecodeError) as error:
        raise MessageIllegal(f"batch element {len(found)}: {error}") from None
    return found
