"""Links that lose, delay and come back: TCP sends again, until somebody gives up."""

import asyncio

import pytest

from mq.sim.link import ORPHAN_RETRIES, RETRIES
from mq.sim.simulation import Simulation


class End(asyncio.Protocol):
    """Keeps what it hears, when, and why its connection ended."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.heard: list[tuple[float, bytes]] = []
        self.lost: list[tuple[float, str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard.append((self.sim.loop.time(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append((self.sim.loop.time(), type(exc).__name__ if exc else "closed"))

    @property
    def words(self) -> bytes:
        return b"".join(data for _, data in self.heard)


async def connected(sim: Simulation) -> tuple[End, End]:
    """A client's end on `b` and the server's on `a`."""
    servers: list[End] = []

    def accept() -> End:
        servers.append(End(sim))
        return servers[-1]

    sim.network.cut_chance = 0
    a, b = sim.node("a"), sim.node("b")
    await a.listen(9876, accept)
    client = await b.connect(f"{a.address}:9876", lambda: End(sim))
    await asyncio.sleep(0.1)
    return client, servers[0]


def cut(sim: Simulation, source: str, target: str, is_cut: bool = True) -> None:
    sim.network.link(sim.node(source).address, sim.node(target).address).is_cut = is_cut


def test_what_a_cut_link_lost_arrives_after_the_heal_at_tcps_next_try() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await connected(sim)
            cut(sim, "b", "a")
            began = sim.loop.time()
            client.transport.write(b"one ")
            await asyncio.sleep(1)
            client.transport.write(b"two")
            assert server.words == b""
            cut(sim, "b", "a", False)
            await asyncio.sleep(0.3)
            assert server.words == b"", "TCP tries 0.2, 0.6 and 1.4 s after the loss, and not in between"
            await asyncio.sleep(5)
            assert server.words == b"one two"
            assert server.heard[0][0] - began == pytest.approx(1.4, abs=0.01)

        sim.run(main)


def test_the_later_the_heal_the_longer_until_data_flows_again() -> None:
    def flows_after_s(outage_s: float) -> float:
        with Simulation() as sim:

            async def main() -> float:
                client, server = await connected(sim)
                cut(sim, "b", "a")
                began = sim.loop.time()
                client.transport.write(b"x")
                await asyncio.sleep(outage_s)
                cut(sim, "b", "a", False)
                await asyncio.sleep(300)
                return server.heard[0][0] - began

            return sim.run(main)

    assert [round(flows_after_s(outage_s), 1) for outage_s in (0.1, 0.5, 2, 20, 60)] == [
        0.2,
        0.6,
        3.0,
        25.4,
        102.2,
    ]


def test_a_cut_tells_nobody_and_its_other_way_carries_on() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await connected(sim)
            cut(sim, "b", "a")
            client.transport.write(b"lost")
            server.transport.write(b"heard")
            await asyncio.sleep(10)
            assert client.words == b"heard" and server.words == b""
            assert client.lost == server.lost == [], "silence, and no reset"

        sim.run(main)


def test_with_the_way_back_cut_a_sender_stops_when_its_window_is_full() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await connected(sim)
            cut(sim, "a", "b")  # acknowledgements are lost
            for _ in range(8):
                client.transport.write(b"x" * 40_000)
                await asyncio.sleep(0.1)
            await asyncio.sleep(1)
            assert len(server.words) == 128 * 1024
            cut(sim, "a", "b", False)
            await asyncio.sleep(10)
            assert len(server.words) == 320_000

        sim.run(main)


def test_a_sender_gives_up_after_fifteen_tries() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await connected(sim)
            cut(sim, "b", "a")
            began = sim.loop.time()
            client.transport.write(b"x")
            await asyncio.sleep(2_000)
            ((when, why),) = client.lost
            assert (round(when - began, 1), why) == (924.6, "TimeoutError")
            assert server.lost == [], "its peer has heard nothing, so it knows nothing"

        assert RETRIES == 15
        sim.run(main)


def test_a_connection_closed_during_a_cut_is_closed_at_the_other_end_after_a_short_one_only() -> None:
    def told(outage_s: float) -> bool:
        with Simulation() as sim:

            async def main() -> bool:
                client, server = await connected(sim)
                cut(sim, "b", "a")
                client.transport.write(b"x")
                client.transport.abort()
                await asyncio.sleep(outage_s)
                cut(sim, "b", "a", False)
                await asyncio.sleep(500)
                return bool(server.lost)

            return sim.run(main)

    assert ORPHAN_RETRIES == 8
    assert told(60)
    assert not told(300), "an orphan's packets are sent for 102 s; after that the peer is left half open"


def test_a_half_open_end_learns_the_truth_when_it_writes() -> None:
    with Simulation() as sim:

        async def main() -> None:
            _, server = await connected(sim)
            cut(sim, "b", "a")
            sim.kill("b")  # the reset that its kernel sends is lost, and is not sent again
            await asyncio.sleep(5)
            cut(sim, "b", "a", False)
            await asyncio.sleep(200)
            assert server.lost == []
            server.transport.write(b"are you there?")
            await asyncio.sleep(1)
            assert [why for _, why in server.lost] == ["ConnectionResetError"]

        sim.run(main)


def test_a_machine_that_loses_its_power_sends_nothing_again() -> None:
    with Simulation() as sim:

        async def main() -> None:
            client, server = await connected(sim)
            cut(sim, "b", "a")
            client.transport.write(b"x")
            await asyncio.sleep(1)
            sim.kill("b", "power")
            cut(sim, "b", "a", False)
            sim.restart("b")  # its kernel is a new one
            await asyncio.sleep(100)
            assert server.words == b""

        sim.run(main)


def test_a_connect_through_a_cut_ends_after_three_seconds_and_a_short_cut_only_delays_it() -> None:
    with Simulation() as sim:

        async def main() -> None:
            await connected(sim)
            cut(sim, "b", "a")
            with pytest.raises(TimeoutError):
                await sim.node("b").connect("10.0.0.1:9876", lambda: End(sim))
            began = sim.loop.time()
            sim.at(500, lambda: cut(sim, "b", "a", False))
            await sim.node("b").connect("10.0.0.1:9876", lambda: End(sim))
            assert sim.loop.time() - began == pytest.approx(1.0, abs=0.01), "the second SYN, after a second"

        sim.run(main)


def test_a_delay_moves_every_packet_and_changes_no_order() -> None:
    with Simulation(seed=3) as sim:

        async def main() -> None:
            client, server = await connected(sim)
            link = sim.network.link("10.0.0.2", "10.0.0.1")
            link.delay_s, link.jitter_s = 0.4, 0.4
            began = sim.loop.time()
            for number in range(40):
                client.transport.write(b"%d " % number)
                await asyncio.sleep(0.02)
            link.delay_s = link.jitter_s = 0.0
            client.transport.write(b"last")
            await asyncio.sleep(2)
            assert server.words.split() == [b"%d" % number for number in range(40)] + [b"last"]
            assert server.heard[0][0] - began >= 0.4

        sim.run(main)


def test_jitter_is_drawn_for_the_moment_so_that_another_packet_moves_no_draw() -> None:
    def arrival_s(chatter: bool) -> float:
        with Simulation(seed=9) as sim:

            async def main() -> float:
                client, server = await connected(sim)
                sim.network.link("10.0.0.2", "10.0.0.1").jitter_s = 0.05
                if chatter:
                    client.transport.write(b"chatter")
                await asyncio.sleep(1)
                client.transport.write(b"x")
                await asyncio.sleep(1)
                return server.heard[-1][0]

            return sim.run(main)

    assert arrival_s(False) == arrival_s(True)


def test_lost_packets_stand_in_the_journal_and_a_traced_one_has_the_number_of_its_departure() -> None:
    with Simulation() as sim:

        async def main() -> None:
            sim.network.is_traced = True
            client, _ = await connected(sim)
            cut(sim, "b", "a")
            client.transport.write(b"x")
            await asyncio.sleep(0.5)
            cut(sim, "b", "a", False)
            await asyncio.sleep(1)

        sim.run(main)
        numbers = {
            kind: dict(event.fields)["number"]
            for event in sim.events
            if (kind := event.kind) in ("sent", "packet lost", "chunk")
        }
        assert numbers == {"sent": 1, "packet lost": 1, "chunk": 1}
