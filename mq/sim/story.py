"""Story: what a scenario's name stands for: machines, a load, the faults of a seed, and the end · depth

What always holds: a story begins with everything up and its topic known everywhere, so a fault before that
waits. It ends with every fault undone, every reader at the end of every queue, and every disk looked at: what
is wrong then, is wrong for good.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from mq.routing.client import ClientInstance, create_topic
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.actors import Reader, Sender
from mq.sim.audit import AUDIT, is_drained, keep_disks, pull_all
from mq.sim.cluster import Cluster
from mq.sim.life import stream
from mq.sim.members import BrokerMember
from mq.sim.scenario import Fault

TOPIC = "flights"
QUEUES = 2
NAMESRV_LEARNS_S, DRAIN_S = 150.0, 200.0
SETTLE_MS = 2_000


@dataclass
class Stage:
    """A cluster that plays a story: who sends, who reads, and what is worth telling afterwards."""

    cluster: Cluster
    draw: Random  # for the story's own choices
    topic: str = TOPIC
    senders: list[Sender] = field(default_factory=list)
    readers: list[Reader] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Something that a reader of this run should know; it stands in the journal too."""
        self.notes.append(text)
        self.cluster.sim.record("note", text)

    def add_load(
        self, client: str, load_ms: float, namesrv: Sequence[str] | None = None, gap_ms: float = 150
    ) -> None:
        """A client machine with one sender and one reader, which carry its name."""
        sender = Sender(self.cluster, client, self.topic, load_ms, gap_ms)
        reader = Reader(self.cluster, client, self.topic)
        self.cluster.add_client(client, namesrv, sender=sender.run, reader=reader.run)
        self.senders.append(sender)
        self.readers.append(reader)

    @property
    def masters(self) -> list[BrokerMember]:
        """The brokers that take messages."""
        return [member for member in self.cluster.brokers if not member.is_slave]


@dataclass(frozen=True)
class Story:
    """`build` adds machines to the stage; `play` is the middle; `faults` are those of a seed.

    `load_ms`: how long `play` lasts when it is left out.
    """

    name: str
    about: str
    build: Callable[[Stage], None]
    faults: Callable[[Random], Sequence[Fault]]
    load_ms: float = 30_000
    play: Callable[[Stage], Awaitable[None]] | None = None
    is_judged_whole: bool = True  # disks and queues too, not only what was noted on the way

    def faults_of(self, seed: int) -> tuple[Fault, ...]:
        """The faults that this story draws for a seed."""
        return tuple(self.faults(stream(seed, f"faults {self.name}")))

    def stage(self, cluster: Cluster) -> Stage:
        """The machines, not started."""
        cluster.history.topics = (TOPIC,)
        stage = Stage(cluster, stream(cluster.sim.seed, f"settings {self.name}"))
        self.build(stage)
        cluster.add_client(AUDIT)
        return stage

    async def perform(self, stage: Stage, faults: Sequence[Fault]) -> None:
        """The whole run. Raises MQError, Deadlock: what went wrong outside the checkers' vocabulary."""
        cluster = stage.cluster
        clients = [client.name for client in cluster.clients]
        await cluster.start(*[name for name in cluster.members if name not in clients], AUDIT)
        await make_topic(stage)
        await cluster.start(*[name for name in clients if name != AUDIT])
        cluster.plan(faults)
        if self.play is not None:
            await self.play(stage)
        else:
            await asyncio.sleep(max(0.0, self.load_ms - cluster.now_ms) / 1000)
        if self.is_judged_whole:
            await come_to_rest(stage)
        cluster.history.ended_ms = cluster.now_ms


async def make_topic(stage: Stage) -> None:
    """The topic, on every master, and every NameServer has been told."""
    cluster = stage.cluster
    instance = cluster.client(AUDIT)
    config = TopicConfig(stage.topic, QUEUES, QUEUES)
    for member in stage.masters:
        port = member.properties["listenPort"]
        address = f"{member.address}:{port}"
        await cluster.sim.on(AUDIT, create_topic(instance, address, config), "make the topic")
    await cluster.until(lambda: knows_all(stage), "every NameServer knows every master", 40)
    slaves = [member for member in cluster.brokers if member.is_slave]
    await cluster.until(
        lambda: all(_has_topic(stage, member) for member in slaves), "slaves know the topic", 40
    )


def _has_topic(stage: Stage, member: BrokerMember) -> bool:
    """A slave copies its master's topics three seconds after it began; before that it refuses every pull."""
    return member.current is not None and member.current.topics.find(stage.topic) is not None


def knows_all(stage: Stage) -> bool:
    """Whether every NameServer names every living master and slave for the topic, and nobody else."""
    living: dict[str, list[int]] = {}
    for member in stage.cluster.brokers:
        if member.is_open:
            living.setdefault(member.group, []).append(int(member.properties.get("brokerId", "0")))
    for server in stage.cluster.nameservers:
        route = server.current.tables.route(stage.topic) if server.is_open and server.current else None
        known = {each.broker_name: sorted(each.addresses) for each in route.brokers} if route else {}
        if known != {group: sorted(ids) for group, ids in living.items()}:
            return False
    return True


async def come_to_rest(stage: Stage) -> None:
    """Undo every fault, let everyone finish, and look at everything."""
    cluster = stage.cluster
    await cluster.calm()
    await cluster.until(lambda: all(sender.is_done for sender in stage.senders), "every sender is done")
    await cluster.until(lambda: knows_all(stage), "every NameServer knows every broker", NAMESRV_LEARNS_S)
    for reader in stage.readers:
        what = f"reader {reader.name} has come to the end of every queue"
        await cluster.until(lambda reader=reader: is_drained(cluster, reader), what, DRAIN_S)  # type: ignore[misc]
        reader.stop = True
    await asyncio.sleep(SETTLE_MS / 1000)
    keep_disks(cluster)
    await cluster.sim.on(AUDIT, _audit(cluster, cluster.client(AUDIT)), AUDIT)


async def _audit(cluster: Cluster, instance: ClientInstance) -> None:
    for _ in cluster.brokers:  # its connections may be from before the faults: each can fail once
        try:
            await pull_all(cluster, instance)
            return
        except MQError as error:
            cluster.sim.record("audit begins again", error.remark)
    await pull_all(cluster, instance)
