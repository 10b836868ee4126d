"""Simulated connections: order, cuts, backpressure, and how each kind of death is felt."""

import asyncio
import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mq.sim.life import LIFE
from mq.sim.network import CONNECT_TIMEOUT_S
from mq.sim.simulation import Simulation


class Peer(asyncio.Protocol):
    """Keeps all that it is told."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.told: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.stay_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self.told.append(LIFE.get().node)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.stay_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def pair(sim: Simulation) -> tuple[Peer, Peer]:
    """A client on `b` and the server's end on `a`, connected."""
    servers: list[Peer] = []

    def accept() -> Peer:
        servers.append(Peer())
        return servers[-1]

    a, b = sim.node("a"), sim.node("b")
    await a.listen(9876, accept)
    client = await b.connect("10.0.0.1:9876", Peer)
    return client, servers[0]


def test_several_writes_of_one_tick_arrive_as_one_read() -> None:
    with Simulation() as sim:

        async def main() -> list[bytes]:
            sim.network.cut_chance = 0
            client, server = await pair(sim)
            for word in (b"one ", b"two ", b"three"):
                client.transport.write(word)
            await asyncio.sleep(1)
            return server.chunks

        assert sim.run(main) == [b"one two three"]


@given(seed=st.integers(0, 1000), sizes=st.lists(st.integers(0, 200_000), max_size=8))
def test_all_bytes_arrive_in_order_however_they_are_cut(seed: int, sizes: list[int]) -> None:
    with Simulation(seed) as sim:

        async def main() -> None:
            sim.network.cut_chance = 0.5
            client, server = await pair(sim)
            sent = b""
            for number, size in enumerate(sizes):
                sent += bytes([number]) * size
                client.transport.write(bytes([number]) * size)
                await asyncio.sleep(0.0001 * (number % 3))
            client.transport.close()
            assert await server.lost is None
            assert b"".join(server.chunks) == sent
            assert all(0 < len(chunk) <= 65536 for chunk in server.chunks)

        sim.run(main)


def test_a_read_can_end_in_the_middle_of_what_was_written() -> None:
    lengths: set[int] = set()
    for seed in range(40):
        with Simulation(seed) as sim:

            async def main(sim: Simulation = sim) -> int:
                client, server = await pair(sim)
                client.transport.write(b"0123456789")
                await asyncio.sleep(1)
                assert b"".join(server.chunks) == b"0123456789"
                return len(server.chunks)

            lengths.add(sim.run(main))
    assert lengths >= {1, 2}, "forty seeds and never a cut: a parser that needs whole frames would pass"


def test_a_reader_that_stops_makes_the_writer_pause_and_then_resume() -> None:
    with Simulation() as sim:

        async def main() -> tuple[list[str], int, int]:
            client, server = await pair(sim)
            server.transport.pause_reading()
            for _ in range(100):
                client.transport.write(bytes(10_000))
                await asyncio.sleep(0.01)
            paused, buffered = list(client.told), client.transport.get_write_buffer_size()
            server.transport.resume_reading()
            await asyncio.sleep(1)
            assert client.told == ["pause", "resume"]
            return paused, buffered, sum(map(len, server.chunks))

        paused, buffered, received = sim.run(main)
        assert paused == ["pause"]
        assert buffered > 64 * 1024
        assert received == 1_000_000


def test_only_immutable_bytes_may_be_written() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await pair(sim)
            with pytest.raises(TypeError, match="immutable"):
                client.transport.write(bytearray(b"later changed"))
            with pytest.raises(TypeError, match="immutable"):
                client.transport.write(memoryview(bytearray(b"later changed")))
            client.transport.write(memoryview(b"fine"))
            await asyncio.sleep(1)
            assert server.chunks == [b"fine"]

        sim.run(main)


def test_half_a_connection_can_be_closed() -> None:
    with Simulation() as sim:

        async def main() -> None:
            sim.network.cut_chance = 0
            client, server = await pair(sim)
            server.stay_open = True
            client.transport.write(b"question")
            client.transport.write_eof()
            await asyncio.sleep(1)
            assert (server.chunks, server.told) == ([b"question"], ["a", "eof"])
            server.transport.write(b"answer")
            server.transport.close()
            assert await client.lost is None
            assert client.chunks == [b"answer"]

        sim.run(main)


