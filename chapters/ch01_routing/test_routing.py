"""Chapter 1: where a broker is, who may say so, and for how long it is believed.

I1.1 A broker whose connection closes is in no route from that moment on.
I1.2 A broker that falls silent is in routes for 120 s after its last word, and at most a scan longer.
I1.3 A NameServer's answer depends on nothing but what brokers told it.
I1.4 A client that knows a route goes on without any NameServer.
I1.5 A NameServer that is away stops no broker and delays no other NameServer.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapters.ch01_routing.demo import Row, run
from chapters.ch01_routing.naive import CLOSED_MS, unanswered_sends
from chapters.story import BROKERS, january
from mq.routing import routecache, tables
from mq.routing.broker import Broker
from mq.routing.client import (
    ClientInstance,
    MessageQueue,
    Participant,
    create_topic,
    find_or_default,
    publish_queues,
    subscribe_queues,
)
from mq.routing.namesrv import NameServer
from mq.routing.periodic import Periodic
from mq.routing.registrar import REGISTER_TIMEOUT_MS
from mq.routing.route import BrokerData, QueueData, TopicRouteData
from mq.routing.routecache import NameServerChoice, RouteCache
from mq.routing.tables import BROKER_EXPIRY_MS, MasterOf, Registration, RouteTables
from mq.routing.topics import DataVersion, TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.errors import Unreachable
from mq.wire.rpc import Request

FLIGHTS = {"flights": TopicConfig("flights", 8, 8)}


def told(
    name: str = "LGA",
    broker_id: int = 0,
    address: str = "10.0.0.3:10911",
    version: int = 1,
    topics: dict[str, TopicConfig] | None = None,
    ha_address: str = "",
) -> Registration:
    every = FLIGHTS if topics is None else topics
    return Registration("NYC", name, broker_id, address, ha_address, DataVersion(0, version), every)


def names_in(route: TopicRouteData | None) -> list[str]:
    return [broker.broker_name for broker in route.brokers] if route is not None else []


# ---------------------------------------------------------------- the naive repair


def test_a_goodbye_alone_leaves_the_dead_in_the_route() -> None:
    """Stale route: LGA loses power at noon on the 30th, and 1,295 sends go to an address that is dead."""
    assert unanswered_sends(says_goodbye=True) == 0
    assert unanswered_sends(says_goodbye=False) == 1295
    assert sum(event.when_ms >= CLOSED_MS for event in january()) == 3839


def test_to_forget_the_silent_after_two_minutes_would_have_cost_two_sends() -> None:
    """120 s, a scan of 10 s and a poll of 30 s: the longest that a dead broker is believed."""
    assert unanswered_sends(says_goodbye=False, until_ms=CLOSED_MS + 160_000) == 2


# ---------------------------------------------------------------- the tables: plain objects, times given


def test_i1_1_a_closed_connection_takes_all_it_told_of_out_of_every_route() -> None:
    """I1.1, in the tables."""
    known, lga, jfk = RouteTables(), object(), object()
    known.register(told("LGA"), lga, 0)
    known.register(told("JFK", address="10.0.0.2:10911"), jfk, 0)
    assert [gone.broker_name for gone in known.closed(lga)] == ["LGA"]
    assert names_in(known.route("flights")) == ["JFK"]
    assert known.closed(lga) == []
    known.closed(jfk)
    assert (known.route("flights"), known.topics, known.brokers, known.clusters) == (None, {}, {}, {})


def test_i1_2_the_silent_are_believed_for_exactly_the_expiry() -> None:
    """I1.2, in the tables: at 120 s still believed, a millisecond later not. Any word counts anew."""
    known = RouteTables()
    known.register(told(), "connection", 1_000)
    known.register(told(), "connection", 5_000)
    assert known.expire(5_000 + BROKER_EXPIRY_MS) == []
    assert [gone.address for gone in known.expire(5_001 + BROKER_EXPIRY_MS)] == ["10.0.0.3:10911"]
    assert known.route("flights") is None


def test_a_master_tells_topics_when_they_change_and_a_slave_never() -> None:
    known = RouteTables()
    known.register(told(version=1), "a", 0)
    known.register(told(version=1, topics={"other": TopicConfig("other")}), "a", 0)
    assert known.topic_names() == ["flights"], "the same version is not looked at"
    known.register(told(version=2, topics={"other": TopicConfig("other")}), "a", 0)
    assert known.topic_names() == ["flights", "other"], "what is no longer told of stays"
    known.register(told(broker_id=1, address="10.0.0.9:1", topics={"slave": TopicConfig("slave")}), "b", 0)
    assert known.topic_names() == ["flights", "other"]


def test_a_slave_learns_where_its_master_is_and_outlives_it_in_routes() -> None:
    """Without a master nobody can publish; from a slave one can still read."""
    known = RouteTables()
    slave = told(broker_id=1, address="10.0.0.9:10911")
    assert known.register(slave, "slave", 0) == MasterOf()
    assert known.register(told(ha_address="10.0.0.3:10912"), "master", 0) == MasterOf()
    assert known.register(slave, "slave", 0) == MasterOf("10.0.0.3:10911", "10.0.0.3:10912")
    known.closed("master")
    route = known.route("flights")
    assert route is not None and route.brokers[0].addresses == {1: "10.0.0.9:10911"}
    assert publish_queues(route, "flights") == []
    assert subscribe_queues(route, "flights")[:2] == [
        MessageQueue("flights", "LGA", 0), MessageQueue("flights", "LGA", 1)
    ]  # fmt: skip


def test_a_slave_that_becomes_master_has_one_entry_and_its_topics_count() -> None:
    known = RouteTables()
    known.register(told(broker_id=1), "a", 0)
    assert known.route("flights") is None
    known.register(told(broker_id=0), "a", 0)
    assert known.brokers["LGA"].addresses == {0: "10.0.0.3:10911"}
    assert names_in(known.route("flights")) == ["LGA"]
    known.register(told(broker_id=1), "a", 0)
    assert known.brokers["LGA"].addresses == {1: "10.0.0.3:10911"}
    assert names_in(known.route("flights")) == ["LGA"], "its queues can still be read"


def test_a_name_that_moves_to_another_machine_is_not_lost_when_the_old_one_closes() -> None:
    """LGA moves: the old machine's connection, goodbye and silence mean nothing any more."""
    known = RouteTables()
    known.register(told(address="10.0.0.3:10911"), "old", 0)
    known.register(told(address="10.0.0.7:10911"), "new", 1)
    assert known.unregister("LGA", 0, "10.0.0.3:10911") is None
    assert (known.closed("old"), known.expire(BROKER_EXPIRY_MS)) == ([], [])
    route = known.route("flights")
    assert route is not None and route.brokers[0].addresses == {0: "10.0.0.7:10911"}


