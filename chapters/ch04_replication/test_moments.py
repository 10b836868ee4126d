"""Unlucky moments: what happens while a slave connects, learns, copies tables, is promoted or stops."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chapters.ch04_replication.pair import MASTER, NAMES, SLAVE, Pair, bodies_of, log_of
from chapters.ch04_replication.test_pair import following, play
from chapters.ch04_replication.test_peers import Wire, counted
from mq.replication.fastport import FastPort
from mq.replication.follower import Follower, MasterEnd
from mq.replication.haclient import HAClient
from mq.replication.haservice import HAService
from mq.replication.slavesynchronize import SlaveSynchronize
from mq.routing.broker import Broker, Role
from mq.runtime.config import ConfigManager
from mq.runtime.journal import Event
from mq.runtime.real import RealNode
from mq.system import build_broker
from mq.wire.rpc import Request

# ---------------------------------------------------------------- unlucky moments


async def _while_connecting(pair: Pair, then: Callable[[], Awaitable[None]]) -> None:
    """The slave has lost its connection, and is making another while something else happens."""
    await following(pair)
    await pair.statuses(b"one")
    pair.slow(300)
    pair.sim.network.reset_connections(*[pair.sim.node(name).address for name in (MASTER, SLAVE)])
    await asyncio.sleep(0.1)
    assert not pair.slave.part(Follower).is_connected
    await then()
    pair.slow(0)
    await asyncio.sleep(3)


def test_a_slave_that_is_made_a_master_while_it_connects_follows_nobody() -> None:
    async def story(pair: Pair) -> None:
        async def promote() -> None:
            await pair.sim.on(SLAVE, pair.slave.become(Role.ASYNC_MASTER, 0))

        await _while_connecting(pair, promote)
        assert not pair.slave.part(Follower).is_connected, "a master takes another's bytes into its log"
        assert not pair.master.part(HAService).slaves

    play(story)


def test_a_slave_that_learns_of_another_master_while_it_connects_goes_there() -> None:
    async def story(pair: Pair) -> None:
        async def other_master() -> None:
            host = pair.sim.node(MASTER).address
            pair.slave.part(Follower).learn({"haServerAddr": f"{host}:10999"})

        await _while_connecting(pair, other_master)
        assert not pair.slave.part(Follower).is_connected, "it follows a master that it was told to leave"
        assert any(address.endswith(":10999") for address in _addresses(pair, "master not reached"))

    play(story)


def test_a_master_that_is_made_a_slave_again_follows_at_once() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.sim.on(SLAVE, pair.slave.become(Role.ASYNC_MASTER, 0))
        await asyncio.sleep(12)
        assert not pair.slave.part(Follower).is_connected
        await pair.sim.on(SLAVE, pair.slave.become(Role.SLAVE, 1))
        await pair.until(pair.is_following, 1)

    play(story)


def test_a_slave_that_learns_of_another_master_leaves_the_one_that_it_follows() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        host = pair.sim.node(MASTER).address
        pair.slave.part(Follower).learn({"haServerAddr": f"{host}:10912"})
        assert pair.slave.part(Follower).is_connected, "it is told the same each 30 s"
        pair.slave.part(Follower).learn({})
        assert pair.slave.part(Follower).is_connected, "a NameServer that knows no master says nothing"
        pair.slave.part(Follower).learn({"haServerAddr": f"{host}:10999"})
        await asyncio.sleep(0.1)
        assert not pair.slave.part(Follower).is_connected, "it was told of another, and stays"
        assert _addresses(pair, "master not reached") == [f"{host}:10999"]

    play(story)


def _addresses(pair: Pair, kind: str) -> list[str]:
    return [str(dict(event.fields)["address"]) for event in pair.sim.events if event.kind == kind]


def test_a_master_that_does_not_answer_a_connect_is_tried_again_after_five_seconds() -> None:
    """An address that swallows packets: the system itself would wait for two minutes."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        node, tries = pair.sim.node(SLAVE), list[float]()
        connect = node.connect

        async def swallowed(address: str, factory: Callable[[], Any]) -> Any:
            if not address.endswith(":10912"):
                return await connect(address, factory)
            tries.append(pair.sim.loop.time())
            return await asyncio.get_running_loop().create_future()

        node.connect = swallowed  # type: ignore[method-assign]
        await pair.open(SLAVE)
        await asyncio.sleep(32)
        waits = [round(later - sooner) for sooner, later in pairwise(tries)]
        assert waits == [10, 10, 10], f"5 s for an answer, 5 s until the next try: {waits}"
        assert pair.events("master not reached") == [f"{SLAVE} master not reached: no answer"] * 3

    play(story)


