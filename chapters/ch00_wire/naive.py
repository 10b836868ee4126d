"""Two obvious ideas: a read is a message; and then, a newline ends a message.

The first is the toy's (`python -m chapters.toy --break 0`). The second repairs it: what a read leaves over
waits for the next one, and January's events come through whole, for none has a newline in it. It works until
the display wants to know that a message is undamaged, and JFK puts four bytes of checksum before each. They
may be any bytes.
"""

from collections.abc import Iterable, Iterator
from zlib import crc32

from chapters.story import january

PACKET_BYTES = 1460


def pieces(stream: bytes, size: int = PACKET_BYTES) -> Iterator[bytes]:
    """A stream as TCP may hand it over: in pieces that know nothing of messages."""
    return (stream[at : at + size] for at in range(0, len(stream), size))


class ReadDisplay:
    """Takes every read for a message."""

    def read(self, piece: bytes) -> list[bytes]:
        return [piece]


class LineDisplay:
    """Takes every line for a message, and keeps what is not yet a whole one."""

    rest = b""

    def read(self, piece: bytes) -> list[bytes]:
        *lines, self.rest = (self.rest + piece).split(b"\n")
        return lines


def shown(display: ReadDisplay | LineDisplay, stream: bytes) -> list[bytes]:
    """The messages that a display makes of a stream."""
    return [message for piece in pieces(stream) for message in display.read(piece)]


def bodies() -> list[bytes]:
    """JFK's events of January."""
    return [event.body for event in january() if event.origin == "JFK"]


def as_lines(messages: Iterable[bytes]) -> bytes:
    """Each with a newline behind it."""
    return b"".join(message + b"\n" for message in messages)


def checked(body: bytes) -> bytes:
    """A body behind its checksum, as the toy's log has it."""
    return crc32(body).to_bytes(4, "big") + body
