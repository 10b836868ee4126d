"""Whoever connects to a master's HA port: slow, silent, greedy, one too many, and whom a send waits for."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chapters.ch04_replication.pair import MASTER, Pair, end_of
from chapters.ch04_replication.test_pair import play
from mq.commitlog.hosts import encode_host
from mq.commitlog.put import InnerMessage, PutStatus
from mq.commitlog.store import MessageStore
from mq.replication import haservice
from mq.replication.haconnection import HAConnection
from mq.replication.haservice import PUSHES_A_TURN, HAService, SlaveEnd
from mq.replication.protocol import PushReader, encode_push, encode_report

ONE_SEGMENT = "2097152"  # bytes


class Peer(asyncio.Protocol):
    """Connects to a master's HA port, says one thing, and takes what comes."""

    def __init__(self, says: bytes = b"", takes: bool = True) -> None:
        self.says = says
        self.takes = takes
        self.body_bytes = 0
        self.is_closed = False
        self._pushes = PushReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.says)
        if not self.takes:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self.body_bytes += sum(len(body) for _, body in self._pushes.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True


async def connected(pair: Pair, peer: Peer, name: str = "peer") -> Peer:
    """The peer, with a connection to the master."""
    node = pair.sim.node(name)
    return await pair.sim.on(node, node.connect(pair.master.part(HAService).address, lambda: peer))


class Wire(asyncio.Transport):
    """A transport without a network: it takes everything at once, and never tells anybody to pause."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.9", 50_000)})
        self.written: list[bytes] = []
        self.is_aborted = self.closes = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closes

    def abort(self) -> None:
        self.is_aborted = True


@contextmanager
def counted(kind: type, method: str) -> Iterator[list[int]]:
    """How often a method is called meanwhile, in a list of one."""
    original, count = getattr(kind, method), [0]

    def counting(self: object, *given: object) -> object:
        count[0] += 1
        return original(self, *given)

    setattr(kind, method, counting)
    try:
        yield count
    finally:
        setattr(kind, method, original)


def test_a_peer_that_takes_slowly_is_sent_more_as_soon_as_it_takes_and_not_when_somebody_looks() -> None:
    """It reports once and never again: only its reading says that there is room."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.tell(300, 3_000)
        peer = await connected(pair, Peer(encode_report(0)))
        await pair.until(lambda: peer.body_bytes == end_of(pair.master), 1)

    play(story, "ASYNC_MASTER", mappedFileSizeCommitLog=ONE_SEGMENT)


def test_a_peer_that_takes_nothing_is_not_polled_and_goes_on_where_it_stood() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.tell(300, 3_000)
        peer = await connected(pair, Peer(encode_report(0), takes=False))
        with counted(HAConnection, "check") as checks:
            for _ in range(15):
                await asyncio.sleep(4)
                peer.transport.write(encode_report(0))
        assert checks[0] < 10, f"in a minute the master looked {checks[0]} times at one that takes nothing"
        assert not peer.is_closed and peer.body_bytes == 0
        peer.transport.resume_reading()
        await pair.until(lambda: peer.body_bytes == end_of(pair.master), 1)

    play(story, "ASYNC_MASTER", mappedFileSizeCommitLog=ONE_SEGMENT)


def test_a_peer_that_reports_once_hears_a_heartbeat_each_five_seconds_until_it_is_given_up() -> None:
    """Not only when it speaks itself: its own patience is 20 s, too."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        wire, end = Wire(), SlaveEnd(pair.master.part(HAService))
        end.connection_made(wire)
        end.data_received(encode_report(0))
        for heartbeats in (1, 2, 3):
            await asyncio.sleep(5.01)
            assert wire.written == [encode_push(0)] * heartbeats
        await asyncio.sleep(5)
        assert wire.is_aborted

    play(story)


def test_who_takes_something_again_is_sent_heartbeats_again() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        wire, end = Wire(), SlaveEnd(pair.master.part(HAService))
        end.connection_made(wire)
        end.data_received(encode_report(0))
        end.pause_writing()
        await asyncio.sleep(6)
        assert wire.written == []
        end.resume_writing()
        assert len(wire.written) == 1, "it has heard nothing for six seconds"
        await asyncio.sleep(5.01)
        assert len(wire.written) == 2
        end.close()

    play(story)


def test_a_peer_that_takes_everything_at_once_gets_a_mebibyte_and_then_others_have_their_turn() -> None:
    """A fast reader's kernel takes whatever it is given: nothing else would ever end the master's turn."""

    async def story(pair: Pair) -> None:
        pair.settings["haTransferBatchSize"] = "4096"
        await pair.start(MASTER)
        await pair.tell(300, 3_000)
        wire, end = Wire(), SlaveEnd(pair.master.part(HAService))
        end.connection_made(wire)
        end.data_received(encode_report(0))
        assert len(wire.written) == PUSHES_A_TURN, "so many pushes without a turn for anybody else"
        end.data_received(encode_report(0))
        end.data_received(encode_report(0))
        assert len(wire.written) == 3 * PUSHES_A_TURN
        turns = 0
        for _ in range(200):
            before = len(wire.written)
            await asyncio.sleep(0)
            assert len(wire.written) - before <= PUSHES_A_TURN, "each turn of the loop goes on once"
            turns += len(wire.written) > before
        assert sum(map(len, wire.written)) > end_of(pair.master), (
            f"it stopped after {len(wire.written)} pushes"
        )
        assert turns > 3
        end.close()

    play(story, "ASYNC_MASTER", mappedFileSizeCommitLog=ONE_SEGMENT)


def test_nothing_is_read_for_a_connection_that_closes_already() -> None:
    """Its transport takes everything, and it goes nowhere."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.tell(3)
        wire, end = Wire(), SlaveEnd(pair.master.part(HAService))
        end.connection_made(wire)
        wire.closes = True
        end.data_received(encode_report(0))
        assert wire.written == []
        end.close()

    play(story, "ASYNC_MASTER")


def test_a_peer_that_never_says_a_whole_number_is_closed_after_twenty_seconds() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        peer = await connected(pair, Peer(b"\0"))
        for _ in range(6):
            await asyncio.sleep(3)
            peer.transport.write(b"\0")
        assert not peer.is_closed
        await asyncio.sleep(3)
        assert peer.is_closed, "seven bytes are no report, however they trickle"

    play(story)


def test_one_connection_too_many_is_closed_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(haservice, "MAX_CONNECTIONS", 3)

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        peers = [await connected(pair, Peer()) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert [peer.is_closed for peer in peers] == [False] * 3 + [True] * 2
        assert len(pair.master.part(HAService).slaves) == 3
        assert pair.events("slave refused") == [f"{MASTER} slave refused: 3 connections stand"] * 2
        peers[0].transport.close()
        await asyncio.sleep(0.01)
        last = await connected(pair, Peer())
        await asyncio.sleep(0.01)
        assert not last.is_closed, "whoever leaves makes room"

    play(story)


def test_a_connection_that_arrives_while_the_broker_stops_is_not_served() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        service = pair.master.part(HAService)
        await pair.stop(MASTER)
        again = await pair.sim.on(MASTER, pair.sim.node(MASTER).listen(10_912, asyncio.Protocol))
        assert again.port == 10_912, "its port is free again"
        wire, late = Wire(), SlaveEnd(service)
        late.connection_made(wire)
        assert wire.is_aborted and not service.slaves
        late.data_received(encode_report(0))
        assert wire.written == []

    play(story)


# ---------------------------------------------------------------- whom a send waits for


def joined(pair: Pair) -> SlaveEnd:
    """A slave that has all there is, and says what it is told to say."""
    end = SlaveEnd(pair.master.part(HAService))
    end.connection_made(Wire())
    end.data_received(encode_report(0))
    end.data_received(encode_report(end_of(pair.master)))
    return end


def test_a_report_answers_the_sends_that_it_covers_and_no_later_one() -> None:
    """I4.2, for writes that wait at the same time."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.statuses(b"so that the route is known")
        slave, sendings, ends = joined(pair), list[asyncio.Task[list[str]]](), list[int]()
        for number in range(3):
            sendings.append(pair.sim.start(pair.statuses(b"%d" % number), "send"))
            await asyncio.sleep(0.1)
            ends.append(end_of(pair.master))
        for number, end in enumerate(ends):
            slave.data_received(encode_report(end - 1))
            await asyncio.sleep(0.1)
            assert not sendings[number].done(), f"send {number} ends at {end}; {end - 1} was reported"
            slave.data_received(encode_report(end))
            await asyncio.sleep(0.1)
            assert [sending.done() for sending in sendings] == [each <= number for each in range(3)]
        assert [sending.result() for sending in sendings] == [["SEND_OK"]] * 3
        slave.close()

    play(story)


def test_each_of_two_sends_waits_three_seconds_of_its_own() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.statuses(b"so that the route is known")
        slave = joined(pair)
        first = pair.sim.start(pair.statuses(b"first"), "send")
        await asyncio.sleep(1)
        second = pair.sim.start(pair.statuses(b"second"), "send")
        await asyncio.sleep(2.1)
        assert first.done() and not second.done()
        await asyncio.sleep(1)
        assert first.result() == second.result() == ["FLUSH_SLAVE_TIMEOUT"]
        slave.close()

    play(story)


def test_what_a_slave_reports_that_comes_back_in_time_counts() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.statuses(b"so that the route is known")
        slave = joined(pair)
        sending = pair.sim.start(pair.statuses(b"one"), "send")
        await asyncio.sleep(1)
        slave.close()
        await asyncio.sleep(1)
        assert not sending.done(), "the slave may come back"
        slave = joined(pair)
        await asyncio.sleep(0.1)
        assert sending.result() == ["SEND_OK"]
        slave.close()

    play(story)


def test_a_put_of_the_broker_itself_that_waits_is_answered_when_replication_stops() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        joined(pair)
        store, service, host = (
            pair.master.part(MessageStore),
            pair.master.part(HAService),
            encode_host("10.0.0.1:1"),
        )
        putting = pair.sim.start(
            pair.sim.on(MASTER, store.put_and_wait(InnerMessage("flights", 0, b"x", {}, "", 0, host, host))),
            "put",
        )
        await asyncio.sleep(0.1)
        assert not putting.done()
        await pair.sim.on(MASTER, service.stop())
        await asyncio.sleep(0.01)
        assert putting.done(), "who waits for a slave waits for ever when nobody counts his seconds any more"
        assert putting.result().status is PutStatus.FLUSH_SLAVE_TIMEOUT

    play(story)
