"""A command as a frame, and back · core

What always holds: a frame is `length | codec and header length | header | body`, all integers big-endian.
`length` counts what follows it. The byte above the header length names the header's codec, frame by frame,
and a reply uses the codec of its request.

Real: org.apache.rocketmq.remoting.protocol.RemotingCommand.encode (equivalent)
"""

import struct

from mq.wire.binary_header import BinaryHeader
from mq.wire.command import HeaderCodec, RemotingCommand
from mq.wire.errors import FrameError
from mq.wire.json_header import JsonHeader

JSON, BINARY = 0, 1
CODECS: dict[int, HeaderCodec] = {
    JSON: JsonHeader(),
    BINARY: BinaryHeader(),
}

HEADER_MAX_LENGTH = 256 << 10  # ours: 32,767 bytes of properties, each as \uXXXX, and room to spare

_FRAME_HEAD = struct.Struct(">iI")
_HEADER_WORD = struct.Struct(">I")


def encode_frame(command: RemotingCommand) -> bytes:
    """The command as one frame, length and all."""
    header = CODECS[command.serialize_type].encode(command)
    length = 4 + len(header) + len(command.body)
    return _FRAME_HEAD.pack(length, command.serialize_type << 24 | len(header)) + header + command.body


def decode_frame(payload: bytes) -> RemotingCommand:
    """The command in what follows a frame's length. Raises FrameError: the peer speaks another language."""
    if len(payload) < 4:
        raise FrameError(f"frame of {len(payload)} bytes: too short for a header length")
    (word,) = _HEADER_WORD.unpack_from(payload)
    serialize_type, body_start = word >> 24, 4 + (word & 0xFFFFFF)
    header_length = body_start - 4
    if body_start > len(payload):
        raise FrameError(f"header of {header_length} bytes in a frame of {len(payload)}")
    if header_length > HEADER_MAX_LENGTH:
        raise FrameError(f"header of {header_length} bytes; at most {HEADER_MAX_LENGTH} are read")
    codec = CODECS.get(serialize_type)
    if codec is None:
        raise FrameError(f"unknown header codec {serialize_type}")
    command = codec.decode(payload[4:body_start])
    command.serialize_type = serialize_type
    command.body = payload[body_start:]
    return command
