"""Link: the way of packets from one machine to another, and what becomes of those that are lost · core

What always holds:
* A link is a queue: what is sent first arrives first, also when its delay changes or is drawn anew.
* A cut link loses packets and tells nobody. TCP sends what was lost again after 200 ms, then twice as long
  each time, so after a heal data flows again at the next such moment, if nobody has given up meanwhile.
* The sender gives up after 15 times (924.6 s), or after 8 (102.2 s) when nobody holds the connection any
  more. A reset is sent once: one that is lost leaves the peer with a connection that leads nowhere.

Two machines have two links, so one way can be cut while the other carries.

Real: tcp_retransmit_timer of Linux (simplified: the first wait is always 200 ms)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mq.runtime.journal import Journal
from mq.sim.life import WORLD, stream

if TYPE_CHECKING:
    from mq.sim.network import Network
    from mq.sim.transport import SimTransport

FIRST_RETRY_S, LONGEST_RETRY_S = 0.2, 120.0  # Linux's TCP_RTO_MIN and TCP_RTO_MAX
RETRIES, ORPHAN_RETRIES = 15, 8  # Linux's tcp_retries2, and what it does for a closed socket
FIRST_SYN_RETRY_S = 1.0

Packet = tuple[Callable[..., object], tuple[Any, ...]]


class Host:
    """A machine as the network knows it: an address, and whether it has power."""

    def __init__(self, address: str, journal: Journal, first_client_port: int) -> None:
        self.address = address
        self.journal = journal
        self.powered = True
        self.next_client_port = first_client_port


class Link:
    """The way from one machine to another. Set `is_cut`, or `delay_s` and `jitter_s`, to spoil it."""

    def __init__(
        self, network: "Network", source: Host | None, target: Host | None, latency_s: float
    ) -> None:
        self.latency_s = latency_s
        self.is_cut = False
        self.delay_s = 0.0  # beyond the latency
        self.jitter_s = 0.0  # at most so much more, drawn for each moment
        self.network = network
        self.source = source
        self.target = target
        self._last_arrival_s = 0.0
        self._lost: dict[SimTransport, Retransmission] = {}

    def carry(self, end: "SimTransport | None", callback: Callable[..., object], *args: Any) -> None:
        """Call `callback` at the far side in the life of `end` (None: of the machine), once it has arrived.

        A machine without power hears nothing. A later life of the machine knows nothing of the connection and
        answers with a reset.
        """
        if self.target is None or not self.target.powered or not self.source or not self.source.powered:
            return
        if end is not None and end in self._lost:
            self._lost[end].packets.append((callback, args))
            self._note_lost(args, "it waits behind a lost one")
        elif self.is_cut:
            self._lose(end, (callback, args))
        else:
            self._deliver(end, callback, args)

    def carry_once(self, end: "SimTransport", callback: Callable[..., object], *args: Any) -> None:
        """As `carry`, for a packet that nobody sends again when it is lost: a reset."""
        if not self.is_cut or end in self._lost:
            self.carry(end, callback, *args)

    def forget_sender(self, host: Host) -> None:
        """The machine that sends here has lost its power, and with it what it would have sent again."""
        if self.source is host:
            self._lost.clear()

    def _deliver(self, end: "SimTransport | None", callback: Callable[..., object], args: Any) -> None:
        loop = self.network.loop
        if end is not None and not end.life.alive:
            if not self.network.link(*reversed(self._addresses())).is_cut:
                what, context = "unknown connection", end.peer.life.context
                loop.call_later(2 * self.latency_s, end.peer.arrive_reset, what, context=context)
            return
        context = WORLD.context if end is None else end.life.context
        loop.call_at(self._arrival_s(), callback, *args, context=context)

    def _arrival_s(self) -> float:
        now_s = self.network.loop.time()
        arrival_s = now_s + self.latency_s
        if self.delay_s or self.jitter_s:
            purpose = f"jitter {self._addresses()} {now_s:.9f}"  # per moment and link, not per packet
            draw = stream(self.network.seed, purpose).random() if self.jitter_s else 0.0
            arrival_s += self.delay_s + draw * self.jitter_s
        self._last_arrival_s = max(arrival_s, self._last_arrival_s)
        return self._last_arrival_s

    def _addresses(self) -> tuple[str, str]:
        assert self.source is not None and self.target is not None
        return self.source.address, self.target.address

    def _lose(self, end: "SimTransport | None", packet: Packet) -> None:
        self._note_lost(packet[1], "the link is cut")
        retransmission = Retransmission(self, end, packet)
        if end is not None:
            self._lost[end] = retransmission

    def _note_lost(self, args: tuple[Any, ...], cause: str) -> None:
        """A traced packet is named by the number with which it left, and will arrive."""
        assert self.source is not None and self.target is not None
        number = {"number": args[1]} if len(args) == 2 and args[1] else {}
        self.source.journal.record("packet lost", cause, peer=self.target.address, **number)

    def done_with(self, end: "SimTransport | None") -> None:
        """Nothing of this connection waits to be sent again."""
        if end is not None:
            self._lost.pop(end, None)

    def is_waiting(self, end: "SimTransport | None", retransmission: "Retransmission") -> bool:
        """Whether it still counts; a loss of power ends it."""
        return end is None or self._lost.get(end) is retransmission


class Retransmission:
    """Packets of one connection that a link has lost: they are sent again, later and later, in order.

    `end` is who should receive them; None: a packet that belongs to no connection yet.
    """

    def __init__(self, link: Link, end: "SimTransport | None", first: Packet) -> None:
        self.link = link
        self.end = end
        self.packets = [first]
        self.tries = 0
        self._wait_s = FIRST_RETRY_S if end is not None else FIRST_SYN_RETRY_S
        self._plan()

    def _plan(self) -> None:
        self.link.network.loop.call_later(self._wait_s, self._again, context=WORLD.context)
        self._wait_s = min(2 * self._wait_s, LONGEST_RETRY_S)

    def _again(self) -> None:
        link, end = self.link, self.end
        if not link.is_waiting(end, self):
            return
        self.tries += 1
        assert link.target is not None
        if not link.is_cut and link.target.powered:
            link.done_with(end)
            for callback, args in self.packets:
                link.carry(end, callback, *args)
        elif self.tries > (ORPHAN_RETRIES if end is None or end.peer.is_orphan else RETRIES):
            link.done_with(end)
            if end is not None and not end.peer.is_orphan:
                end.peer.give_up()
        else:
            self._plan()
