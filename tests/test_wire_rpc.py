"""Requests and replies between simulated machines, in virtual time with RocketMQ's own timeouts."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.sim.node import SimNode
from mq.sim.simulation import Simulation
from mq.wire.client import CONNECT_TIMEOUT_MS, REQUEST_TIMEOUT_MS, RpcClient
from mq.wire.codec import encode_frame
from mq.wire.codes import ResponseCode
from mq.wire.command import ONEWAY_FLAG, RESPONSE_FLAG, RemotingCommand
from mq.wire.errors import RemoteError, RequestTimeout, Unreachable
from mq.wire.frame import BATCH_BYTES, BATCH_FRAMES
from mq.wire.rpc import MAX_PENDING_INVOKES, Connection, Processors, Request, expect_success
from mq.wire.server import IDLE_MS, RpcServer
from tests.wire_rig import RawPeer, complaints, connection_by_hand, frames_in, reasons, request

SERVER = "10.0.0.1:9876"
ECHO, LATER, NEVER, FAIL = 7, 8, 9, 6
"""Codes that the table does not know: these tests are about the wire alone."""


class World:
    """One server and one client on two machines."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.machine: SimNode = sim.node("server", "10.0.0.1")
        self.server = RpcServer(self.machine)
        self.client = RpcClient(sim.node("client"))
        self.held: list[Request] = []
        self.server.processors[ECHO] = lambda request: request.succeed(dict(request.ext_fields), request.body)
        self.server.processors[LATER] = self.held.append
        self.server.processors[NEVER] = lambda request: None

    async def ask(
        self, code: int, body: bytes = b"", timeout_ms: float = REQUEST_TIMEOUT_MS
    ) -> RemotingCommand:
        return await self.client.invoke(SERVER, RemotingCommand(code, body=body), timeout_ms)

    async def raw(self, name: str = "raw") -> RawPeer:
        return await self.sim.node(name).connect(SERVER, RawPeer)

    def now_ms(self) -> float:
        return self.sim.loop.time() * 1000


@pytest.fixture
def world() -> Iterator[World]:
    with Simulation(seed=1) as sim:
        made = World(sim)
        sim.run(made.server.start(9876))
        yield made


# One reply to each request.


def test_each_request_gets_one_reply_with_its_own_opaque(world: World) -> None:
    """Also negative numbers and ones that repeat: the asker chooses them."""

    async def main() -> RawPeer:
        peer = await world.raw()
        for opaque in (5, 7000, -1, 5, 2**31 - 1):
            peer.transport.write(request(ECHO, opaque, {"n": str(opaque)}))
        await asyncio.sleep(1)
        return peer

    replies = world.sim.run(main).replies
    assert [reply.opaque for reply in replies] == [5, 7000, -1, 5, 2**31 - 1]
    assert all(reply.ext_fields == {"n": str(reply.opaque)} for reply in replies)
    assert {reply.flag for reply in replies} == {RESPONSE_FLAG}


def test_replies_in_another_order_reach_those_who_asked(world: World) -> None:
    """Three requests wait at the server and are answered last first."""

    async def main() -> list[RemotingCommand]:
        async def answer() -> None:
            await asyncio.sleep(1)
            for held in reversed(world.held):
                held.succeed(body=b"to " + held.body)

        asked = [world.ask(LATER, body) for body in (b"a", b"b", b"c")]
        answering = asyncio.ensure_future(answer())
        replies = await asyncio.gather(*asked)
        await answering
        return replies

    assert [reply.body for reply in world.sim.run(main)] == [b"to a", b"to b", b"to c"]


def test_a_reply_may_come_much_later_while_the_connection_serves_others(world: World) -> None:
    """A held pull: 15 seconds, and in between an echo."""

    async def main() -> tuple[float, bytes]:
        waiting = asyncio.ensure_future(world.ask(LATER, b"x", timeout_ms=30_000))
        await asyncio.sleep(1)
        assert (await world.ask(ECHO, b"meanwhile")).body == b"meanwhile"
        world.machine.call_later(14_000, lambda: world.held[0].succeed(body=b"at last"))
        return world.now_ms(), (await waiting).body

    _, body = world.sim.run(main)
    assert body == b"at last" and 15_000 < world.now_ms() < 15_100


