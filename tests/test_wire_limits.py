"""A server's bounds, its end, and a client that finds it again; simulated, in virtual time."""

import asyncio
from collections.abc import Iterator

import pytest

from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.routing.client import ClientInstance
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.command import ONEWAY_FLAG
from mq.wire.errors import RequestTimeout, Unreachable
from mq.wire.server import DRAIN_TIMEOUT_MS, IDLE_MS, RpcServer, ServerConnection
from tests.test_wire_rpc import ECHO, FAIL, LATER, NEVER, SERVER, World
from tests.wire_rig import RawPeer, complaints, reasons, request


@pytest.fixture(name="world")
def _world() -> Iterator[World]:
    with Simulation(seed=1) as sim:
        made = World(sim)
        sim.run(made.server.start(9876))
        yield made
        assert sim.failures == []


# ---------------------------------------------------------------- the end of a server


def test_what_was_received_is_answered_before_the_connection_closes(world: World) -> None:
    async def main() -> tuple[float, float]:
        peer = await world.raw()
        peer.transport.write(request(LATER, 5))
        await asyncio.sleep(1)
        begin = world.now_ms()
        draining = world.machine.spawn(world.server.drain(), "drain")
        await asyncio.sleep(0.5)
        with pytest.raises(OSError):
            await world.raw("newcomer")
        answered_ms = world.now_ms() - begin
        world.held[0].succeed(body=b"due")
        await draining
        drained_ms = world.now_ms() - begin
        await asyncio.sleep(0.1)
        assert [reply.body for reply in peer.replies] == [b"due"] and not peer.is_open
        return answered_ms, drained_ms

    answered_ms, drained_ms = world.sim.run(main)
    assert drained_ms - answered_ms < 10, "nothing else was waited for"
    assert not world.server.connections and not complaints(world.sim)


def test_what_comes_during_the_end_is_not_begun_and_its_sender_learns_of_it(world: World) -> None:
    async def main() -> None:
        waits = world.sim.node("client").spawn(world.ask(LATER), "asks before")
        await asyncio.sleep(0.1)
        draining = world.machine.spawn(world.server.drain(), "drain")
        await asyncio.sleep(0.1)
        late = world.sim.node("client").spawn(too_late(), "asks after")
        await asyncio.sleep(0.1)
        assert len(world.held) == 1, "a request was begun that came after the end had begun"
        world.held[0].succeed(body=b"due")
        await draining
        assert (await waits).body == b"due"
        await late

    async def too_late() -> None:
        with pytest.raises(Unreachable, match="closed before it answered"):
            await world.ask(LATER)

    world.sim.run(main)


@pytest.mark.parametrize("dies", [False, True])
def test_a_request_that_nobody_answers_holds_the_end_up_for_so_long_and_no_longer(
    world: World, dies: bool
) -> None:
    """Unless whoever asked is gone."""

    async def main() -> float:
        peer = await world.raw()
        peer.transport.write(request(NEVER))
        await asyncio.sleep(1)
        begin = world.now_ms()
        if dies:
            world.machine.call_later(500, lambda: world.sim.kill("raw"))
        await world.server.drain()
        took_ms = world.now_ms() - begin
        await asyncio.sleep(0.1)
        assert not world.server.connections
        return took_ms

    took_ms = world.sim.run(main)
    said = [dict(event.fields) for event in complaints(world.sim, "stopped with requests unanswered")]
    if dies:
        assert 500 <= took_ms < 510 and not said
    else:
        assert took_ms == pytest.approx(DRAIN_TIMEOUT_MS, abs=1) and said == [{"requests": 1}]


def test_who_holds_requests_back_may_answer_them_at_the_end(world: World) -> None:
    """The seam for held pulls: nobody waits for the timeout because of them."""

    def release() -> None:
        for held in world.held:
            held.succeed(body=b"nothing came")

    world.server.on_drain.append(release)

    async def main() -> tuple[float, RawPeer]:
        peer = await world.raw()
        peer.transport.write(request(LATER, 1) + request(LATER, 2))
        await asyncio.sleep(1)
        begin = world.now_ms()
        await world.server.drain()
        took_ms = world.now_ms() - begin
        await asyncio.sleep(0.1)
        return took_ms, peer

    took_ms, peer = world.sim.run(main)
    assert took_ms < 1 and [reply.body for reply in peer.replies] == [b"nothing came"] * 2


