"""Node: the one thing that is handed to every floor · core

What always holds: a floor reaches disk, clocks, network, tasks and randomness through its `Node` and
nothing else. `monotonic_ms` is for durations, leases and expiry; `wall_ms` is for stamps in records.

Where it lives: `runtime/real.py` has the real one (asyncio's loop, sockets, files), `mq/sim` the simulated
one (virtual time, faults drawn from a seed).
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Protocol, TypeVar

from mq.runtime.disk import Disk
from mq.runtime.journal import Journal

T = TypeVar("T")
P = TypeVar("P", bound=asyncio.Protocol)


class Timer(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Do not make it. Harmless when it has been made."""


class Listener(Protocol):
    """A port that accepts connections."""

    port: int

    def close(self) -> None:
        """Accept no more. Connections that stand are not touched."""


class Node(ABC):
    """One machine as a floor sees it. `address` is the host that peers reach it by, without a port."""

    name: str
    address: str
    random: Random
    journal: Journal
    disk: Disk

    @abstractmethod
    def wall_ms(self) -> int:
        """Milliseconds since 1970. May jump."""

    @abstractmethod
    def monotonic_ms(self) -> float:
        """Milliseconds since some moment. Never jumps."""

    @abstractmethod
    def call_later(self, delay_ms: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` once, `delay_ms` from now."""

    @abstractmethod
    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop's next round."""

    @abstractmethod
    def future(self) -> "asyncio.Future[Any]":
        """A future of this node's loop."""

    @abstractmethod
    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """Run it beside everything else. An exception that nobody awaits is a complaint in the journal."""

    @abstractmethod
    async def sleep_ms(self, delay_ms: float) -> None:
        """Let `delay_ms` pass."""

    @abstractmethod
    async def listen(self, port: int, factory: Callable[[], asyncio.Protocol]) -> Listener:
        """Accept connections; each gets a protocol from `factory`. Port 0 takes a free one."""

    @abstractmethod
    async def connect(self, address: str, factory: Callable[[], P]) -> P:
        """Connect to `host:port` and return its protocol. Raises OSError."""
