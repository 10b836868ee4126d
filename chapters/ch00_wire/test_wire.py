"""Chapter 0: the naive ideas fail, and the five invariants hold, all with January's events."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from chapters.ch00_wire import demo, naive
from chapters.story import january
from mq.runtime.errors import MQError
from mq.sim.simulation import Simulation
from mq.wire.client import RpcClient
from mq.wire.codec import decode_frame, encode_frame
from mq.wire.command import ONEWAY_FLAG, RemotingCommand
from mq.wire.errors import RequestTimeout, Unreachable
from mq.wire.frame import FrameProtocol
from mq.wire.rpc import Request
from mq.wire.server import RpcServer
from tests.wire_rig import RawPeer, captures, reasons, request

SHOW, HOLD, FAIL = 7, 8, 9
ADDRESS = "10.0.0.1:10911"


class World:
    """A broker that shows events, and a display."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.server = RpcServer(sim.node("JFK", "10.0.0.1"))
        self.display = RpcClient(sim.node("display"))
        self.held: list[Request] = []
        self.server.processors[SHOW] = lambda request: request.succeed(body=request.body)
        self.server.processors[HOLD] = self.held.append
        self.server.processors[FAIL] = fail

    async def ask(self, code: int, body: bytes = b"") -> RemotingCommand:
        return await self.display.invoke(ADDRESS, RemotingCommand(code, body=body))


def fail(request: Request) -> None:
    raise MQError("the board is dark")


@pytest.fixture
def world() -> Iterator[World]:
    with Simulation(seed=13) as sim:
        made = World(sim)
        sim.run(made.server.start(10911))
        yield made


# The naive ideas.


def test_a_read_is_not_a_message_it_glues_some_and_cuts_others() -> None:
    """JFK's events in packets of 1,460 bytes: hardly a read is an event."""
    bodies = naive.bodies()
    shown = naive.shown(naive.ReadDisplay(), b"".join(bodies))
    assert any(bodies[0] in piece and piece != bodies[0] for piece in shown), "glued"
    assert not any(shown[0].endswith(body) for body in bodies), "cut"
    assert len(set(shown) & set(bodies)) == 0


def test_lines_carry_january_whole_as_long_as_no_message_has_a_newline() -> None:
    """The repair is not silly: every event arrives, whatever the cut."""
    bodies = naive.bodies()
    assert naive.shown(naive.LineDisplay(), naive.as_lines(bodies)) == bodies


def test_a_checksum_before_each_event_puts_newlines_into_some_and_breaks_them_in_two() -> None:
    """Four bytes that may be anything: about one event in 64 has a newline among them, and nobody is told."""
    messages = [naive.checked(body) for body in naive.bodies()]
    with_newline = [message for message in messages if b"\n" in message]
    shown = naive.shown(naive.LineDisplay(), naive.as_lines(messages))
    lost = set(messages) - set(shown)
    assert lost == set(with_newline) and len(messages) / 80 < len(lost) < len(messages) / 50
    assert len(shown) == len(messages) + sum(message.count(b"\n") for message in with_newline)


# The invariants.


class Display(FrameProtocol):
    """Shows what is in each frame."""

    def __init__(self, sim: Simulation) -> None:
        super().__init__(sim.node("display"))
        self.shown: list[bytes] = []

    def frame_received(self, payload: bytes) -> None:
        self.shown.append(decode_frame(payload).body)


def test_frames_carry_any_event_through_any_cut() -> None:
    """I0.1: a frame is passed on exactly once and whole, however the network cut the stream."""
    messages = [naive.checked(body) for body in naive.bodies()[:2000]]
    stream, random = (
        b"".join(encode_frame(RemotingCommand(SHOW, body=message)) for message in messages),
        Random(51),
    )
    with Simulation() as sim:
        for size in (1, 7, naive.PACKET_BYTES, 65_536, len(stream)):
            display = Display(sim)
            for piece in naive.pieces(stream, size):
                display.data_received(piece)
            assert display.shown == messages, f"in pieces of {size}"
        display, start = Display(sim), 0
        while start < len(stream):
            end = start + random.randint(1, 3000)
            display.data_received(stream[start:end])
            start = end
        assert display.shown == messages, "in pieces drawn from seed 51"