def test_a_slave_without_a_connection_looks_at_none() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await asyncio.sleep(1)
        pair.sim.kill(MASTER)
        await asyncio.sleep(0.1)
        with counted(HAClient, "check") as checks:
            await asyncio.sleep(40)
        assert checks[0] == 0, "a timer of a connection that is gone goes on"

    play(story)


def test_a_slave_that_stops_while_it_connects_leaves_no_connection_behind() -> None:
    async def story(pair: Pair) -> None:
        await _while_connecting(pair, lambda: pair.stop(SLAVE))
        await asyncio.sleep(25)
        assert not pair.master.part(HAService).slaves
        assert not pair.slave.part(Follower).is_connected

    play(story)


def test_a_connection_that_comes_about_when_the_slave_has_stopped_is_closed() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        follower = pair.slave.part(Follower)
        await pair.stop(SLAVE)
        assert not follower.is_connected
        wire = Wire()
        MasterEnd(follower, follower.master_address).connection_made(wire)
        assert wire.is_aborted and wire.written == [], "a broker that has stopped follows its master"

    play(story)


def test_a_master_that_stops_lets_its_slave_go_at_once() -> None:
    """Else it would go on saying that there is nothing new."""

    async def story(pair: Pair) -> None:
        await following(pair)
        await pair.stop(MASTER)
        await asyncio.sleep(0.1)
        assert pair.events("slave left", "master left") == [
            f"{MASTER} slave left: this broker stops",
            f"{SLAVE} master left: its connection closed",
        ]

    play(story)


def test_clocks_that_jump_change_nothing() -> None:
    """Silence, heartbeats and patience are durations."""

    async def story(pair: Pair) -> None:
        await following(pair)
        for name, jump_ms in ((MASTER, 3_600_000), (SLAVE, -3_600_000), (MASTER, -7_200_000)):
            pair.sim.node(name).machine.clock_error_ms += jump_ms
            await asyncio.sleep(0.5)
            begun_s = pair.sim.loop.time()
            assert await pair.statuses(b"one") == ["SEND_OK"]
            assert pair.sim.loop.time() - begun_s < 0.1
            await asyncio.sleep(7)
        assert not pair.events("slave left", "master left")
        assert log_of(pair.slave) == log_of(pair.master)

    play(story)


def test_a_slave_whose_reports_are_lost_is_given_up_by_its_master_first() -> None:
    """The other half of a half-open connection: the slave hears everything, and is not heard."""

    async def story(pair: Pair) -> None:
        await following(pair)
        slave, master = pair.sim.node(SLAVE).address, pair.sim.node(MASTER).address
        for link in pair.sim.network.links(slave, master):
            link.is_cut = True
        assert await pair.statuses(b"one") == ["FLUSH_SLAVE_TIMEOUT"]
        assert bodies_of(pair.slave) == [b"one"], "it has the message, and nobody knows"
        await asyncio.sleep(18)
        assert pair.events("slave left", "master left") == [
            f"{MASTER} slave left: silent for 20 s",
            f"{SLAVE} master left: its connection closed",
        ]
        assert await pair.statuses(b"two") == ["SLAVE_NOT_AVAILABLE"]
        pair.heal()
        await pair.equal()
        assert bodies_of(pair.slave) == [b"one", b"two"]

    play(story)


def test_a_master_address_that_cannot_be_does_not_end_the_looking(tmp_path: Path) -> None:
    """65,536 ports, and a NameServer that said 99,999: it may say better next time."""

    async def work() -> str:
        node = RealNode("slave", str(tmp_path))
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def listen(event: Event) -> None:
            if event.kind in ("master not reached", "task failed") and not said.done():
                said.set_result(event.cause)

        node.journal.listeners.append(listen)
        told = {"brokerRole": "SLAVE", "brokerId": "1", "listenPort": "0"}
        slave = build_broker(node, {**told, "haMasterAddress": "127.0.0.1:99999"}, 4)
        await slave.start()
        async with asyncio.timeout(10):
            cause = await said
        run = slave.part(Follower)._run
        assert run is not None and not run.done(), "the slave looks for its master no more"
        await slave.stop()
        node.real_disk.close()
        return cause

    assert "65535" in asyncio.run(work())


def test_a_fast_port_that_opens_while_the_broker_stops_is_closed_again() -> None:
    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        fast = pair.master.part(FastPort)
        await pair.sim.on(MASTER, _opened_and_stopped(fast))
        await asyncio.sleep(0.01)
        taken = await pair.sim.on(MASTER, pair.sim.node(MASTER).listen(10_909, asyncio.Protocol))
        assert taken.port == 10_909, "nobody listens there any more"

    play(story)


def test_the_fast_port_is_free_again_when_the_broker_has_stopped() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        node = pair.sim.node(MASTER)
        with pytest.raises(OSError, match="in use"):
            await pair.sim.on(MASTER, node.listen(10_909, asyncio.Protocol))
        await pair.stop(MASTER)
        assert (await pair.sim.on(MASTER, node.listen(10_909, asyncio.Protocol))).port == 10_909

    play(story)