def test_a_second_reply_is_an_error_that_the_peer_never_sees(world: World) -> None:
    """A handler that answers twice: the journal says so, the peer gets the first answer alone."""

    def twice(request: Request) -> None:
        request.succeed(body=b"first")
        request.succeed(body=b"second")

    world.server.processors[FAIL] = twice

    async def main() -> RawPeer:
        peer = await world.raw()
        peer.transport.write(request(FAIL) + request(ECHO, 2))
        await asyncio.sleep(1)
        return peer

    replies = world.sim.run(main).replies
    assert [(reply.opaque, reply.body) for reply in replies] == [(1, b"first"), (2, b"")]
    [complaint] = complaints(world.sim, "handler failed")
    assert "second reply to 6" in complaint.text()


def test_a_ready_made_frame_is_one_reply_too(world: World) -> None:
    """The hot path keeps the same rules: once, and not for a one-way request."""
    processors = Processors()
    seen: list[Request] = []
    processors.table[ECHO] = seen.append
    connection, transport = connection_by_hand(world.sim, processors)
    connection.data_received(request(ECHO, 1) + request(ECHO, 2, flag=ONEWAY_FLAG))
    frame = encode_frame(RemotingCommand(0, opaque=1, flag=RESPONSE_FLAG))
    for each in seen:
        each.reply_frame(frame)
        with pytest.raises(AssertionError, match="second reply to 7"):
            each.reply_frame(frame)
        with pytest.raises(AssertionError, match="second reply to 7"):
            each.succeed()
    connection.close()
    assert transport.written == frame


@pytest.mark.parametrize("code", [ECHO, FAIL, 4242])
def test_a_oneway_request_gets_no_reply_even_when_it_fails(world: World, code: int) -> None:
    """A success, an exception, an unknown code: nothing is written, and the connection goes on."""

    def fail(request: Request) -> None:
        raise MQError("no")

    world.server.processors[FAIL] = fail

    async def main() -> RawPeer:
        peer = await world.raw()
        peer.transport.write(request(code, 1, flag=ONEWAY_FLAG) + request(ECHO, 2))
        await asyncio.sleep(1)
        return peer

    assert [reply.opaque for reply in world.sim.run(main).replies] == [2]


def test_a_oneway_call_of_the_client_arrives_with_its_flag(world: World) -> None:
    """And its opaque does not collide with the next request's."""

    async def main() -> None:
        await world.client.invoke_oneway(SERVER, RemotingCommand(LATER, body=b"x"))
        assert (await world.ask(ECHO, b"y")).body == b"y"

    world.sim.run(main)
    assert [(held.command.is_oneway, held.body) for held in world.held] == [(True, b"x")]


# What a handler may do.


def test_an_unknown_code_is_answered_with_3_in_rocketmqs_words(world: World) -> None:
    """The space before `request` is theirs."""
    reply = world.sim.run(world.ask(4242))
    assert (reply.code, reply.remark) == (3, " request type 4242 not supported")
    with pytest.raises(RemoteError, match=r"REQUEST_CODE_NOT_SUPPORTED \(3\)") as raised:
        expect_success(reply)
    assert raised.value.code == 3


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "remark"),
    [
        (MQError("the topic[x] not exist", ResponseCode.TOPIC_NOT_EXIST), 17, "the topic[x] not exist"),
        (MQError("plain"), 1, "plain"),
        (KeyError("surprise"), 1, "KeyError, 'surprise'"),
        (ValueError("half a pair \ud800"), 1, "ValueError, half a pair ?"),
    ],
)
def test_a_handlers_exception_is_the_answer_and_the_connection_goes_on(
    world: World, error: Exception, code: int, remark: str, is_async: bool
) -> None:
    """An MQError is an answer that was meant; a surprise is also a complaint in the journal."""

    def fail(request: Request) -> None:
        raise error

    async def fail_later(request: Request) -> None:
        await asyncio.sleep(0.5)
        raise error

    world.server.processors[FAIL] = fail_later if is_async else fail

    async def main() -> RemotingCommand:
        reply = await world.ask(FAIL)
        assert (await world.ask(ECHO, b"on")).body == b"on"
        return reply

    reply = world.sim.run(main)
    assert (reply.code, reply.remark) == (code, remark)
    assert len(complaints(world.sim, "handler failed")) == (not isinstance(error, MQError))
    assert not reasons(world.sim)


