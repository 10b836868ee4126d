"""Network: machines by address, links between them, ports that listen · core

What always holds: a link is a queue. It has one latency, drawn from the seed, so that what is sent first
arrives first. Everything that moves between machines goes through `Link.carry`: a partition or a delay
belongs there and nowhere else. A port nobody listens on refuses; a machine without power is silent, and a
connect to it ends after three seconds.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from mq.runtime.journal import Journal
from mq.runtime.node import P
from mq.sim.life import WORLD, Life, stream
from mq.sim.loop import VirtualLoop
from mq.sim.transport import Endpoint, SimTransport

CONNECT_TIMEOUT_S = 3.0
# Linux's numbers on every system: they stand in remarks, and a journal must not depend on where it is made.
LINUX_EADDRINUSE, LINUX_ETIMEDOUT, LINUX_ECONNREFUSED = 98, 110, 111
LOOPBACK_LATENCY_S = 0.00002
MIN_LATENCY_S, MAX_LATENCY_S = 0.0001, 0.0005
FIRST_FREE_PORT, FIRST_CLIENT_PORT = 40_000, 50_000
SELF_NAMES = ("127.0.0.1", "localhost")


class Host:
    """A machine as the network knows it: an address, and whether it has power."""

    def __init__(self, address: str, journal: Journal) -> None:
        self.address = address
        self.journal = journal
        self.powered = True
        self.next_client_port = FIRST_CLIENT_PORT


class Link:
    """The way from one machine to another."""

    def __init__(
        self, network: "Network", source: Host | None, target: Host | None, latency_s: float
    ) -> None:
        self.latency_s = latency_s
        self._network = network
        self._source = source
        self._target = target

    def carry(self, end: SimTransport | None, callback: Callable[..., object], *args: Any) -> None:
        """Call `callback` at the far side, `latency_s` from now, in the life of `end` (None: of the machine).

        A machine without power hears nothing. A later life of the machine knows nothing of the connection and
        answers with a reset. Faults of the network (delay, partition) hook in here.
        """
        if self._target is None or not self._target.powered or not self._source or not self._source.powered:
            return
        loop = self._network.loop
        if end is not None and not end.life.alive:
            loop.call_later(
                2 * self.latency_s, end.peer.arrive_reset, "unknown connection", context=end.peer.life.context
            )
            return
        context = WORLD.context if end is None else end.life.context
        loop.call_later(self.latency_s, callback, *args, context=context)


class SimListener:
    """A port of one life."""

    def __init__(
        self, network: "Network", life: Life, at: Endpoint, factory: Callable[[], asyncio.Protocol]
    ) -> None:
        self.port = at[1]
        self.life = life
        self.factory = factory
        self._network = network
        self._at = at

    def close(self) -> None:
        if self._network.listeners.get(self._at) is self:
            del self._network.listeners[self._at]


class Network:
    """All that connects the machines of one simulation. `cut_chance` is how often a read ends early."""

    def __init__(self, loop: VirtualLoop, seed: int, failed: Callable[[Life, str, Exception], None]) -> None:
        self.loop = loop
        self.seed = seed
        self.failed = failed
        self.cut_chance = 0.1
        self.hosts: dict[str, Host] = {}
        self.listeners: dict[Endpoint, SimListener] = {}
        self.ends: dict[Life, dict[SimTransport, None]] = {}
        self._links: dict[tuple[str, str], Link] = {}

    def link(self, source: str, target: str) -> Link:
        """The link between two addresses; the same one every time."""
        found = self._links.get((source, target))
        if found is None:
            draw = stream(self.seed, f"latency {source} {target}").random()
            latency_s = (
                LOOPBACK_LATENCY_S
                if source == target
                else MIN_LATENCY_S + draw * (MAX_LATENCY_S - MIN_LATENCY_S)
            )
            found = Link(self, self.hosts.get(source), self.hosts.get(target), latency_s)
            if target in self.hosts:
                self._links[source, target] = found
        return found

    def draw_read_bytes(self, cuts: Random, available: int) -> int:
        """How much of what is there the next read returns."""
        if available > 1 and cuts.random() < self.cut_chance:
            return 1 + int(cuts.random() * (available - 1))
        return available

    # -- ports and connections -------------------------------------------------------------------------

    def listen(
        self, life: Life, address: str, port: int, factory: Callable[[], asyncio.Protocol]
    ) -> SimListener:
        """Take a port. Raises OSError (EADDRINUSE) when a living node has it."""
        life.check()
        port = port or next(p for p in range(FIRST_FREE_PORT, 65536) if not self._taken((address, p)))
        if self._taken((address, port)):
            raise OSError(LINUX_EADDRINUSE, f"address {address}:{port} is in use")
        listener = SimListener(self, life, (address, port), factory)
        self.listeners[address, port] = listener
        return listener

    def _taken(self, at: Endpoint) -> bool:
        listener = self.listeners.get(at)
        return listener is not None and listener.life.alive

    async def connect(self, life: Life, address: str, target: str, factory: Callable[[], P]) -> P:
        """Connect `address` to `target` = host:port. Raises ConnectionRefusedError, TimeoutError."""
        life.check()
        host, _, port = target.rpartition(":")
        host = address if host.strip("[]") in SELF_NAMES else host.strip("[]")
        caller = self.hosts[address]
        here, there = (address, caller.next_client_port), (host, int(port))
        caller.next_client_port += 1
        future: asyncio.Future[P] = self.loop.create_future()
        timer = self.loop.call_later(CONNECT_TIMEOUT_S, self._time_out, future, there, context=WORLD.context)
        self.link(address, host).carry(None, self._knock, life, here, there, factory, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _time_out(self, future: "asyncio.Future[Any]", there: Endpoint) -> None:
        if not future.done():
            future.set_exception(TimeoutError(LINUX_ETIMEDOUT, f"no answer from {there[0]}:{there[1]}"))

    def _refuse(self, future: "asyncio.Future[Any]", there: Endpoint) -> None:
        if not future.done():
            refused = f"nobody listens at {there[0]}:{there[1]}"
            future.set_exception(ConnectionRefusedError(LINUX_ECONNREFUSED, refused))

    def _knock(
        self,
        life: Life,
        here: Endpoint,
        there: Endpoint,
        factory: Callable[[], P],
        future: "asyncio.Future[P]",
    ) -> None:
        listener = self.listeners.get(there)
        if listener is None or not listener.life.alive:
            self.link(there[0], here[0]).carry(None, self._refuse, future, there)
            return
        name = f"{here[0]}:{here[1]} {there[0]}:{there[1]}"
        client = SimTransport(self, life, here, there, stream(self.seed, f"cuts to {name}"))
        server = SimTransport(self, listener.life, there, here, stream(self.seed, f"cuts from {name}"))
        client.peer, server.peer = server, client
        established = partial(self._established, client, factory, future)
        self.loop.call_soon(self._accept, listener, server, established, context=listener.life.context)

    def _accept(self, listener: SimListener, server: SimTransport, established: Callable[[], None]) -> None:
        self.hosts[server.here[0]].journal.record("accept", peer=_text(server.there), port=server.here[1])
        self.link(server.here[0], server.there[0]).carry(server.peer, established)
        server.begin(listener.factory())

    def _established(
        self, client: SimTransport, factory: Callable[[], P], future: "asyncio.Future[P]"
    ) -> None:
        if future.done():
            client.abort()
            return
        self.hosts[client.here[0]].journal.record("connect", peer=_text(client.there), port=client.here[1])
        protocol = factory()
        client.begin(protocol)
        future.set_result(protocol)

    # -- faults ----------------------------------------------------------------------------------------

    def process_died(self, life: Life) -> None:
        """Close its ports, send what its kernel had, and reset its connections."""
        self._close_ports(life)
        for end in self.ends.pop(life, {}):
            end.process_died()

    def power_lost(self, life: Life) -> "list[SimTransport]":
        """Say nothing to anybody. Returns its ends, for when the machine is back."""
        self._close_ports(life)
        for end in (ends := self.ends.pop(life, {})):
            end.flush()  # what was written has left
        return list(ends)

    def _close_ports(self, life: Life) -> None:
        self.listeners = {at: found for at, found in self.listeners.items() if found.life is not life}

    def reset_connections(self, one: str, other: str) -> None:
        """Fault: something between two addresses resets every connection that they have with each other."""
        for end in [end for ends in self.ends.values() for end in ends]:
            if {end.here[0], end.there[0]} == {one, other}:
                self.loop.call_soon(end.arrive_reset, "the network", context=end.life.context)

    def note_chunk(self, end: SimTransport, length: int) -> None:
        """Journal: bytes have reached a machine."""
        self.hosts[end.here[0]].journal.record("chunk", peer=_text(end.there), port=end.here[1], bytes=length)

    def note_reset(self, end: SimTransport, cause: str) -> None:
        """Journal: an end has learned that its connection is gone."""
        self.hosts[end.here[0]].journal.record("reset", cause, peer=_text(end.there), port=end.here[1])


def _text(endpoint: Endpoint) -> str:
    return f"{endpoint[0]}:{endpoint[1]}"
