"""Stories: the runs that have a name · depth

What always holds: a story's machines have short names: n for NameServers, a and b for brokers, c for clients.
A story's own faults come from its seed alone, so `mixed seed=7` is one run for ever.
"""

import asyncio
from collections.abc import Sequence
from random import Random

from mq.routing.client import ClientInstance
from mq.runtime.errors import MQError
from mq.sim.audit import keep_disks, watch_routes
from mq.sim.history import View
from mq.sim.scenario import Fault, ScenarioError
from mq.sim.storms import LOAD_ENDS_MS, Losses, Storm
from mq.sim.story import TOPIC, Stage, Story

CHAPTER, PAIR_CHAPTER = 3, 4
WATCH_MS = 100
LOAD_MS = 12_000
LOOKED_AT_MS, LOOK_MS = 12_000, 250
FLUSHES = ("ASYNC_FLUSH", "SYNC_FLUSH")

# ---------------------------------------------------------------- one broker, and the power


def _lone(flush: str) -> Story:
    def build(stage: Stage) -> None:
        stage.cluster.history.flush = flush
        stage.cluster.add_namesrv("n")
        stage.cluster.add_broker("a", CHAPTER, flushDiskType=flush)
        stage.add_load("c", LOAD_MS, gap_ms=60)

    def faults(draw: Random) -> Sequence[Fault]:
        down_ms = draw.randrange(2_000, 9_000)
        return [Fault.of(down_ms, "kill", "a", "power"), Fault.of(down_ms + 1_500, "restart", "a")]

    name = f"lone-{flush.partition('_')[0].lower()}"
    return Story(name, f"one broker under {flush} loses its power and returns", build, faults, LOAD_MS)