def test_an_async_handler_answers_when_it_is_done_and_holds_nobody_up(world: World) -> None:
    """Two requests wait in handlers of their own."""

    async def slow(request: Request) -> None:
        await world.machine.sleep_ms(1000 if request.body == b"slow" else 10)
        request.succeed(body=request.body)

    world.server.processors[FAIL] = slow
    done: list[bytes] = []

    async def main() -> None:
        async def one(body: bytes) -> None:
            done.append((await world.ask(FAIL, body)).body)

        await asyncio.gather(one(b"slow"), one(b"quick"))

    world.sim.run(main)
    assert done == [b"quick", b"slow"]


def test_a_reply_that_cannot_be_written_becomes_an_answer_with_code_1(world: World) -> None:
    """A number where text belongs is a fault of ours, and its asker must not wait for ever."""

    def wrong(request: Request) -> None:
        request.succeed({"queueId": 5})  # type: ignore[dict-item]

    world.server.processors[FAIL] = wrong
    reply = world.sim.run(world.ask(FAIL))
    assert reply.code == 1 and "TypeError" in str(reply.remark)


def test_a_rejecter_answers_before_the_processor_of_its_code_and_of_no_other(world: World) -> None:
    """RocketMQ's rejectRequest: busy now, not busy later."""
    busy = [True]

    def reject(request: Request) -> RemotingCommand | None:
        return RemotingCommand(ResponseCode.SYSTEM_BUSY, remark="[REJECTREQUEST]") if busy[0] else None

    world.server.reject(LATER, reject)
    world.server.reject(LATER, lambda request: None)

    async def main() -> list[RemotingCommand]:
        refused, other = await world.ask(LATER), await world.ask(ECHO)
        busy[0] = False
        with pytest.raises(RequestTimeout):
            await world.ask(LATER)
        return [refused, other]

    refused, other = world.sim.run(main)
    assert (refused.code, refused.remark, other.code) == (2, "[REJECTREQUEST]", 0)
    assert len(world.held) == 1, "the processor saw the request that was not rejected, and only that"


def test_a_server_may_ask_its_client_over_the_same_connection(world: World) -> None:
    """Both ends count their own opaques from 1; the flag's bit 0 tells the two apart."""
    world.client.processors[NEVER] = lambda request: request.succeed(body=b"client has " + request.body)

    async def ask_back(request: Request) -> None:
        answer = await request.connection.invoke(RemotingCommand(NEVER, body=request.body), 1000)
        request.succeed(body=answer.body)

    world.server.processors[FAIL] = ask_back

    async def main() -> list[bytes]:
        replies = await asyncio.gather(world.ask(FAIL, b"1"), world.ask(FAIL, b"2"), world.ask(ECHO, b"3"))
        return [reply.body for reply in replies]

    assert world.sim.run(main) == [b"client has 1", b"client has 2", b"3"]


# When no answer comes.


def test_a_request_that_is_not_answered_in_time_fails_and_closes_its_connection(world: World) -> None:
    """After 3 seconds to the millisecond; the late answer meets nobody."""

    async def main() -> tuple[float, bool]:
        connection = await world.client.connect(SERVER)
        before = world.now_ms()
        with pytest.raises(RequestTimeout, match=r"10\.0\.0\.1:9876 did not answer 8 in time"):
            await world.ask(LATER)
        took_ms, is_open = world.now_ms() - before, connection.is_open
        await asyncio.sleep(1)
        world.held[0].succeed(body=b"too late")
        await asyncio.sleep(1)
        return took_ms, is_open

    took_ms, is_open = world.sim.run(main)
    assert abs(took_ms - 3000) < 1
    assert not is_open, "a late answer could still come in on this connection"
    assert reasons(world.sim) == ["10.0.0.1:9876 did not answer 8 in time"]
    assert not world.server.connections and not world.sim.failures


def test_the_next_request_after_a_timeout_has_a_connection_of_its_own(world: World) -> None:
    """At once, in the same tick in which the old one was given up."""

    async def main() -> bytes:
        with pytest.raises(RequestTimeout):
            await world.ask(NEVER)
        return (await world.ask(ECHO, b"again")).body

    assert world.sim.run(main) == b"again"


def test_requests_with_different_timeouts_fail_each_at_its_own_time(world: World) -> None:
    """One timer serves all of them, and a short wait is not held up by a long one asked before it."""
    failed_at: dict[float, float] = {}

    async def main() -> None:
        connection = await world.client.connect(SERVER)
        start = world.now_ms()

        async def one(timeout_ms: float) -> None:
            with pytest.raises(RequestTimeout):
                await connection.invoke(RemotingCommand(NEVER), timeout_ms)
            failed_at[timeout_ms] = world.now_ms() - start

        await asyncio.gather(*(one(timeout_ms) for timeout_ms in (5000, 100, 2000, 100.5)))
        assert connection.is_open, "the connection itself does not judge; the client closes it"

    world.sim.run(main)
    assert list(failed_at) == [100, 100.5, 2000, 5000]
    assert all(abs(at - timeout_ms) < 0.01 for timeout_ms, at in failed_at.items()), failed_at


