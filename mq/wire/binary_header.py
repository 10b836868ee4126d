"""The ROCKETMQ header: codec 1, half as long as JSON and without names for its own fields · depth

What always holds: 21 fixed bytes, then the remark and the extension fields, each behind its length. A length
of 0 means "none", so an empty remark and an empty map come back as None; an empty *value* stays an empty
text. What we read must end where the header ends.

    code 2 | language 1 | version 2 | opaque 4 | flag 4 | remark length 4, remark
    length of all pairs 4, then for each: name length 2, name, value length 4, value

What the real system does: it cuts a code above 32,767 to its lower 16 bits, so POP's codes of 200,050 and up
cannot be sent this way. We refuse to write what would not be read again. It reads bytes that are no UTF-8
with replacement characters, where we close the connection.

Real: org.apache.rocketmq.remoting.protocol.RocketMQSerializable (equivalent)
"""

import struct
from collections.abc import Iterator

from mq.wire.command import RemotingCommand
from mq.wire.errors import FrameError

LANGUAGES = (
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS",
    "RUST", "NODE_JS",
)  # fmt: skip
"""Their place is their number on the wire. Another name travels as OTHER, another number is read as OTHER."""

OTHER = LANGUAGES.index("OTHER")

_FIXED = struct.Struct(">hBhii")
_INT = struct.Struct(">i")
_SHORT = struct.Struct(">h")


class BinaryHeader:
    """Fixed numbers first, then texts behind their lengths."""

    def encode(self, command: RemotingCommand) -> bytes:
        """Raises ValueError when code or version needs more than 16 bits, a name more than 32,767 bytes."""
        language = LANGUAGES.index(command.language) if command.language in LANGUAGES else OTHER
        try:
            fixed = _FIXED.pack(command.code, language, command.version, command.opaque, command.flag)
            pairs = b"".join(_pairs(command.ext_fields or {}))
        except struct.error as error:
            raise ValueError(f"request {command.code} does not fit a binary header: {error}") from None
        remark = _bytes(command.remark or "")
        return b"".join((fixed, _INT.pack(len(remark)), remark, _INT.pack(len(pairs)), pairs))

    def decode(self, header: bytes) -> RemotingCommand:
        """Raises FrameError when the lengths do not add up, or a text is no UTF-8."""
        try:
            code, language, version, opaque, flag = _FIXED.unpack_from(header)
            remark, position = _text(header, _FIXED.size, _INT)
            (pairs_length,) = _INT.unpack_from(header, position)
            position += _INT.size
            if pairs_length != len(header) - position:
                raise FrameError(f"{pairs_length} bytes of pairs are told, {len(header) - position} follow")
            ext_fields = dict(_read_pairs(header, position)) or None
        except (struct.error, UnicodeDecodeError) as error:
            raise FrameError(f"header is no binary header: {error}") from None
        name = LANGUAGES[language if language < len(LANGUAGES) else OTHER]
        return RemotingCommand(code, ext_fields, b"", opaque, flag, remark or None, name, version)


def _pairs(ext_fields: dict[str, str]) -> Iterator[bytes]:
    for name, value in ext_fields.items():
        for text, length in ((_bytes(name), _SHORT), (_bytes(value), _INT)):
            yield length.pack(len(text))
            yield text


def _read_pairs(header: bytes, position: int) -> Iterator[tuple[str, str]]:
    while position < len(header):
        name, position = _text(header, position, _SHORT)
        value, position = _text(header, position, _INT)
        yield name, value


def _text(header: bytes, position: int, length_of: struct.Struct) -> tuple[str, int]:
    """The text behind its length, and where the next thing begins."""
    (length,) = length_of.unpack_from(header, position)
    start = position + length_of.size
    if not 0 <= length <= len(header) - start:
        raise FrameError(f"a text of {length} bytes at {start} in a header of {len(header)}")
    return header[start : start + length].decode(), start + length


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