def test_an_address_that_takes_another_name_leaves_the_old_one() -> None:
    known = RouteTables()
    known.register(told("LGA"), "a", 0)
    known.register(told("JFK"), "a", 0)
    assert (list(known.brokers), names_in(known.route("flights"))) == (["JFK"], ["JFK"])


def test_a_broker_that_moves_to_another_cluster_is_in_one() -> None:
    known = RouteTables()
    known.register(told(), "a", 0)
    known.register(Registration("EAST", "LGA", 0, "10.0.0.3:10911"), "a", 0)
    assert known.clusters == {"EAST": {"LGA"}}


def test_a_route_that_was_given_out_does_not_change_afterwards() -> None:
    known = RouteTables()
    known.register(told(), "a", 0)
    before = known.route("flights")
    known.closed("a")
    assert before is not None and before.brokers[0].addresses == {0: "10.0.0.3:10911"}


def test_a_name_server_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BROKERS", 1)
    monkeypatch.setattr(tables, "MAX_TOPICS", 1)
    known = RouteTables()
    known.register(told(), "a", 0)
    known.register(told(), "a", 0)
    with pytest.raises(MQError, match="1 brokers are registered already"):
        known.register(told("JFK", address="10.0.0.2:10911"), "b", 0)
    with pytest.raises(MQError, match="LGA brings 1 new topics; at most 1 are kept"):
        known.register(told(version=2, topics={"other": TopicConfig("other")}), "a", 0)
    assert (list(known.live), known.topic_names()) == (["10.0.0.3:10911"], ["flights"])


registrations = st.builds(
    Registration,
    st.sampled_from(["NYC", "EAST"]),
    st.sampled_from(BROKERS),
    st.integers(0, 2),
    st.sampled_from(["a:1", "b:1", "c:1", "d:1"]),
    st.just("ha"),
    st.builds(DataVersion, st.just(0), st.integers(0, 2)),
    st.dictionaries(st.sampled_from("xyz"), st.just(TopicConfig("t", 4, 4)), max_size=3),
)
steps = st.one_of(
    st.tuples(st.just("register"), registrations, st.integers(0, 3)),
    st.tuples(st.just("unregister"), registrations, st.just(0)),
    st.tuples(st.just("closed"), st.none(), st.integers(0, 3)),
    st.tuples(st.just("expire"), st.none(), st.integers(0, 2 * BROKER_EXPIRY_MS)),
)