def test_a_caller_who_gives_up_leaves_nothing_behind(world: World) -> None:
    """A cancelled call: its answer comes and is dropped, and the connection serves on."""

    async def main() -> bytes:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await world.ask(LATER)
        world.held[0].succeed()
        await asyncio.sleep(10)
        return (await world.ask(ECHO, b"fine")).body

    assert world.sim.run(main) == b"fine"
    assert not world.sim.failures and not reasons(world.sim)


def test_when_the_peer_closes_all_who_wait_are_told_at_once(world: World) -> None:
    """The process dies with two requests unanswered: Unreachable, long before the timeout."""

    async def main() -> float:
        start = world.now_ms()

        async def one() -> None:
            with pytest.raises(Unreachable, match="closed before it answered 8"):
                await world.ask(LATER)

        async def kill() -> None:
            await asyncio.sleep(1)
            world.sim.kill("server")

        await asyncio.gather(one(), one(), kill())
        return world.now_ms() - start

    assert 1000 < world.sim.run(main) < 1010
    assert not world.sim.failures


def test_a_peer_without_power_is_silent_until_the_timeout(world: World) -> None:
    """Nobody closes anything: then only the clock can tell."""

    async def main() -> None:
        await world.ask(ECHO)
        world.sim.kill("server", "power")
        with pytest.raises(RequestTimeout):
            await world.ask(ECHO)
        with pytest.raises(Unreachable, match=r"cannot connect to 10\.0\.0\.1:9876"):
            await world.ask(ECHO)

    world.sim.run(main)
    assert abs(world.now_ms() - REQUEST_TIMEOUT_MS - CONNECT_TIMEOUT_MS) < 5


def test_an_address_that_refuses_is_unreachable_and_nobody_complains(world: World) -> None:
    """For all who wait for the one attempt; trying again is a new attempt."""

    async def main() -> None:
        async def one() -> None:
            with pytest.raises(Unreachable, match=r"cannot connect to 10\.0\.0\.1:1: "):
                await world.client.invoke("10.0.0.1:1", RemotingCommand(ECHO))

        await asyncio.gather(one(), one())
        await one()

    world.sim.run(main)
    assert not world.sim.failures
    assert [event.kind for event in world.sim.events if "failed" in event.kind] == []


@pytest.mark.parametrize("address", ["", "nonsense", "10.0.0.1:", "10.0.0.1:x"])
def test_an_address_that_is_none_is_unreachable(world: World, address: str) -> None:
    """It came from a route or from a configuration, so it is data and not a fault in the code."""
    with pytest.raises(Unreachable, match="cannot connect to"):
        world.sim.run(world.client.invoke(address, RemotingCommand(ECHO)))


