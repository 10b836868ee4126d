"""Network: machines by address, links between them, ports that listen · core

What always holds: everything that moves between machines goes through `Link.carry`, so a partition or a
delay is felt there and nowhere else. Each link has one latency, drawn from the seed. A port nobody listens on
refuses; a machine without power is silent, and a connect to it ends after three seconds.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from mq.runtime.node import P
from mq.sim.life import WORLD, Life, stream
from mq.sim.link import Host, Link
from mq.sim.loop import VirtualLoop
from mq.sim.transport import Endpoint, SimTransport

CONNECT_TIMEOUT_S = 3.0
# Linux's numbers on every system: they stand in remarks, and a journal must not depend on where it is made.
LINUX_EADDRINUSE, LINUX_ETIMEDOUT, LINUX_ECONNREFUSED = 98, 110, 111
LOOPBACK_LATENCY_S = 0.00002
MIN_LATENCY_S, MAX_LATENCY_S = 0.0001, 0.0005
FIRST_FREE_PORT, FIRST_CLIENT_PORT = 40_000, 50_000
SELF_NAMES = ("127.0.0.1", "localhost")


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
        self.is_traced = False  # whether the journal also says what leaves, for diagrams
        self._sent_number = 0
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

    def power_gone(self, host: Host) -> None:
        """A machine without power sends nothing again."""
        for link in self._links.values():
            link.forget_sender(host)

    def links(self, source: str, target: str) -> list[Link]:
        """The links from `source` to `target`; "*" stands for every other machine."""
        sources = list(self.hosts) if source == "*" else [source]
        targets = list(self.hosts) if target == "*" else [target]
        return [self.link(one, other) for one in sources for other in targets if one != other]

    def _close_ports(self, life: Life) -> None:
        self.listeners = {at: found for at, found in self.listeners.items() if found.life is not life}

    def reset_connections(self, one: str, other: str) -> None:
        """Fault: something between two addresses resets every connection that they have with each other."""
        for end in [end for ends in self.ends.values() for end in ends]:
            if {end.here[0], end.there[0]} == {one, other}:
                self.loop.call_soon(end.arrive_reset, "the network", context=end.life.context)

    def note_sent(self, end: SimTransport, data: bytes) -> int:
        """Journal, when traced: bytes leave. The number that the arrival will have too; 0: not traced."""
        if not self.is_traced:
            return 0
        self._sent_number += 1
        what = " ".join(end.names.feed(data, end.peer.names))
        self.hosts[end.here[0]].journal.record(
            "sent",
            peer=_text(end.there),
            port=end.here[1],
            bytes=len(data),
            number=self._sent_number,
            what=what,
        )
        return self._sent_number

    def note_chunk(self, end: SimTransport, length: int, number: int = 0) -> None:
        """Journal: bytes have reached a machine."""
        record, peer, port = self.hosts[end.here[0]].journal.record, _text(end.there), end.here[1]
        if number:
            record("chunk", peer=peer, port=port, bytes=length, number=number)
        else:
            record("chunk", peer=peer, port=port, bytes=length)

    def note_reset(self, end: SimTransport, cause: str) -> None:
        """Journal: an end has learned that its connection is gone."""
        self.hosts[end.here[0]].journal.record("reset", cause, peer=_text(end.there), port=end.here[1])


def _text(endpoint: Endpoint) -> str:
    return f"{endpoint[0]}:{endpoint[1]}"
