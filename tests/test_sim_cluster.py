"""Clusters: each fault does what it says, a fault without effect says so, and what never comes is named."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mq.commitlog.client import Producer
from mq.commitlog.message import Message
from mq.commitlog.store import MessageStore
from mq.routing.client import ClientInstance, create_topic
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.cluster import Cluster
from mq.sim.life import NodeDied
from mq.sim.loop import Deadlock
from mq.sim.scenario import Fault, ScenarioError

Work = Callable[[Cluster], Coroutine[Any, Any, None]]


def play(work: Work, *texts: str, seed: int = 1, flush: str = "SYNC_FLUSH") -> Cluster:
    """A NameServer n, a broker a, a client c; these faults; this driver."""
    with Cluster(seed) as cluster:
        cluster.add_namesrv("n")
        cluster.add_broker("a", 3, flushDiskType=flush)
        cluster.add_client("c")

        async def main() -> None:
            await cluster.start()
            cluster.plan([Fault.parse(text) for text in texts])
            await work(cluster)

        cluster.run(main())
    return cluster


def kinds(cluster: Cluster, *wanted: str) -> list[str]:
    return [event.text().split(maxsplit=1)[1] for event in cluster.sim.events if event.kind in wanted]


async def send(cluster: Cluster, count: int = 1) -> list[str]:
    """Send; the status of each, or the error's first words."""
    instance = cluster.client("c")
    told: list[str] = []

    async def work() -> None:
        producer = Producer(instance, "p")
        producer.retry_times = 0
        if instance.routes.cached("t") is None:
            await create_topic(instance, "10.0.0.2:10911", TopicConfig("t", 1, 1))
        for _ in range(count):
            try:
                told.append((await producer.send(Message("t", b"x" * 2_000))).status.name)
            except MQError as error:
                told.append(error.remark)

    await cluster.sim.on("c", work())
    return told


def test_a_cluster_starts_all_that_was_added_and_finds_each_by_name() -> None:
    async def work(cluster: Cluster) -> None:
        assert cluster.broker("a").is_master
        assert cluster.namesrv("n").tables.brokers.keys() == {"a"}
        assert isinstance(cluster.client("c"), ClientInstance)
        assert await send(cluster, 3) == ["SEND_OK"] * 3
        with pytest.raises(LookupError, match="no NameServer runs on a"):
            cluster.namesrv("a")
        with pytest.raises(ScenarioError, match="there is no machine 'z' here; there are n, a, c"):
            cluster.broker("z")

    play(work)


def test_a_restart_is_a_new_life_on_the_same_disk() -> None:
    async def work(cluster: Cluster) -> None:
        await send(cluster, 3)
        before, end = cluster.broker("a"), cluster.broker("a").part(MessageStore).log.written_to
        cluster.kill("a", "power")
        with pytest.raises(LookupError, match="no Broker runs on a"):
            cluster.broker("a")
        await cluster.restart("a")
        assert cluster.broker("a") is not before
        assert cluster.broker("a").part(MessageStore).log.written_to == end

    play(work)


def test_a_destroyed_disk_comes_back_empty() -> None:
    async def work(cluster: Cluster) -> None:
        await send(cluster, 3)
        cluster.apply(Fault.of(0, "destroy", "a"))
        await cluster.calm()
        assert not cluster.is_alive("a"), "calm leaves it away"
        await cluster.restart("a")
        assert cluster.broker("a").part(MessageStore).log.written_to == 0

    play(work)


def test_faults_happen_at_their_time_and_each_stands_in_the_journal() -> None:
    async def work(cluster: Cluster) -> None:
        await asyncio.sleep(3)

    cluster = play(work, "1000:kill=a/power", "2000:restart=a")
    assert [
        (event.time_ms, event.kind) for event in cluster.sim.events if event.kind in ("killed", "started")
    ] == [
        (1000.0, "killed"),
        (2000.0, "started"),
    ]
    assert kinds(cluster, "fault") == [
        "driver     fault fault=1000:kill=a/power",
        "driver     fault fault=2000:restart=a",
    ]


def test_a_fault_that_has_nothing_to_do_does_nothing_and_says_so() -> None:
    async def work(cluster: Cluster) -> None:
        await asyncio.sleep(5)
        assert cluster.is_alive("a")

    cluster = play(work, "1000:restart=a", "2000:kill=a", "2500:kill=a", "3000:restart=a")
    assert kinds(cluster, "fault without effect") == [
        "driver     fault without effect fault=1000:restart=a because a is alive",
        "driver     fault without effect fault=2500:kill=a/process because a is dead already",
    ]


def test_a_dead_process_can_still_lose_its_power() -> None:
    async def work(cluster: Cluster) -> None:
        await asyncio.sleep(3)

    cluster = play(work, "1000:kill=a", "2000:kill=a/power")
    assert len(kinds(cluster, "power lost")) == 1


def test_a_fault_for_a_machine_that_is_not_there_is_refused_before_anything_happens() -> None:
    async def work(cluster: Cluster) -> None:
        raise AssertionError("the plan must have been refused")

    with pytest.raises(ScenarioError, match="there is no machine 'z' here"):
        play(work, "1000:kill=z")