def test_a_port_that_no_socket_can_have_is_unreachable_in_the_real_world_too(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(Unreachable, match=r"cannot connect to 127\.0\.0\.1:99999"):
            await RpcClient(RealNode("client", str(tmp_path))).connect("127.0.0.1:99999")

    asyncio.run(main())


def test_calls_to_one_address_share_its_connection_also_while_it_is_made(world: World) -> None:
    """Ten calls at once, one connection; a second address would have its own."""

    async def main() -> int:
        await asyncio.gather(*(world.ask(ECHO) for _ in range(10)))
        return len(world.server.connections)

    assert world.sim.run(main) == 1


def test_a_client_that_stops_tells_those_who_wait_and_takes_no_more(world: World) -> None:
    """Those who wait for an answer and those who wait for a connection; nobody is cancelled."""

    async def main() -> None:
        async def one(address: str) -> None:
            with pytest.raises(Unreachable):
                await world.client.invoke(address, RemotingCommand(NEVER))

        world.sim.node("dark", "10.0.0.9")
        world.sim.kill("dark", "power")
        await world.client.connect(SERVER)
        waiting = asyncio.gather(one(SERVER), one("10.0.0.9:1"))
        await asyncio.sleep(0.1)
        world.client.stop()
        await waiting
        with pytest.raises(Unreachable, match="this client has stopped"):
            await world.ask(ECHO)

    world.sim.run(main)
    assert not world.server.connections and not world.sim.failures


def test_at_most_so_many_requests_wait_on_one_connection(world: World) -> None:
    """RocketMQ's semaphore: one more fails at once instead of growing without bound."""

    async def main() -> None:
        connection = await world.client.connect(SERVER)
        connection._pending = dict.fromkeys(range(-MAX_PENDING_INVOKES, 0), connection._pending)  # type: ignore
        with pytest.raises(Unreachable, match="65535 requests wait already"):
            await connection.invoke(RemotingCommand(ECHO), 1000)
        connection._pending.clear()

    world.sim.run(main)


# The server's bounds.


def test_one_connection_too_many_is_closed_with_a_reason_and_a_place_that_frees_is_taken(
    world: World,
) -> None:
    """Two places here, 10,000 by default."""
    world.server.max_connections = 2

    async def main() -> list[bool]:
        peers = [await world.raw(name) for name in ("a", "b", "c")]
        await asyncio.sleep(1)
        states = [peer.is_open for peer in peers]
        peers[0].transport.close()
        await asyncio.sleep(1)
        late = await world.raw("d")
        late.transport.write(request(ECHO))
        await asyncio.sleep(1)
        assert len(late.replies) == 1
        return states

    assert world.sim.run(main) == [True, True, False]
    assert reasons(world.sim) == ["more than 2 connections"]


def test_a_peer_that_is_silent_for_120_seconds_is_closed_and_one_that_speaks_is_not(world: World) -> None:
    """A client that sends a heartbeat every 30 seconds stays for ever."""

    async def main() -> list[tuple[bool, bool]]:
        silent, speaks, states = await world.raw("silent"), await world.raw("speaks"), []
        for second in range(600):
            if second % 30 == 0:
                speaks.transport.write(request(ECHO))
            await asyncio.sleep(1)
            if second in (118, 121, 599):
                states.append((silent.is_open, speaks.is_open))
        return states

    assert world.sim.run(main) == [(True, True), (False, True), (False, True)]
    [closed] = complaints(world.sim)
    assert "silent for 120 s" in closed.text()
    assert IDLE_MS <= closed.time_ms < IDLE_MS + 10


def test_a_silent_peer_that_does_not_read_is_closed_once_and_its_place_is_free(world: World) -> None:
    """Its replies can never be sent: waiting for that would hold the connection, and the timer, for ever."""

    async def main() -> None:
        peer = await world.raw()
        peer.transport.pause_reading()
        peer.transport.write(b"".join(request(ECHO, n, body=bytes(8192)) for n in range(64)))
        await asyncio.sleep(130)

    world.sim.run(main)
    assert reasons(world.sim) == ["silent for 120 s"]
    assert not world.server.connections, "unsent replies hold the place of a peer that will never read them"


def test_a_peer_that_does_not_read_its_replies_is_no_longer_read_from(world: World) -> None:
    """Else a few of them would fill the server's memory. When it reads again, everything is answered."""
    served: list[int] = []

    def big(request: Request) -> None:
        served.append(request.command.opaque)
        request.succeed(body=bytes(5_000))

    world.server.processors[FAIL] = big
    asked = 2_000

    async def main() -> tuple[int, int, RawPeer]:
        peer = await world.raw()
        peer.transport.pause_reading()
        for n in range(asked):
            peer.transport.write(request(FAIL, n, body=bytes(1_000)))
        await asyncio.sleep(10)
        first = len(served)
        await asyncio.sleep(10)
        second = len(served)
        assert (await world.ask(ECHO, b"served")).body == b"served", "another connection is not held up by it"
        return first, second, peer

    first, second, peer = world.sim.run(main)
    assert 0 < first == second < 300, (
        f"{second:,} of {asked:,} requests were served to a peer that reads nothing"
    )
    assert peer.is_open

    async def read() -> None:
        peer.transport.resume_reading()
        while len(served) < asked:
            await asyncio.sleep(0.1)

    world.sim.run(read, timeout_s=100)
    assert served == list(range(asked))


def test_a_stopped_server_sends_what_is_due_and_closes_every_connection(world: World) -> None:
    """An answer that was given before stays given."""

    async def main() -> RawPeer:
        peer = await world.raw()
        peer.transport.write(request(LATER, 5))
        await asyncio.sleep(1)
        world.held[0].succeed(body=b"due")
        world.server.stop()
        await asyncio.sleep(1)
        with pytest.raises(OSError):
            await world.raw()
        return peer

    peer = world.sim.run(main)
    assert [reply.body for reply in peer.replies] == [b"due"]
    assert not peer.is_open and not world.server.connections


def test_a_reply_to_a_connection_that_has_closed_is_dropped(world: World) -> None:
    """Whoever held the request need not know."""

    async def main() -> None:
        peer = await world.raw()
        peer.transport.write(request(LATER))
        await asyncio.sleep(1)
        peer.transport.close()
        await asyncio.sleep(1)
        world.held[0].succeed()
        assert world.held[0].is_answered
        await asyncio.sleep(1)

    world.sim.run(main)
    assert not world.sim.failures


def test_who_asked_to_be_told_learns_once_that_a_connection_has_closed(world: World) -> None:
    """How the broker learns of clients that are gone."""
    gone: list[Connection] = []

    async def main() -> None:
        await world.ask(ECHO)
        [connection] = world.server.connections.values()
        connection.on_closed.append(gone.append)
        world.client.stop()
        await asyncio.sleep(1)
        assert gone == [connection]

    world.sim.run(main)
    assert len(gone) == 1


# Batches.


def by_hand(world: World) -> tuple[Connection, list[bytes | str], Processors]:
    """A connection whose transport's writes and the `after_read` calls stand in one list."""
    processors = Processors()
    processors.table[ECHO] = world.server.processors[ECHO]
    connection, transport = connection_by_hand(world.sim, processors)
    processors.after_read.append(lambda: transport.log.append("after_read"))
    return connection, transport.log, processors


def test_after_read_runs_once_for_each_batch_and_before_its_replies_leave(world: World) -> None:
    """200 requests in one read: batches of 64, each with its hook and then one write."""
    connection, log, _ = by_hand(world)
    connection.data_received(b"".join(request(ECHO, n) for n in range(200)))
    assert [entry if isinstance(entry, str) else len(frames_in(entry)) for entry in log] == [
        *("after_read", BATCH_FRAMES) * 3,
        *("after_read", 200 - 3 * BATCH_FRAMES),
    ]
    replies = frames_in(b"".join(entry for entry in log if isinstance(entry, bytes)))
    assert [reply.opaque for reply in replies] == list(range(200))


def test_large_requests_end_a_batch_after_64_kib(world: World) -> None:
    """A read may bring four times as much: its first replies need not wait for all of it."""
    connection, log, _ = by_hand(world)
    connection.data_received(b"".join(request(ECHO, n, body=bytes(20_000)) for n in range(8)))
    assert [entry if isinstance(entry, str) else len(frames_in(entry)) for entry in log] == [
        *("after_read", BATCH_BYTES // 20_000 + 1) * 2,
        "after_read",
    ]


def test_a_read_that_ends_in_the_middle_of_a_frame_is_a_batch_too(world: World) -> None:
    """What is whole is answered at once."""
    connection, log, _ = by_hand(world)
    stream = request(ECHO, 1) + request(ECHO, 2)
    connection.data_received(stream[:-1])
    assert [entry if isinstance(entry, str) else frames_in(entry)[0].opaque for entry in log] == [
        "after_read",
        1,
    ]
    connection.data_received(stream[-1:])
    assert frames_in(log[-1])[0].opaque == 2  # type: ignore[arg-type]


def test_replies_before_garbage_in_the_same_read_still_leave_after_their_hook(world: World) -> None:
    """The peer that sent one good request and then nonsense has its answer."""
    connection, log, _ = by_hand(world)
    connection.data_received(request(ECHO, 1) + b"GET / HTTP/1.1\r\n")
    assert log[0] == "after_read" and frames_in(log[1])[0].opaque == 1 and log[-1] == "close"  # type: ignore[arg-type]


def test_replies_outside_a_read_leave_together_in_the_loops_next_round(world: World) -> None:
    """A hundred held requests woken at once cost one system call."""
    connection, log, processors = by_hand(world)
    processors.table[LATER] = world.held.append
    connection.data_received(b"".join(request(LATER, n) for n in range(100)))

    async def main() -> None:
        for held in world.held:
            held.succeed()
        assert log == ["after_read", "after_read"], "nothing leaves before the round ends"
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    world.sim.run(main)
    assert len(log) == 3 and len(frames_in(log[2])) == 100  # type: ignore[arg-type]