class Believed:
    """The plain twin: one list of who was told of; the newest word about a name or an address wins."""

    def __init__(self) -> None:
        self.entries: list[tuple[Registration, int, float]] = []

    def step(self, kind: str, what: Registration | None, number: int, now_ms: float) -> None:
        if kind == "closed":
            self.entries = [entry for entry in self.entries if entry[1] != number]
        elif kind == "expire":
            self.entries = [entry for entry in self.entries if entry[2] + BROKER_EXPIRY_MS >= now_ms]
        elif what is not None:
            self.entries = [each for each in self.entries if not self._gives_way(each[0], what, kind)]
            if kind == "register":
                self.entries.append((what, number, now_ms))

    def _gives_way(self, old: Registration, new: Registration, kind: str) -> bool:
        same_place = (old.broker_name, old.broker_id) == (new.broker_name, new.broker_id)
        same_address = old.address == new.address
        return same_place or same_address if kind == "register" else same_place and same_address

    @property
    def addresses(self) -> dict[str, dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        for each, _, _ in self.entries:
            found.setdefault(each.broker_name, {})[each.broker_id] = each.address
        return found


@given(st.lists(steps, max_size=30))
def test_whatever_happens_the_tables_agree_with_each_other(
    story: list[tuple[str, Registration | None, int]],
) -> None:
    """Who is in a route is alive, who is alive can be found, and nothing empty is kept."""
    known, believed, now_ms = RouteTables(), Believed(), 0.0
    for kind, what, number in story:
        if kind == "expire":
            now_ms += number
            known.expire(now_ms)
        elif kind == "closed":
            known.closed(number)
        elif what is not None and kind == "register":
            known.register(what, number, now_ms)
        elif what is not None:
            known.unregister(what.broker_name, what.broker_id, what.address)
        believed.step(kind, what, number, now_ms)
        assert {name: broker.addresses for name, broker in known.brokers.items()} == believed.addresses
        check_tables(known)


def check_tables(known: RouteTables) -> None:
    places = {at: (name, i) for name, each in known.brokers.items() for i, at in each.addresses.items()}
    assert places == {at: (live.broker_name, live.broker_id) for at, live in known.live.items()}
    assert all(known.topics.values()) and all(known.clusters.values())
    clusters: dict[str, set[str]] = {}
    for name, broker in known.brokers.items():
        clusters.setdefault(broker.cluster, set()).add(name)
    assert known.clusters == clusters
    for topic, queues in known.topics.items():
        assert set(queues) <= set(known.brokers)
        route = known.route(topic)
        assert route is not None and all(broker.addresses for broker in route.brokers)
        assert TopicRouteData.from_json(route.to_json()) == route


@given(st.permutations([(name, number) for name in BROKERS for number in (0, 1)]), st.randoms())
def test_i1_3_two_name_servers_that_were_told_the_same_answer_the_same_bytes(
    order: list[tuple[str, int]], random: Random
) -> None:
    """I1.3: neither the order in which brokers came, nor how often, shows in an answer."""
    one, other = RouteTables(), RouteTables()
    every = [told(name, number, f"{name}:{number}") for name, number in sorted(order)]
    shuffled = [told(name, number, f"{name}:{number}") for name, number in order]
    for known, registrations_ in ((one, every), (other, shuffled + random.choices(shuffled, k=3))):
        for each in registrations_:
            known.register(each, each.address, 0)
    first, second = one.route("flights"), other.route("flights")
    assert first is not None and second is not None and first.to_json() == second.to_json()


# ---------------------------------------------------------------- queues of a route


def test_a_producer_fills_writable_queues_of_masters_and_consumers_share_readable_ones() -> None:
    """A topic shrinks by lowering the number of writable queues first: the others are still read."""
    route = TopicRouteData(
        [QueueData("EWR", 3, 2, 6), QueueData("JFK", 1, 1, 4), QueueData("LGA", 1, 1, 2)],
        [BrokerData("NYC", name, {0: f"{name}:1"}) for name in BROKERS],
    )
    assert [f"{q.broker_name}/{q.queue_id}" for q in publish_queues(route, "t")] == [
        "EWR/0",
        "EWR/1",
        "LGA/0",
    ]
    shared = [f"{q.broker_name}/{q.queue_id}" for q in subscribe_queues(route, "t")]
    assert shared == ["EWR/0", "EWR/1", "EWR/2", "JFK/0"]


# ---------------------------------------------------------------- which NameServer to ask


def test_a_client_starts_anywhere_sticks_to_it_and_goes_on_when_it_fails() -> None:
    starts = {NameServerChoice(["a", "b", "c"], Random(seed)).current for seed in range(20)}
    assert starts == {"a", "b", "c"}
    choice = NameServerChoice(["a", "b", "c"], Random(1))
    first = choice.current
    assert choice.current == first, "it sticks"
    choice.failed(first)
    second = choice.current
    choice.failed(first)
    assert choice.current == second != first, "news of an old failure comes too late"
    choice.failed(second)
    choice.failed(choice.current)
    assert choice.current == first, "all were tried in turn"


def test_without_a_name_server_a_client_says_what_to_configure() -> None:
    with pytest.raises(MQError, match="namesrvAddr = host:port;host:port"):
        _ = NameServerChoice([], Random(1)).current


# ---------------------------------------------------------------- in virtual time, with the real periods


class World:
    """NameServers ns1 .. nsN, brokers of New York and one gate, in the simulator."""

    def __init__(self, sim: Simulation, name_servers: int = 2) -> None:
        self.sim = sim
        self.servers = [build_namesrv(sim.node(f"ns{n + 1}")) for n in range(name_servers)]
        self.addresses = ";".join(server.address for server in self.servers)
        self.brokers: dict[str, Broker] = {}
        self.gate = ClientInstance(sim.node("gate"), self.addresses)

    async def open(self, *names: str) -> None:
        for server in self.servers:
            await self.sim.on(server.node.name, server.start())
        for name in names:
            await self.start_broker(name)
            config = TopicConfig("flights", 8, 8)
            await self.sim.on("gate", create_topic(self.gate, self.brokers[name].address, config))

    async def start_broker(self, name: str, namesrv_addr: str | None = None) -> Broker:
        addresses = self.addresses if namesrv_addr is None else namesrv_addr
        properties = {"brokerName": name, "namesrvAddr": addresses}
        broker = self.brokers[name] = build_broker(self.sim.node(name), properties, chapter=1)
        await self.sim.on(name, broker.start())
        return broker

    def known_by(self, server: NameServer) -> list[str]:
        return names_in(server.tables.route("flights"))

    async def first_time(self, seen: Callable[[], bool], within_s: float) -> float:
        """When `seen` becomes true, in virtual seconds to 10 ms; fails when it does not."""
        until = self.sim.loop.time() + within_s
        while not seen():
            assert self.sim.loop.time() < until, f"not seen within {within_s} s"
            await asyncio.sleep(0.01)
        return self.sim.loop.time()


@pytest.fixture(name="world")
def _world() -> Iterator[World]:
    with Simulation(seed=13) as sim:
        yield World(sim)
        assert sim.failures == []


def test_i1_1_a_broker_whose_process_dies_is_in_no_route_a_moment_later(world: World) -> None:
    """I1.1: the dead process's system closes its connection, which is news, and it travels at once."""

    async def story() -> None:
        await world.open(*BROKERS)
        await asyncio.sleep(77)
        world.sim.kill("LGA")
        await asyncio.sleep(0.01)
        for server in world.servers:
            assert world.known_by(server) == ["EWR", "JFK"]

    world.sim.run(story)


def test_i1_2_a_broker_without_power_is_in_routes_for_120_s_after_its_last_word(world: World) -> None:
    """I1.2: not before, and at most one scan of 10 s after."""

    async def story() -> None:
        await world.open(*BROKERS)
        await asyncio.sleep(77)
        world.sim.kill("LGA", "power")
        address = world.brokers["LGA"].address
        last_words_s = [server.tables.live[address].told_ms / 1000 for server in world.servers]
        assert last_words_s == pytest.approx([70, 70], abs=0.1), "it registers at 0, 10, 40, 70 s"
        for server, last_word_s in zip(world.servers, last_words_s, strict=True):
            gone_s = await world.first_time(lambda tables=server.tables: address not in tables.live, 200)  # type: ignore[misc]
            assert 120 <= gone_s - last_word_s <= 130
            assert world.known_by(server) == ["EWR", "JFK"]

    world.sim.run(story)


def test_i1_2_a_broker_that_talks_but_never_says_who_it_is_goes_with_the_scan(world: World) -> None:
    """I1.2: its connection is not idle, so only the scan can know. It is closed, too."""

    async def story() -> None:
        await world.open("LGA")
        server, broker = world.servers[0], world.brokers["LGA"]
        told_ms = server.tables.live[broker.address].told_ms
        server.server.processors[103] = Request.succeed
        gone_s = await world.first_time(lambda: not server.tables.live, 200)
        assert 120 <= gone_s - told_ms / 1000 <= 130
        gone = [event for event in world.sim.events if event.kind == "broker gone"]
        assert [event.cause for event in gone] == ["silent for 120 s"]
        connections = server.server.connections.values()
        await asyncio.sleep(0.01)
        assert [each for each in connections if each.peer.startswith(broker.node.address)] == []

    world.sim.run(story)


def test_a_broker_that_registers_stays_and_the_scan_leaves_it_alone(world: World) -> None:
    async def story() -> None:
        await world.open("LGA")
        await asyncio.sleep(3600)
        assert all(world.known_by(server) == ["LGA"] for server in world.servers)
        assert [event for event in world.sim.events if event.kind == "broker gone"] == []

    world.sim.run(story)


def test_an_orderly_stop_is_known_at_once_and_is_called_a_goodbye(world: World) -> None:
    async def story() -> None:
        await world.open(*BROKERS)
        await world.sim.on("LGA", world.brokers["LGA"].stop())
        assert all(world.known_by(server) == ["EWR", "JFK"] for server in world.servers)
        gone = [event.cause for event in world.sim.events if event.kind == "broker gone"]
        assert gone == ["it said goodbye"] * 2

    world.sim.run(story)


@pytest.mark.parametrize(("death", "periods"), [("process", 1), ("power", 2)])
def test_i1_3_a_name_server_that_lost_everything_soon_knows_it_again(
    world: World, death: str, periods: int
) -> None:
    """I1.3: nothing is written down, and nothing needs to be: brokers say it again within 30 s.

    After a loss of power it takes two periods: nobody told the brokers that their connections are dead, so
    their next word is lost on finding out.
    """

    async def story() -> None:
        await world.open(*BROKERS)
        before = world.servers[0].tables.route("flights")
        await asyncio.sleep(41)
        world.sim.kill("ns1", death)
        await asyncio.sleep(1)
        server = world.servers[0] = build_namesrv(world.sim.restart("ns1"))
        started_s = world.sim.loop.time()
        await world.sim.on("ns1", server.start())
        assert server.tables.topics == {}
        full_s = await world.first_time(lambda: server.tables.route("flights") == before, 100)
        assert 30 * (periods - 1) < full_s - started_s <= 30.1 * periods
        assert world.sim.node("ns1").disk.list("") == []

    world.sim.run(story)


def test_i1_3_a_name_server_does_not_know_what_only_another_was_told(world: World) -> None:
    """I1.3: two NameServers never speak to each other, for better and for worse."""

    async def story() -> None:
        await world.open("EWR")
        await world.start_broker("JFK", world.servers[1].address)
        await asyncio.sleep(600)
        assert [sorted(server.tables.brokers) for server in world.servers] == [["EWR"], ["EWR", "JFK"]]

    world.sim.run(story)


def test_i1_4_a_client_that_knows_a_route_goes_on_without_any_name_server(world: World) -> None:
    """I1.4: for an hour, with poll after poll unanswered. Only what it never asked for it cannot learn."""

    async def story() -> None:
        await world.open(*BROKERS)
        gate, sim = world.gate, world.sim
        await sim.on("gate", gate.start())
        route = await sim.on("gate", gate.routes.find("flights"))
        for name, death in (("ns1", "process"), ("ns2", "power")):
            sim.kill(name, death)
        await asyncio.sleep(3600)
        assert await sim.on("gate", gate.routes.find("flights")) is route
        assert len(publish_queues(route, "flights")) == 24
        address = gate.routes.broker_address("LGA")
        assert address == world.brokers["LGA"].address
        await sim.on("gate", create_topic(gate, address, TopicConfig("gates")))
        with pytest.raises(Unreachable):
            await sim.on("gate", gate.routes.find("gates"))
        await sim.on("gate", gate.stop())

    world.sim.run(story)


def test_i1_4_a_name_server_that_has_forgotten_a_topic_takes_it_from_nobody(world: World) -> None:
    """I1.4: code 17 to a poll changes nothing; the route is news again when a broker is back."""

    async def story() -> None:
        await world.open("LGA")
        await world.sim.on("gate", world.gate.start())
        route = await world.sim.on("gate", world.gate.routes.find("flights"))
        world.sim.kill("LGA")
        await asyncio.sleep(100)
        assert world.known_by(world.servers[0]) == []
        assert world.gate.routes.cached("flights") == route
        world.sim.restart("LGA")
        await world.start_broker("LGA")
        await asyncio.sleep(31)
        assert world.gate.routes.cached("flights") == route
        await world.sim.on("gate", world.gate.stop())

    world.sim.run(story)


def test_a_client_learns_within_one_poll_that_a_broker_has_gone(world: World) -> None:
    async def story() -> None:
        await world.open(*BROKERS)
        sim, gate = world.sim, world.gate
        await sim.on("gate", gate.start())
        await sim.on("gate", gate.routes.find("flights"))
        await asyncio.sleep(50)
        sim.kill("LGA")
        killed_s = sim.loop.time()
        knew_s = await world.first_time(lambda: gate.routes.broker_address("LGA") is None, 31)
        assert 0 < knew_s - killed_s <= 30.1
        await sim.on("gate", gate.stop())

    world.sim.run(story)


def test_i1_5_a_broker_starts_and_serves_while_every_name_server_is_away(world: World) -> None:
    """I1.5: it says so once, and tells them all within a period of their coming back."""

    async def story() -> None:
        world.sim.kill("ns1", "power")
        sim = world.sim
        broker = await world.start_broker("LGA")
        assert sim.loop.time() < (REGISTER_TIMEOUT_MS + 3_000) / 1000
        await sim.on("gate", create_topic(world.gate, broker.address, TopicConfig("flights", 8, 8)))
        assert broker.topics.find("flights") is not None
        await asyncio.sleep(300)
        said = [event for event in sim.events if event.kind == "not registered"]
        assert [dict(event.fields)["namesrv"] for event in said] == ["10.0.0.2:9876", "10.0.0.1:9876"]
        await sim.on("ns2", world.servers[1].start())
        await asyncio.sleep(30.1)
        assert world.known_by(world.servers[1]) == ["LGA"]
        await sim.on("LGA", broker.stop())

    world.sim.run(story)


def test_i1_5_a_name_server_that_is_silent_delays_no_other(world: World) -> None:
    """I1.5: every call to the silent one takes seconds; the other hears of a topic in milliseconds."""

    async def story() -> None:
        await world.open("LGA")
        world.sim.kill("ns1", "power")
        for number in range(5):
            await asyncio.sleep(7)
            await world.sim.on("LGA", put(world.brokers["LGA"], f"t{number}"))
            await asyncio.sleep(0.01)
            assert f"t{number}" in world.servers[1].tables.topics
        live = world.servers[1].tables.live[world.brokers["LGA"].address]
        assert world.sim.loop.time() * 1000 - live.told_ms < 20

    world.sim.run(story)


async def put(broker: Broker, *topics: str) -> None:
    for topic in topics:
        broker.topics.put(TopicConfig(topic))


def test_a_hundred_new_topics_are_told_in_few_words(world: World) -> None:
    """What changes while a registration runs is told together when it ends."""

    async def story() -> None:
        await world.open("LGA")
        server, heard = world.servers[0], list[int]()
        register = server.server.processors[103]

        def count(request: Request) -> Any:
            heard.append(len(request.body))
            return register(request)

        server.server.processors[103] = count
        await world.sim.on("LGA", put(world.brokers["LGA"], *[f"t{n}" for n in range(100)]))
        await asyncio.sleep(1)
        assert len(server.tables.topics) == 100 + 9
        assert 1 <= len(heard) <= 2

    world.sim.run(story)


def test_what_changes_while_a_registration_runs_is_told_when_it_ends(world: World) -> None:
    async def story() -> None:
        await world.open("LGA")
        await world.sim.on("LGA", put(world.brokers["LGA"], "first"))
        await asyncio.sleep(0.0001)  # no link is faster: the answer cannot be there yet
        await world.sim.on("LGA", put(world.brokers["LGA"], "second"))
        await asyncio.sleep(0.1)
        for server in world.servers:
            assert {"first", "second"} <= set(server.tables.topics)

    world.sim.run(story)


def test_a_topic_is_created_in_a_second_though_a_name_server_is_silent_and_that_one_is_still_told(
    world: World,
) -> None:
    """Whoever stops waiting for a registration does not stop the registration."""

    async def story() -> None:
        await world.open("LGA")
        world.sim.kill("ns1", "power")
        before_s = world.sim.loop.time()
        config = TopicConfig("gates")
        await world.sim.on("gate", create_topic(world.gate, world.brokers["LGA"].address, config))
        assert 1 <= world.sim.loop.time() - before_s < 1.1
        await asyncio.sleep(REGISTER_TIMEOUT_MS / 1000)
        said = [event for event in world.sim.events if event.kind == "not registered"]
        assert [event.cause for event in said] == ["10.0.0.1:9876 did not answer REGISTER_BROKER in time"]

    world.sim.run(story)


def test_a_job_that_takes_longer_than_its_period_is_not_run_twice_at_a_time() -> None:
    """And one that fails is run again: here the second."""
    with Simulation(seed=1) as sim:
        starts = list[float]()

        async def job() -> None:
            starts.append(round(sim.loop.time()))
            await asyncio.sleep(25)
            if len(starts) == 2:
                raise MQError("failed")

        periodic = Periodic(sim.node("a"), "job", 1_000, 10_000, job)
        sim.node("a").call_soon(periodic.start)
        sim.run(asyncio.sleep(70))
        periodic.stop()
        sim.run(asyncio.sleep(100))
        assert starts == [1, 31, 61]
        assert [str(error) for _, _, error in sim.failures] == ["failed"]


def test_a_broker_without_write_permission_offers_its_topics_for_reading_alone(world: World) -> None:
    async def story() -> None:
        await world.open()
        properties = {"brokerName": "LGA", "namesrvAddr": world.addresses, "brokerPermission": "4"}
        broker = build_broker(world.sim.node("LGA"), properties, chapter=1)
        await world.sim.on("LGA", broker.start())
        route = await world.sim.on("gate", world.gate.routes.find("BenchmarkTest"))
        assert publish_queues(route, "t") == [] and len(subscribe_queues(route, "t")) == 1024

    world.sim.run(story)


def test_seams_of_the_registrar_write_into_the_question_and_read_the_answer(world: World) -> None:
    async def story() -> None:
        await world.open()
        sim, answers = world.sim, list[dict[str, str]]()
        master = build_broker(
            sim.node("LGA"), {"brokerName": "LGA", "namesrvAddr": world.addresses}, chapter=1
        )
        master.registrar.contribute.append(lambda fields: fields.update(haServerAddr="10.0.0.4:10912"))
        await sim.on("LGA", master.start())
        properties = {
            "brokerName": "LGA",
            "namesrvAddr": world.addresses,
            "brokerRole": "SLAVE",
            "brokerId": "1",
        }
        slave = build_broker(sim.node("LGA-1"), properties, chapter=1)
        slave.registrar.answered.append(answers.append)
        await sim.on("LGA-1", slave.start())
        expected = {"haServerAddr": "10.0.0.4:10912", "masterAddr": master.address}
        assert answers == [expected, expected], "one answer from each NameServer"

    world.sim.run(story)


# ---------------------------------------------------------------- the client's cache


class Consumer(Participant):
    """Takes part, and notes what it is told."""

    def __init__(self, group: str, kind: str = "consumerDataSet") -> None:
        self.group, self.kind, self.log = group, kind, list[str]()

    def topics(self) -> tuple[str, ...]:
        return ("flights",)

    def heartbeat(self, data: dict[str, Any]) -> None:
        data[self.kind].append({"groupName": self.group})

    def route_changed(self, topic: str) -> None:
        self.log.append(topic)

    async def start(self) -> None:
        self.log.append("start")

    async def stop(self) -> None:
        self.log.append("stop")


def test_two_that_meet_a_new_topic_ask_once(world: World) -> None:
    async def story() -> None:
        await world.open("LGA")
        asked = list[str]()

        def ask(request: Request) -> None:
            asked.append(request.ext_fields["topic"])

        for server in world.servers:
            server.server.reject(105, ask)
        routes = world.gate.routes

        async def both() -> list[TopicRouteData]:
            return list(await asyncio.gather(routes.find("flights"), routes.find("flights")))

        first, second = await world.sim.on("gate", both())
        assert first is second and asked == ["flights"]

    world.sim.run(story)


def test_a_topic_that_nobody_knows_is_an_error_with_code_17_or_borrows_its_templates_route(
    world: World,
) -> None:
    """The borrowed route stays until the topic exists: then a poll brings the real one."""

    async def story() -> None:
        await world.open("LGA")
        sim, gate = world.sim, world.gate
        with pytest.raises(MQError, match="No topic route info in name server for the topic: new") as caught:
            await sim.on("gate", gate.routes.find("new"))
        assert caught.value.response_code == 17
        route = await sim.on("gate", find_or_default(gate.routes, "new", "TBW102", 4))
        assert len(publish_queues(route, "new")) == 4
        await sim.on("gate", gate.start())
        await asyncio.sleep(1)
        assert gate.routes.cached("new") is route
        await sim.on("gate", create_topic(gate, world.brokers["LGA"].address, TopicConfig("new", 2, 2)))
        await asyncio.sleep(31)
        known = gate.routes.cached("new")
        assert known is not None and len(publish_queues(known, "new")) == 2
        await sim.on("gate", gate.stop())

    world.sim.run(story)


def test_the_cache_forgets_the_oldest_when_it_is_full(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(routecache, "MAX_ROUTES", 2)
    routes = RouteCache(world.gate.rpc, NameServerChoice([], Random(1)))
    for name in BROKERS:
        routes.learn(name, TopicRouteData([], [BrokerData("NYC", name, {0: f"{name}:1"})]))
    assert routes.topics() == ["JFK", "LGA"]
    assert (routes.broker_address("EWR"), routes.broker_address("LGA")) == (None, "LGA:1")


def test_participants_start_with_the_instance_hear_of_routes_and_stop_last_first(world: World) -> None:
    async def story() -> None:
        await world.open("LGA")
        sim, gate, one, late = world.sim, world.gate, Consumer("one"), Consumer("late")
        await gate.add(one)
        assert one.log == []
        await sim.on("gate", gate.start())
        await asyncio.sleep(1)
        assert one.log == ["start", "flights"], "its topic was asked for without a word from it"
        await sim.on("gate", gate.add(late))
        assert late.log == ["start"]
        await sim.on("gate", gate.stop())
        assert (one.log[-1], late.log[-1]) == ("stop", "stop")

    world.sim.run(story)


def test_heartbeats_go_to_masters_and_to_slaves_only_when_somebody_consumes(world: World) -> None:
    """Every 30 s, and out of turn when asked; nobody beats for nobody."""

    async def story() -> None:
        await world.open("LGA")
        sim, gate, beats = world.sim, world.gate, list[tuple[str, Any]]()
        properties = {
            "brokerName": "LGA",
            "namesrvAddr": world.addresses,
            "brokerRole": "SLAVE",
            "brokerId": "1",
        }
        slave = build_broker(sim.node("LGA-1"), properties, chapter=1)
        await sim.on("LGA-1", slave.start())
        for broker in (world.brokers["LGA"], slave):
            broker.server.processors[34] = noting(beats, broker.node.name)
        await sim.on("gate", gate.start())
        await sim.on("gate", gate.routes.find("flights"))
        await asyncio.sleep(40)
        assert beats == []
        await gate.add(Consumer("PG", "producerDataSet"))
        await asyncio.sleep(30)
        assert [name for name, _ in beats] == ["LGA"]
        await gate.add(Consumer("CG"))
        sim.node("gate").call_soon(gate.heartbeat_soon)
        await asyncio.sleep(0.1)
        assert sorted(name for name, _ in beats) == ["LGA", "LGA", "LGA-1"]
        expected = {"clientID": gate.client_id, "consumerDataSet": [{"groupName": "CG"}]}
        assert beats[-1][1] == {**expected, "producerDataSet": [{"groupName": "PG"}]}
        await sim.on("gate", gate.stop())

    world.sim.run(story)


def noting(beats: list[tuple[str, Any]], name: str) -> Callable[[Request], None]:
    def note(request: Request) -> None:
        beats.append((name, json.loads(request.body)))
        request.succeed()

    return note


# ---------------------------------------------------------------- the demonstration, and the real world


def test_the_demonstration_shows_both_deaths() -> None:
    def seconds(rows: list[Row]) -> list[int]:
        return [round(row.at_s) for row in rows]

    assert (seconds(run("reset")), seconds(run("silence"))) == ([0, 100, 120], [0, 100, 190, 210])


def test_over_real_sockets_a_gate_finds_a_broker_and_misses_it_when_it_goes(tmp_path: Path) -> None:
    async def story() -> None:
        nodes = {name: RealNode(name, str(tmp_path / name)) for name in ("namesrv", "LGA", "gate")}
        server = build_namesrv(nodes["namesrv"], {"listenPort": "0"})
        await server.start()
        properties = {"brokerName": "LGA", "listenPort": "0", "namesrvAddr": server.address}
        broker = build_broker(nodes["LGA"], properties, chapter=1)
        await broker.start()
        gate = ClientInstance(nodes["gate"], server.address)
        await gate.start()
        await create_topic(gate, broker.address, TopicConfig("flights", 8, 8))
        route = await gate.routes.find("flights")
        assert gate.routes.broker_address("LGA") == broker.address and len(route.queues) == 1
        await broker.stop()
        with pytest.raises(MQError) as caught:
            await gate.routes.refresh("flights")
        assert caught.value.response_code == 17 and gate.routes.cached("flights") is route
        await gate.stop()
        await server.stop()
        for node in nodes.values():
            node.real_disk.close()

    asyncio.run(story())