@pytest.mark.parametrize(
    "garbage", [b"GET / HTTP/1.1\r\n", b"\xff\xff\xff\xff", b"\0\0\0\x06\0\0\0\x02[]", bytes(4)]
)
def test_garbage_closes_its_own_connection_and_no_other(world: World, garbage: bytes) -> None:
    """I0.2: bytes that are no frame close their connection, with one reason, and harm nobody else."""

    async def main() -> RawPeer:
        await world.ask(SHOW)
        stranger = await world.sim.node("stranger").connect(ADDRESS, RawPeer)
        stranger.transport.write(garbage)
        await asyncio.sleep(1)
        assert (await world.ask(SHOW, b"still here")).body == b"still here"
        return stranger

    assert not world.sim.run(main).is_open
    assert len(reasons(world.sim)) == 1 and len(world.server.connections) == 1


def test_each_request_gets_exactly_one_reply_with_its_own_number(world: World) -> None:
    """I0.3: a request gets one reply, now or later, with its own opaque; a one-way request gets none."""
    events = january()[:300]

    async def main() -> RawPeer:
        peer = await world.sim.node("peer").connect(ADDRESS, RawPeer)
        for number, event in enumerate(events):
            code, flag = (SHOW, HOLD)[number % 3 == 1], ONEWAY_FLAG if number % 3 == 2 else 0
            peer.transport.write(request(code, number, body=event.body, flag=flag))
        await asyncio.sleep(1)
        for held in reversed(world.held):
            held.succeed(body=held.body)
        await asyncio.sleep(1)
        return peer

    replies = world.sim.run(main).replies
    answered = {reply.opaque: reply.body for reply in replies}
    assert len(replies) == len(answered) == 200, "200 of the 300 wanted an answer, and each got one"
    assert answered == {number: event.body for number, event in enumerate(events) if number % 3 != 2}


def test_what_cannot_be_done_is_answered_and_the_connection_goes_on(world: World) -> None:
    """I0.4: an unknown code is answered with 3, a failing handler with its code; the connection goes on."""

    async def main() -> list[tuple[int, str | None]]:
        replies = [await world.ask(code) for code in (310, FAIL, SHOW)]
        return [(reply.code, reply.remark) for reply in replies]

    answers = world.sim.run(main)
    assert answers == [(3, " request type 310 not supported"), (1, "the board is dark"), (0, None)]
    assert not reasons(world.sim)


@pytest.mark.parametrize(
    ("death", "kind"), [(None, RequestTimeout), ("process", Unreachable), ("power", RequestTimeout)]
)
def test_whoever_asks_is_told_within_its_timeout(
    world: World, death: str | None, kind: type[MQError]
) -> None:
    """I0.5: who asks gets an answer or an error within its timeout; a late answer meets nobody."""

    async def main() -> float:
        await world.ask(SHOW)
        asked_s = world.sim.loop.time()
        asking = asyncio.ensure_future(world.ask(HOLD))
        await asyncio.sleep(1)
        if death:
            world.sim.kill("JFK", death)
        with pytest.raises(kind):
            await asking
        if not death:
            world.held[0].succeed(body=b"too late")
            assert (await world.ask(SHOW, b"on time")).body == b"on time"
        return world.sim.loop.time() - asked_s

    assert world.sim.run(main) < 3.01


# What the page shows.


def test_the_frame_on_the_page_is_a_captured_one_and_every_byte_of_it_is_explained_once() -> None:
    """Its parts touch, from the first byte to the last."""
    [capture] = [capture for capture in captures() if capture.seen == demo.REAL_FRAME]
    assert capture.what == "RESP to GET_CONSUMER_LIST_BY_GROUP"
    edges = [edge for start, end, _ in demo.parts(demo.REAL_FRAME) for edge in (start, end)]
    assert edges[0] == 0 and edges[1:-1:2] == edges[2::2] and edges[-1] == len(demo.REAL_FRAME)
    drawn = demo.annotated(demo.REAL_FRAME).partition("\n\n")[0].splitlines()
    rows = [bytes.fromhex(line[7:55]) for line in drawn if line.startswith(" ")]
    assert b"".join(rows) == demo.REAL_FRAME


def test_the_conversation_shows_that_the_display_never_noticed_the_stranger() -> None:
    """Two heartbeats served, one of them after the browser was closed."""
    lines = demo.conversation().splitlines()
    kinds = [kind for line in lines for kind in demo.TOLD if f" {kind}" in line]
    assert kinds == [
        "listens",
        *("asks", "serves", "is answered"),
        *("asks", "is answered"),
        *("sends", "connection closed", "finds itself closed"),
        *("asks", "serves", "is answered"),
    ]
    assert "frame length 1195725856" in lines[7]