def _looked_at() -> Story:
    """What had vanished and is there again can only be seen by who looks in between."""

    def build(stage: Stage) -> None:
        stage.cluster.history.flush = "SYNC_FLUSH"
        stage.cluster.add_namesrv("n")
        stage.cluster.add_broker("a", CHAPTER, flushDiskType="SYNC_FLUSH")
        stage.add_load("c", LOOKED_AT_MS // 3, gap_ms=60)

    def faults(draw: Random) -> Sequence[Fault]:
        at_ms = [LOOKED_AT_MS // 2 + place * 1_000 + draw.randrange(400) for place in range(4)]
        kinds = ("kill", "restart", "kill", "restart")
        return [Fault.of(*when) for when in zip(at_ms, kinds, "aaaa", strict=True)]

    async def play(stage: Stage) -> None:
        while stage.cluster.now_ms < LOOKED_AT_MS:
            if all(broker.is_open for broker in stage.cluster.brokers):
                keep_disks(stage.cluster)
            await asyncio.sleep(LOOK_MS / 1000)

    about = "one broker dies twice when all has been sent, and its disk is looked at all the while"
    return Story("lone-looked", about, build, faults, LOOKED_AT_MS, play)


# ---------------------------------------------------------------- who is in the route?


def _routes(stage: Stage, namesrv_of: dict[str, list[str] | None]) -> None:
    for name in ("a", "b"):
        stage.cluster.add_broker(name, CHAPTER)
    for client, namesrv in namesrv_of.items():
        stage.cluster.add_client(client, namesrv, know=_know)


async def _know(instance: ClientInstance) -> None:
    """Ask for the route until it is known; from then on the client's own poll keeps it."""
    while True:
        try:
            await instance.routes.find(TOPIC)
            return
        except MQError:
            await instance.node.sleep_ms(200)


async def _watch(stage: Stage, until_ms: float) -> None:
    while stage.cluster.now_ms < until_ms:
        watch_routes(stage.cluster, stage.topic)
        await asyncio.sleep(WATCH_MS / 1000)


def _forgetting(stage: Stage) -> None:
    """Note how long each who had believed in a broker took to forget it when it was gone."""
    history = stage.cluster.history
    brokers = {member.name for member in stage.cluster.brokers}
    for absence in [absence for absence in history.absences if absence.machine in brokers]:
        for who in dict.fromkeys(view.who for view in history.views if absence.machine in view.brokers):
            later = [view for view in history.views if view.who == who and view.at_ms > absence.from_ms]
            forgot = [view.at_ms for view in later if absence.machine not in view.brokers]
            took = f"after {(forgot[0] - absence.from_ms) / 1000:.1f} s" if forgot else "never"
            stage.note(f"{who} forgot {absence.machine} ({absence.how}) {took}")


def _expiry(name: str, about: str, death: str, watched_ms: float) -> Story:
    def build(stage: Stage) -> None:
        stage.cluster.add_namesrv("n")
        _routes(stage, {"c": None})

    def faults(draw: Random) -> Sequence[Fault]:
        at_ms = draw.randrange(20_000, 50_000)
        fault = ("kill", "a", "process") if death == "reset" else ("cut", "a<>*")
        return [Fault.of(at_ms, *fault)]

    async def play(stage: Stage) -> None:
        await _watch(stage, watched_ms)
        _forgetting(stage)

    return Story(name, about, build, faults, watched_ms, play, is_judged_whole=False)


def _split_view() -> Story:
    def build(stage: Stage) -> None:
        stage.cluster.add_namesrv("n1")
        stage.cluster.add_namesrv("n2")
        _routes(stage, {"c1": ["n1"], "c2": ["n2"]})

    def faults(draw: Random) -> Sequence[Fault]:
        cut_ms = draw.randrange(20_000, 40_000)
        return [Fault.of(cut_ms, "cut", "a<>n2"), Fault.of(cut_ms + 200_000, "heal", "a<>n2")]

    async def play(stage: Stage) -> None:
        await _watch(stage, 300_000)
        for one, other in (("n1", "n2"), ("c1", "c2")):
            _disagreement(stage, one, other)

    about = "two NameServers, a broker is cut from one: whoever asks them gets two answers"
    return Story("split-view", about, build, faults, 300_000, play, is_judged_whole=False)


def _disagreement(stage: Stage, one: str, other: str) -> None:
    """Note when two of them believed in different brokers, once both believed in any."""
    believed: dict[str, View] = {}
    since_ms: float | None = None
    for view in stage.cluster.history.views:
        if view.who not in (one, other):
            continue
        believed[view.who] = view
        differ = len({each.brokers for each in believed.values()}) > 1 and all(
            each.brokers for each in believed.values()
        )
        if differ and since_ms is None:
            since_ms = view.at_ms
        elif not differ and since_ms is not None:
            stage.note(
                f"{one} and {other} disagreed from {since_ms / 1000:.1f} s to {view.at_ms / 1000:.1f} s"
            )
            since_ms = None
    if since_ms is not None:
        stage.note(f"{one} and {other} disagree from {since_ms / 1000:.1f} s on")


def _cached_routes() -> Story:
    def build(stage: Stage) -> None:
        stage.cluster.history.flush = "SYNC_FLUSH"
        stage.cluster.add_namesrv("n1")
        stage.cluster.add_namesrv("n2")
        for name in ("a", "b"):
            stage.cluster.add_broker(name, CHAPTER, flushDiskType="SYNC_FLUSH")
        stage.add_load("c", 100_000, gap_ms=1_000)

    def faults(draw: Random) -> Sequence[Fault]:
        at_ms = draw.randrange(5_000, 9_000)
        return [Fault.of(at_ms, "kill", "n1", "power"), Fault.of(at_ms + 500, "kill", "n2", "power")]

    async def play(stage: Stage) -> None:
        await _watch(stage, 100_000)
        history = stage.cluster.history
        dark_ms = max((each.from_ms for each in history.absences), default=0.0)
        told = history.acknowledged()
        later = [sent for sent in told if (sent.told_ms or 0.0) > dark_ms]
        stage.note(f"{len(later)} of {len(told)} messages were acknowledged with no NameServer alive")

    about = "every NameServer loses its power; clients live on what they remember"
    return Story("cached-routes", about, build, faults, 100_000, play)


# ---------------------------------------------------------------- everything at once


def _mixed() -> Story:
    def build(stage: Stage) -> None:
        flush = stage.cluster.history.flush = stage.draw.choice(FLUSHES)
        stage.cluster.add_namesrv("n1")
        stage.cluster.add_namesrv("n2")
        for name in ("a", "b"):
            stage.cluster.add_broker(name, CHAPTER, flushDiskType=flush)
        stage.add_load("c1", LOAD_ENDS_MS)
        stage.add_load("c2", LOAD_ENDS_MS)

    about = "two NameServers, two masters, two clients, and whatever the seed draws"
    return Story("mixed", about, build, lambda draw: Storm(draw).faults(), LOAD_ENDS_MS)


# ---------------------------------------------------------------- a master and its slave


def _add_pair(stage: Stage, name: str, replication: str, flush: str) -> None:
    """A master, and a slave with an s behind its name."""
    common = {"flushDiskType": flush, "slaveReadEnable": "true"}
    stage.cluster.add_broker(name, PAIR_CHAPTER, brokerRole=replication, **common)
    stage.cluster.add_broker(
        f"{name}s", PAIR_CHAPTER, brokerName=name, brokerId="1", brokerRole="SLAVE", **common
    )


def _pair(replication: str, flush: str = "ASYNC_FLUSH") -> Story:
    def build(stage: Stage) -> None:
        history = stage.cluster.history
        history.flush, history.replication = flush, replication
        stage.cluster.add_namesrv("n")
        _add_pair(stage, "a", replication, history.flush)
        stage.add_load("c", LOAD_MS, gap_ms=60)

    def faults(draw: Random) -> Sequence[Fault]:
        at_ms = draw.randrange(6_000, 11_000)
        cut_ms = at_ms - draw.randrange(50, 1_500)
        return [Fault.of(cut_ms, "cut", "a>as"), Fault.of(at_ms, "destroy", "a")]

    name = f"pair-{replication.partition('_')[0].lower()}{'-flushed' * (flush == 'SYNC_FLUSH')}"
    what = "first the way between them is lost, then the master's disk"
    about = f"{replication} and its slave under {flush}: {what}"
    return Story(name, about, build, faults, LOAD_MS)


def _mixed_pairs() -> Story:
    def build(stage: Stage) -> None:
        history = stage.cluster.history
        history.flush = stage.draw.choice(FLUSHES)
        history.replication = stage.draw.choice(("ASYNC_MASTER", "SYNC_MASTER"))
        stage.cluster.add_namesrv("n1")
        stage.cluster.add_namesrv("n2")
        for name in ("a", "b"):
            _add_pair(stage, name, history.replication, history.flush)
        stage.add_load("c1", LOAD_ENDS_MS)
        stage.add_load("c2", LOAD_ENDS_MS)

    about = "as mixed, and each master has a slave"
    brokers = ("a", "b", "as", "bs")
    return Story(
        "mixed-pairs", about, build, lambda draw: Storm(draw, brokers, first_ms=4_000).faults(), LOAD_ENDS_MS
    )


def _pair_losses() -> Story:
    def build(stage: Stage) -> None:
        history = stage.cluster.history
        history.flush = stage.draw.choice(FLUSHES)
        history.replication = stage.draw.choice(("ASYNC_MASTER", "SYNC_MASTER"))
        stage.cluster.add_namesrv("n")
        _add_pair(stage, "a", history.replication, history.flush)
        stage.add_load("c", LOAD_ENDS_MS, gap_ms=100)

    about = "a master and its slave, and only what can cost a copy: power, torn pages, disks, the way between"
    return Story("pair-losses", about, build, lambda draw: Losses(draw).faults(), LOAD_ENDS_MS)


STORIES: dict[str, Story] = {
    story.name: story
    for story in (
        _lone("ASYNC_FLUSH"),
        _lone("SYNC_FLUSH"),
        _looked_at(),
        _expiry("expiry-reset", "a broker's process dies: its peers are told", "reset", 120_000),
        _expiry("expiry-silence", "a broker is cut off from everyone: nobody is told", "silence", 250_000),
        _split_view(),
        _cached_routes(),
        _mixed(),
        _pair("ASYNC_MASTER"),
        _pair("SYNC_MASTER"),
        _pair("ASYNC_MASTER", "SYNC_FLUSH"),
        _pair("SYNC_MASTER", "SYNC_FLUSH"),
        _pair_losses(),
        _mixed_pairs(),
    )
}


def story_of(name: str) -> Story:
    """The story of this name. Raises ScenarioError."""
    if name not in STORIES:
        raise ScenarioError(f"there is no story {name!r}; there are {', '.join(STORIES)}")
    return STORIES[name]