def test_a_crash_point_kills_at_the_disk_call_that_it_names_and_the_run_goes_on() -> None:
    async def work(cluster: Cluster) -> None:
        await asyncio.sleep(0.2)
        with pytest.raises(NodeDied):
            await cluster.sim.on("a", cluster.broker("a").part(MessageStore).node.sleep_ms(600_000))
        await asyncio.sleep(100)

    cluster = play(work, "100:crash=a/process/after/1")
    (point,) = kinds(cluster, "crash point")
    assert point.startswith("driver     crash point at=after ")
    assert cluster.sim.crashed is None, "this is no enumeration: the run is not cut short"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("slow=a/6000", "did not answer SEND_MESSAGE_V2 in time"),
        ("full=a/0", "the disk refused the write: No space left on device"),
        ("readonly=a", "the disk refused the write: Read-only file system"),
        ("fail=a/sync/1", "FLUSH_DISK_TIMEOUT"),
        ("fail=a/write_at/1", "the disk refused the write: Input/output error"),
    ],
)
def test_a_sick_disk_is_felt_by_senders_and_after_mending_and_a_restart_no_more(
    fault: str, told: str
) -> None:
    async def work(cluster: Cluster) -> None:
        assert await send(cluster) == ["SEND_OK"]
        cluster.apply(Fault.parse(f"0:{fault}"))
        (sick,) = await send(cluster)
        assert told in sick
        cluster.apply(Fault.parse("0:mend=a"))
        cluster.kill("a")  # what failed to write may have poisoned the store: only a restart clears that
        await cluster.restart("a")
        await asyncio.sleep(10)
        assert await send(cluster) == ["SEND_OK"]

    play(work)


def test_trouble_with_a_disk_outlives_the_process() -> None:
    async def work(cluster: Cluster) -> None:
        cluster.apply(Fault.parse("0:readonly=a"))
        cluster.kill("a")
        await cluster.restart("a")
        assert not cluster.is_alive("a")
        assert "Read-only file system" in cluster.member("a").refusal
        await cluster.calm()
        assert cluster.broker("a").is_master

    play(work)


def test_a_cut_and_a_heal_name_one_way_both_ways_or_everybody() -> None:
    async def work(cluster: Cluster) -> None:
        def cut() -> set[tuple[str, str]]:
            names = list(cluster.members)
            ways = [(one, other) for one in names for other in names if one != other]
            links = {
                way: cluster.sim.network.link(*[cluster.member(name).address for name in way]) for way in ways
            }
            return {way for way, link in links.items() if link.is_cut}

        for text, expected in (
            ("cut=a>c", {("a", "c")}),
            ("cut=a<>c", {("a", "c"), ("c", "a")}),
            ("cut=a>*", {("a", "c"), ("a", "n")}),
            ("cut=*>a", {("n", "a"), ("c", "a")}),
            ("cut=*<>*", {(x, y) for x in "nac" for y in "nac" if x != y}),
        ):
            cluster.apply(Fault.parse(f"0:{text}"))
            assert cut() == expected
            cluster.apply(Fault.parse(f"0:{text.replace('cut', 'heal')}"))
            assert cut() == set()

    play(work)


def test_delay_and_reset_reach_the_connections_of_their_link() -> None:
    async def work(cluster: Cluster) -> None:
        await send(cluster)
        began = cluster.now_ms
        cluster.apply(Fault.parse("0:delay=a<>c/100"))
        await send(cluster)
        assert cluster.now_ms - began > 200, "100 ms each way"
        cluster.apply(Fault.parse("0:heal=a<>c"))
        cluster.apply(Fault.parse("0:reset=a<>c"))
        await asyncio.sleep(1)

    cluster = play(work)
    assert any("because the network" in line for line in kinds(cluster, "reset"))


def test_a_clock_jump_moves_the_wall_clock_of_one_machine() -> None:
    async def work(cluster: Cluster) -> None:
        nodes = [cluster.sim.node(name) for name in "an"]
        before = [node.wall_ms() for node in nodes]
        cluster.apply(Fault.parse("0:clock=a/-3600000"))
        assert [node.wall_ms() for node in nodes] == [before[0] - 3_600_000, before[1]]

    play(work)


def test_what_never_comes_is_named_with_all_who_wait() -> None:
    async def work(cluster: Cluster) -> None:
        cluster.sim.start(asyncio.Event().wait(), "the bride")
        await cluster.until(lambda: False, "the wedding", limit_s=5)

    with pytest.raises(
        Deadlock, match=r"the wedding: waited for in vain for 5 s; these wait:\n(.*\n)*.*the bride"
    ):
        play(work)


def test_a_task_that_waits_for_another_is_shown_with_its_name() -> None:
    async def work(cluster: Cluster) -> None:
        stuck = cluster.sim.start(asyncio.Event().wait(), "stuck")

        async def wait() -> None:
            await stuck

        cluster.sim.start(wait(), "patient")
        await cluster.until(lambda: False, "nothing", limit_s=1)

    with pytest.raises(Deadlock, match=r"patient on driver at .* > task stuck"):
        play(work)


def test_a_broker_that_cannot_start_although_all_is_well_is_told_of() -> None:
    def spoil(part: object) -> None:
        raise MQError("somebody broke me")

    async def work(cluster: Cluster) -> None:
        cluster.member("a").alter.append(spoil)
        cluster.kill("a")
        with pytest.raises(MQError, match="broker a does not start again: somebody broke me"):
            await cluster.calm()

    play(work)