def test_a_server_that_owes_nothing_ends_at_once_whatever_one_way_requests_came(world: World) -> None:
    async def main() -> float:
        peer = await world.raw()
        peer.transport.write(request(NEVER, flag=ONEWAY_FLAG) + request(ECHO))
        await asyncio.sleep(1)
        begin = world.now_ms()
        await world.server.drain()
        return world.now_ms() - begin

    assert world.sim.run(main) < 1


def test_a_server_that_was_stopped_can_be_started_again_and_still_closes_the_silent(world: World) -> None:
    async def main() -> None:
        await world.raw("first")
        await world.server.drain()
        await asyncio.sleep(0.1)
        await world.server.start(9876)
        peer = await world.raw("second")
        peer.transport.write(request(ECHO))
        await asyncio.sleep(1)
        assert len(peer.replies) == 1
        await asyncio.sleep(IDLE_MS / 1000)
        assert not peer.is_open

    world.sim.run(main)


def test_a_broker_that_is_stopped_acknowledges_what_it_was_sent_before(world: World) -> None:
    """Synchronous flush: the answer waits for the disk, and the broker's end waits for the answer."""
    sim = world.sim
    names = build_namesrv(sim.node("names"))
    told = {"namesrvAddr": names.address, "flushDiskType": "SYNC_FLUSH"}
    broker = build_broker(sim.node("broker"), told, chapter=3)
    instance = ClientInstance(sim.node("gate"), names.address)
    producer = Producer(instance, "airports")

    async def main() -> None:
        await sim.on("names", names.start())
        await sim.on("broker", broker.start())
        await sim.on("gate", gate())

    async def gate() -> None:
        await instance.start()
        await instance.add(producer)
        await producer.send(Message("flights", b"first"))
        sends = [producer.send(Message("flights", b"last")) for _ in range(50)]
        tasks = [instance.node.spawn(send, "send") for send in sends]
        while not any(each.unanswered for each in broker.server.connections.values()):
            await instance.node.sleep_ms(0.05)
        await sim.on("broker", broker.stop())
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kept = [result for result in results if not isinstance(result, BaseException)]
        assert kept and all(result.status is SendStatus.SEND_OK for result in kept)

    sim.run(main)
    assert not complaints(sim, "stopped with requests unanswered")


# ---------------------------------------------------------------- a client finds its server again


def test_a_client_connects_again_with_its_next_request(world: World) -> None:
    async def main() -> None:
        first = await world.client.connect(SERVER)
        world.sim.kill("server")
        await asyncio.sleep(1)
        assert not first.is_open
        with pytest.raises(Unreachable):
            await world.ask(ECHO)
        world.machine = world.sim.restart("server")
        server = RpcServer(world.machine)
        server.processors[ECHO] = lambda asked: asked.succeed(body=asked.body)
        await world.sim.on("server", server.start(9876))
        assert (await world.ask(ECHO, b"again")).body == b"again"
        again = await world.client.connect(SERVER)
        assert again is not first and again is await world.client.connect(SERVER)
        assert len(server.connections) == 1

    world.sim.run(main)


def test_a_client_whose_server_lost_power_has_one_timeout_and_then_a_new_connection(world: World) -> None:
    async def main() -> None:
        await world.ask(ECHO)
        world.sim.kill("server", "power")
        world.machine = world.sim.restart("server")
        server = RpcServer(world.machine)
        server.processors[ECHO] = lambda asked: asked.succeed(body=asked.body)
        await world.sim.on("server", server.start(9876))
        with pytest.raises((Unreachable, RequestTimeout)):
            await world.ask(ECHO)
        assert (await world.ask(ECHO, b"again")).body == b"again"

    world.sim.run(main)


# ---------------------------------------------------------------- bytes held


class HighWater(RpcServer):
    """Notes the most that all connections ever held, by looking and not by what was counted."""

    most_held = 0

    def count(self, connection: ServerConnection) -> None:
        held = sum(each.bytes_held for each in self.connections.values())
        self.most_held = max(self.most_held, held)
        super().count(connection)


def bounded(world: World, max_bytes_held: int) -> HighWater:
    server = HighWater(world.machine, max_bytes_held=max_bytes_held)
    server.registry = world.server.registry
    world.server = server
    world.sim.run(server.start(9877))
    return server


async def raw(world: World, name: str) -> RawPeer:
    return await world.sim.node(name).connect("10.0.0.1:9877", RawPeer)


