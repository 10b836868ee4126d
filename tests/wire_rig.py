"""What the tests of the wire share: captured frames, a transport that only notes, a peer of raw bytes.

Captured frames lie in `data/frames`, one file a source and one frame a line; the first line says where they
come from. Some captures were cut after 250 or 350 bytes. Their header is kept whole beside the hex, and the
body as far as it was known, so that most of them can be put together again.
"""

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mq.runtime.journal import Event
from mq.sim.simulation import Simulation
from mq.wire.codec import decode_frame, encode_frame
from mq.wire.command import RemotingCommand
from mq.wire.rpc import Connection, Processors

FRAMES = Path(__file__).parent / "data" / "frames"
REAL = "real-4.9.8"


@dataclass(frozen=True)
class Capture:
    """One frame as it was seen: `seen` is all of it, or its beginning when `whole` is false."""

    source: str
    line: int
    direction: str  # C>S or S>C
    what: str
    header: bytes
    body: bytes
    body_length: int
    seen: bytes
    whole: bool

    @property
    def body_is_known(self) -> bool:
        """Whether the body was kept to its end."""
        return len(self.body) == self.body_length

    @property
    def frame(self) -> bytes:
        """The frame's bytes, put together from header and body when the hex was cut."""
        length = 4 + len(self.header) + self.body_length
        return length.to_bytes(4, "big") + len(self.header).to_bytes(4, "big") + self.header + self.body

    @property
    def fields(self) -> dict[str, Any]:
        """The header as JSON has it, numbers and booleans included."""
        fields: dict[str, Any] = json.loads(self.header)
        return fields

    def __str__(self) -> str:
        return f"{self.source}:{self.line} {self.direction} {self.what}"


@cache
def captures() -> tuple[Capture, ...]:
    """Every captured frame, in the order of the files."""
    return tuple(capture for path in sorted(FRAMES.glob("*.jsonl")) for capture in _read(path))


def _read(path: Path) -> list[Capture]:
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        fields = json.loads(line)
        if "note" in fields:
            continue
        seen, header = bytes.fromhex(fields["hex"]), fields["header"].encode()
        body = seen[8 + len(header) :] if fields["whole"] else bytes.fromhex(fields["body_hex"])
        named = {name: fields[name] for name in ("direction", "what", "body_length", "whole")}
        found.append(Capture(path.stem, number, header=header, body=body, seen=seen, **named))
    return found


def frames_in(stream: bytes) -> list[RemotingCommand]:
    """The commands in a stream of whole frames."""
    commands, start = [], 0
    while start < len(stream):
        end = start + 4 + int.from_bytes(stream[start : start + 4], "big")
        commands.append(decode_frame(stream[start + 4 : end]))
        start = end
    return commands


def framed(header: bytes, body: bytes = b"") -> bytes:
    """A frame around bytes that claim to be a JSON header."""
    length = 4 + len(header) + len(body)
    return length.to_bytes(4, "big") + len(header).to_bytes(4, "big") + header + body


def request(
    code: int, opaque: int = 1, ext: dict[str, str] | None = None, body: bytes = b"", flag: int = 0
) -> bytes:
    """A request's frame."""
    return encode_frame(RemotingCommand(code, ext, body, opaque, flag))


class NotingTransport(asyncio.Transport):
    """Takes what is written, sends nothing. `log` holds writes and calls in their order."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 50_000), "sockname": ("192.0.2.2", 9876)})
        self.log: list[bytes | str] = []
        self.closing = False

    @property
    def written(self) -> bytes:
        """All bytes so far."""
        return b"".join(entry for entry in self.log if isinstance(entry, bytes))

    def write(self, data: Any) -> None:
        self.log.append(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closing = True
        self.log.append("close")

    def is_closing(self) -> bool:
        return self.closing


def connection_by_hand(sim: Simulation, processors: Processors) -> tuple[Connection, NotingTransport]:
    """A connection whose reads the test makes itself, with `data_received`."""
    connection, transport = Connection(sim.node("server"), processors), NotingTransport()
    connection.connection_made(transport)
    return connection, transport


class RawPeer(asyncio.Protocol):
    """A peer that knows nothing of frames until it is asked what it got."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.is_open = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False

    @property
    def replies(self) -> list[RemotingCommand]:
        """What came so far, as commands."""
        return frames_in(b"".join(self._chunks))


def complaints(sim: Simulation, kind: str = "connection closed") -> list[Event]:
    """The journal's events of one kind."""
    return [event for event in sim.events if event.kind == kind]


def reasons(sim: Simulation) -> list[str]:
    """Why connections were closed, in order."""
    return [str(dict(event.fields)["reason"]) for event in complaints(sim)]