def test_a_fast_port_that_somebody_else_has_is_a_complaint_and_nothing_more() -> None:
    async def story(pair: Pair) -> None:
        node = pair.sim.node(MASTER)
        await pair.sim.on(MASTER, node.listen(10_909, asyncio.Protocol))
        await following(pair)
        assert await pair.statuses(b"one") == ["SEND_OK"]
        (said,) = pair.events("no fast port")
        assert "in use" in said

    play(story)


async def _opened_and_stopped(fast: FastPort) -> None:
    fast.open()
    await fast.stop()


def test_slaves_connect_where_the_settings_say() -> None:
    """A second network card, and a port of the operator's choice."""

    async def story(pair: Pair) -> None:
        await pair.start(MASTER)
        await pair.stop(MASTER)
        host = pair.sim.node(MASTER).address
        own = {"brokerIP1": "192.0.2.1", "brokerIP2": host, "haListenPort": "11000"}
        await pair.open(MASTER, **own)
        await pair.open(SLAVE)
        await pair.until(pair.is_following, 1)
        assert _addresses(pair, "master found") == [f"{host}:11000"]

    play(story)


# ---------------------------------------------------------------- tables, and who copies them


def count_requests(broker: Broker, codes: tuple[int, ...] = (21, 43, 201)) -> Counter[int]:
    """How often each of these tables is asked for from now on."""
    asked: Counter[int] = Counter()
    for code in codes:
        original = broker.server.processors[code]

        def process(request: Request, code: int = code, original: object = original) -> object:
            asked[code] += 1
            assert callable(original)
            return original(request)

        broker.server.processors[code] = process  # type: ignore[assignment]
    return asked


def test_a_master_asks_nobody_for_tables_also_when_it_was_a_slave_once() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        asked = count_requests(pair.master)
        await asyncio.sleep(14)
        assert asked == {21: 2, 43: 2, 201: 2}, "as a slave: after 3 s, then each 10 s"
        pair.sim.kill(NAMES)  # nobody tells it that it has no master any more
        await pair.sim.on(SLAVE, pair.slave.become(Role.ASYNC_MASTER, 0))
        asked.clear()
        await asyncio.sleep(25)
        assert not asked, f"a master asked another for its tables: {dict(asked)}"

    play(story)


def test_a_slave_that_is_told_its_own_address_as_the_masters_does_not_ask_itself() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        asked = count_requests(pair.slave)
        tables = pair.slave.part(SlaveSynchronize)
        tables.learn({"masterAddr": pair.slave.address})
        await pair.sim.on(SLAVE, tables.sync_all())
        assert not asked
        tables.learn({})
        await pair.sim.on(SLAVE, tables.sync_all())
        assert tables.master_address == "" and not asked, "without a master nobody is asked"

    play(story)


def test_a_table_that_arrives_when_its_asker_has_become_a_master_is_dropped() -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        await asyncio.sleep(4)
        pair.slow(500)
        tables, before = pair.slave.part(SlaveSynchronize), pair.slave.topics.encode()
        pair.master.server.processors[21] = lambda request: request.succeed(
            {}, b'{"dataVersion":{"counter":9,"timestamp":9},"topicConfigTable":{}}'
        )
        copying = pair.sim.start(pair.sim.on(SLAVE, tables.sync_all()), "copy")
        await asyncio.sleep(0.3)
        await pair.sim.on(SLAVE, pair.slave.become(Role.ASYNC_MASTER, 0))
        await copying
        assert pair.slave.topics.encode() == before, "a master's table was replaced by another's"

    play(story)


class Broken(ConfigManager):
    """A table of a later floor that cannot be read, in some way that nobody thought of."""

    path, sync_code = "config/broken.json", 10_043
    error: Exception

    def encode(self) -> str:
        return "{}"

    def decode(self, text: str) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, AttributeError, RecursionError])
def test_a_table_that_cannot_be_read_keeps_no_other_from_being_copied(error: type[Exception]) -> None:
    async def story(pair: Pair) -> None:
        await following(pair)
        broken = Broken(pair.slave.node)
        broken.error = error("of this shape")
        pair.slave.configs.insert(0, broken)
        pair.master.server.processors[10_043] = lambda request: request.succeed({}, b"{}")
        asked = count_requests(pair.master)
        await pair.sim.on(SLAVE, pair.slave.part(SlaveSynchronize).sync_all())
        assert pair.events("table not copied") == [
            f"{SLAVE} table not copied: {error.__name__}: {broken.error}"
        ]
        assert asked == {21: 1, 43: 1, 201: 1}

    play(story)