def test_both_ends_know_their_addresses() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await pair(sim)
            assert client.transport.get_extra_info("peername") == ("10.0.0.1", 9876)
            assert server.transport.get_extra_info("sockname") == ("10.0.0.1", 9876)
            assert server.transport.get_extra_info("peername") == client.transport.get_extra_info("sockname")

        sim.run(main)


def test_a_port_that_nobody_has_refuses_and_a_port_that_is_taken_is_in_use() -> None:
    with Simulation() as sim:

        async def main() -> None:
            a, b = sim.node("a"), sim.node("b")
            with pytest.raises(ConnectionRefusedError):
                await b.connect("10.0.0.1:1", Peer)
            listener = await a.listen(0, Peer)
            with pytest.raises(OSError) as taken:
                await a.listen(listener.port, Peer)
            assert taken.value.errno == errno.EADDRINUSE
            await a.connect(f"127.0.0.1:{listener.port}", Peer)
            listener.close()
            with pytest.raises(ConnectionRefusedError):
                await b.connect(f"10.0.0.1:{listener.port}", Peer)

        sim.run(main)


def test_what_a_process_wrote_before_it_died_arrives_and_then_a_reset() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await pair(sim)

            async def answer_and_die() -> None:
                server.transport.write(b"acknowledged")
                sim.kill("a")
                server.transport.write(b" and more")

            sim.node("a").spawn(answer_and_die(), "last words")
            assert isinstance(await client.lost, ConnectionResetError)
            assert b"".join(client.chunks) == b"acknowledged"
            with pytest.raises(ConnectionRefusedError):
                await sim.node("b").connect("10.0.0.1:9876", Peer)
            sim.restart("a")
            with pytest.raises(ConnectionRefusedError):
                await sim.node("b").connect("10.0.0.1:9876", Peer)

        sim.run(main)


def test_a_loss_of_power_is_silence_until_the_machine_is_back() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await pair(sim)
            sim.kill("a", "power")
            client.transport.write(b"is anybody there")
            await asyncio.sleep(60)
            assert not client.lost.done()
            began_s = sim.loop.time()
            with pytest.raises(TimeoutError):
                await sim.node("b").connect("10.0.0.1:9876", Peer)
            assert sim.loop.time() - began_s == pytest.approx(CONNECT_TIMEOUT_S)
            sim.restart("a")
            assert isinstance(await client.lost, ConnectionResetError)
            assert server.chunks == []

        sim.run(main)


def test_an_idle_peer_learns_of_a_restart_only_when_it_writes() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, _ = await pair(sim)
            sim.kill("a", "power")
            await asyncio.sleep(1)
            sim.restart("a")
            await asyncio.sleep(600)
            assert not client.lost.done()
            client.transport.write(b"still there?")
            assert isinstance(await client.lost, ConnectionResetError)

        sim.run(main)


def test_callbacks_run_in_the_life_of_the_end_that_receives() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await pair(sim)
            client.transport.write(b"x")
            await asyncio.sleep(1)
            server.transport.write(b"y")
            await asyncio.sleep(1)
            assert (server.told, client.told) == (["a"], ["b"])

        sim.run(main)


def test_a_protocol_that_raises_loses_its_connection_and_is_written_down() -> None:
    class Broken(Peer):
        def data_received(self, data: bytes) -> None:
            raise ValueError("cannot parse")

    with Simulation() as sim:

        async def main() -> None:
            await sim.node("a").listen(1, Broken)
            client = await sim.node("b").connect("10.0.0.1:1", Peer)
            client.transport.write(b"x")
            assert await client.lost is None

        sim.run(main)
        assert [str(error) for _, _, error in sim.failures] == ["cannot parse"]


def test_the_network_can_reset_what_two_machines_share() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await pair(sim)
            sim.network.reset_connections("10.0.0.2", "10.0.0.1")
            assert isinstance(await client.lost, ConnectionResetError)
            assert isinstance(await server.lost, ConnectionResetError)

        sim.run(main)