def beginning_of_a_frame(length: int) -> bytes:
    """A frame of a mebibyte, of which only so much has come."""
    return (1 << 20).to_bytes(4, "big") + bytes(length - 4)


def test_frames_that_never_end_cannot_fill_the_servers_memory(world: World) -> None:
    """Each is far below its own limit; together they are too much, and whoever holds most must go."""
    server = bounded(world, 100_000)

    async def main() -> list[bool]:
        peers = [await raw(world, f"peer{number}") for number in range(4)]
        for peer, length in zip(peers, (20_000, 60_000, 15_000, 30_000), strict=True):
            peer.transport.write(beginning_of_a_frame(length))
            await asyncio.sleep(1)
        return [peer.is_open for peer in peers]

    assert world.sim.run(main) == [True, False, True, True]
    assert reasons(world.sim) == ["all connections hold more than 100000 bytes, this one 60000"]
    assert server.bytes_held == 65_000 and server.most_held <= 125_000


def test_a_frame_that_comes_to_its_end_holds_nothing_any_more(world: World) -> None:
    server = bounded(world, 100_000)

    async def main() -> None:
        peer = await raw(world, "peer")
        whole = request(ECHO, body=bytes(50_000))
        for _ in range(10):
            peer.transport.write(whole[:30_000])
            await asyncio.sleep(1)
            assert server.bytes_held == 30_000
            peer.transport.write(whole[30_000:])
            await asyncio.sleep(1)
        assert len(peer.replies) == 10 and peer.is_open
        assert server.bytes_held == 0
        peer.transport.write(whole[:30_000])
        await asyncio.sleep(1)
        peer.transport.close()
        await asyncio.sleep(1)

    world.sim.run(main)
    assert server.bytes_held == 0 and not reasons(world.sim)


def test_peers_that_do_not_read_their_answers_are_closed_before_they_fill_the_memory(world: World) -> None:
    """A network read may hold hundreds of requests with large answers; who reads is served all the time."""
    most = 4 << 20
    server = bounded(world, most)
    server.processors[FAIL] = lambda asked: asked.succeed(body=bytes(50_000))

    async def main() -> bool:
        good = await raw(world, "good")
        lazy = [await raw(world, f"lazy{number}") for number in range(8)]
        for peer in lazy:
            peer.transport.pause_reading()
            peer.transport.write(b"".join(request(FAIL, n, body=bytes(100)) for n in range(200)))
            good.transport.write(request(FAIL, body=b"served"))
            await asyncio.sleep(1)
        assert len(good.replies) == 8
        return good.is_open

    assert world.sim.run(main), "who reads its answers was closed in place of those who do not"
    assert 1 <= len(server.connections) < 9
    assert len(complaints(world.sim)) == 9 - len(server.connections)
    one_batch = 64 * 50_100
    assert server.most_held <= most + one_batch, f"{server.most_held:,} bytes were held, of {most:,}"
    assert server.bytes_held <= most


def test_answers_that_were_counted_and_have_left_since_cost_nobody_the_connection(world: World) -> None:
    """What was counted is looked at again before anybody is closed."""
    server = bounded(world, 1 << 20)
    server.processors[FAIL] = lambda asked: asked.succeed(body=bytes(30_000))

    async def main() -> list[bool]:
        peers = [await raw(world, f"peer{number}") for number in range(12)]
        for peer in peers:
            peer.transport.pause_reading()
            peer.transport.write(b"".join(request(FAIL, n) for n in range(10)))
            await asyncio.sleep(1)
            peer.transport.resume_reading()
            await asyncio.sleep(1)
        assert [len(peer.replies) for peer in peers] == [10] * 12
        return [peer.is_open for peer in peers]

    assert all(world.sim.run(main)) and not reasons(world.sim)


def test_late_answers_to_many_are_bounded_too(world: World) -> None:
    """Held requests that are all answered at once, to peers that do not read: nothing is read in between."""
    most = 2 << 20
    server = bounded(world, most)

    async def main() -> None:
        peers = [await raw(world, f"peer{number}") for number in range(40)]
        for peer in peers:
            peer.transport.pause_reading()
            peer.transport.write(request(LATER))
        await asyncio.sleep(1)
        assert len(world.held) == 40
        for held in world.held:
            held.succeed(body=bytes(400_000))
        await asyncio.sleep(1)

    world.sim.run(main)
    assert 0 < len(server.connections) < 40 and server.most_held <= most + 500_000
