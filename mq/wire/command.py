"""RemotingCommand: one request or one reply · core

What always holds: bit 0 of `flag` tells a reply from a request, bit 1 says that no reply is wanted. A reply
carries its request's `opaque`. The body is opaque bytes and never inside the header.

Real: org.apache.rocketmq.remoting.protocol.RemotingCommand (equivalent)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

RESPONSE_FLAG = 1  # bit 0: this is a reply
ONEWAY_FLAG = 2  # bit 1: no reply is wanted
VERSION = 409  # the ordinal of RocketMQ 4.9.8


@dataclass(slots=True)
class RemotingCommand:
    """A command in memory. `ext_fields` are the header's own fields, text to text, as they travel."""

    code: int
    ext_fields: dict[str, str] | None = None
    body: bytes = b""
    opaque: int = 0
    flag: int = 0
    remark: str | None = None
    language: str = "JAVA"
    version: int = VERSION
    serialize_type: int = 0

    @property
    def is_response(self) -> bool:
        """Whether this answers a request."""
        return bool(self.flag & RESPONSE_FLAG)

    @property
    def is_oneway(self) -> bool:
        """Whether the sender wants no reply."""
        return bool(self.flag & ONEWAY_FLAG)


class HeaderCodec(Protocol):
    """Turns the header of a command into bytes and back. Raises FrameError on bytes that are no header."""

    def encode(self, command: RemotingCommand) -> bytes:
        """The header's bytes."""

    def decode(self, header: bytes) -> RemotingCommand:
        """The command, without its body."""
