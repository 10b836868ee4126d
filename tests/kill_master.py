"""A master in a process of its own is killed under load; its slave must have what was promised.

    python -m tests.kill_master --times 20

Real sockets, real files, SIGKILL. Each round: senders load a SYNC_MASTER, the master is killed while they
wait, and then the two stores are read: nothing that was acknowledged may be missing on the slave, and from
the slave's first byte to the common end the two logs must be the same bytes. In three rounds of four the
slave is killed as well, in the middle of what it receives. At the end the slave is asked, too. No clock is
waited for: only ready lines and answers.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from chapters.ch04_replication.processes import NAME, Processes
from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.log import CommitLog
from mq.commitlog.message import Message
from mq.commitlog.reader import LogReader
from mq.commitlog.segments import Segments
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.routing.client import ClientInstance, create_topic
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.real import RealDisk, RealNode
from mq.wire.codes import RequestCode
from mq.wire.command import RemotingCommand

TOPIC, QUEUES, SENDERS = "load", 4, 8
SEGMENT_BYTES = 1 << 16
SETTINGS = {
    "mappedFileSizeCommitLog": str(SEGMENT_BYTES),
    "mappedFileSizeConsumeQueue": "20000",
    "maxHashSlotNum": "1000",
    "maxIndexNum": "4000",
}
MASTER, SLAVE = "master", "slave"


@dataclass
class Found:
    """What all rounds together saw. `statuses` counts every answer, not only the promises."""

    acknowledged: dict[bytes, None] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    compared_bytes: int = 0


class Load:
    """Senders of numbered messages, until the master is gone."""

    def __init__(self, instance: ClientInstance, draw: Random, found: Found) -> None:
        self.producer = Producer(instance, "load-group")
        self.draw = draw
        self.found = found

    async def joined(self) -> None:
        """Send until the slave is waited for."""
        while await self._send(0) is not SendStatus.SEND_OK:
            await asyncio.sleep(0.02)

    async def run(self, processes: Processes, enough: int) -> None:
        """Send from all sides; kill the master when `enough` is promised, while others still wait."""
        target = len(self.found.acknowledged) + enough
        senders = [asyncio.create_task(self._until_it_dies(number)) for number in range(SENDERS)]
        while len(self.found.acknowledged) < target:
            assert not all(sender.done() for sender in senders), "every sender has failed"
            await asyncio.sleep(0)
        await processes.kill(MASTER)
        await asyncio.gather(*senders)

    async def _until_it_dies(self, number: int) -> None:
        try:
            while True:
                await self._send(number % QUEUES)
        except MQError:
            return  # the master is gone; what was not answered was promised to nobody

    async def _send(self, queue_id: int) -> SendStatus:
        count = self.found.statuses.total()
        self.found.statuses["asked"] += 1
        body = b"%d " % count + self.draw.randbytes(self.draw.randrange(1500))
        result = await self.producer.send(Message(TOPIC, body), MessageQueue(TOPIC, NAME, queue_id))
        self.found.statuses[result.status.name] += 1
        if result.status is SendStatus.SEND_OK:
            self.found.acknowledged[body] = None
        return result.status


def bodies_in(store: Path) -> Counter[bytes]:
    """Every message that a reader finds in a store whose broker is dead, or alive."""
    disk = RealDisk(str(store))
    segments = Segments(disk, "commitlog", SEGMENT_BYTES)
    segments.starts = [int(name) for name in disk.list("commitlog")]
    reader = LogReader(CommitLog(segments), segments.first, segments.capacity_end)
    found = Counter(message.body for message in reader)
    segments.close()
    disk.close()
    return found


def same_bytes(master: Path, slave: Path) -> int:
    """How many bytes both logs have, from the slave's first on. Raises AssertionError where they differ."""
    compared = 0
    for file in sorted((slave / "commitlog").iterdir()):
        ours, theirs = file.read_bytes(), (master / "commitlog" / file.name).read_bytes()
        common = min(len(ours.rstrip(b"\0")), len(theirs.rstrip(b"\0")))
        if ours[:common] != theirs[:common]:
            at = next(place for place in range(common) if ours[place] != theirs[place])
            raise AssertionError(f"diverged: the logs differ at {int(file.name) + at}")
        compared += common
    return compared


def check(processes: Processes, found: Found) -> None:
    """What the slave's store must hold now."""
    there = bodies_in(processes.store(SLAVE))
    lost = [body for body in found.acknowledged if body not in there]
    assert not lost, f"lost: {len(lost)} of {len(found.acknowledged)} acknowledged, first {lost[0][:12]!r}"
    twice = [body for body, times in there.items() if times > 1]
    assert not twice, f"duplicated: {len(twice)} messages lie twice in the slave's log"
    found.compared_bytes = same_bytes(processes.store(MASTER), processes.store(SLAVE))


async def one_round(
    processes: Processes, node: RealNode, found: Found, draw: Random, keep_slave: bool
) -> None:
    """Both run, the master is killed under load, the slave is judged."""
    await processes.start(MASTER, role="SYNC_MASTER")
    if SLAVE not in processes.running:
        await processes.start(SLAVE, role="SLAVE")
    instance = ClientInstance(node, processes.namesrv)
    try:
        await create_topic(instance, processes.addresses[MASTER], TopicConfig(TOPIC, QUEUES, QUEUES))
        load = Load(instance, draw, found)
        await load.joined()
        if keep_slave:
            await copied(instance, processes.addresses[SLAVE])
        await load.run(processes, enough=draw.randrange(50, 300))
        if not keep_slave:
            await processes.kill(SLAVE)
        check(processes, found)
        found.rounds += 1
    finally:
        instance.rpc.stop()


async def copied(instance: ClientInstance, slave: str) -> None:
    """Wait until the slave has its master's table of topics: it asks three seconds after its start."""
    while True:
        told = await instance.rpc.invoke(slave, RemotingCommand(RequestCode.GET_ALL_TOPIC_CONFIG))
        if f'"{TOPIC}"'.encode() in told.body:
            return
        await asyncio.sleep(0.05)


async def read_from_slave(processes: Processes, node: RealNode, found: Found) -> int:
    """The master is dead: pull everything from whom the route names."""
    instance = ClientInstance(node, processes.namesrv)
    consumer, there = PullConsumer(instance, "check-group"), set[bytes]()
    try:
        for queue_id in range(QUEUES):
            at = 0
            while True:
                outcome = await consumer.pull(MessageQueue(TOPIC, NAME, queue_id), "*", at)
                if outcome.status is not PullStatus.FOUND:
                    break
                there.update(message.body for message in outcome.messages)
                at = outcome.next_begin_offset
    finally:
        instance.rpc.stop()
    lost = found.acknowledged.keys() - there
    assert not lost, (
        f"lost: {len(lost)} of {len(found.acknowledged)} acknowledged cannot be pulled from the slave"
    )
    return len(there)


async def kill_again_and_again(
    folder: Path, times: int, program: tuple[str, ...] = ("-m", "mq"), say: bool = False
) -> Found:
    """So many kills; what was seen. Raises AssertionError at the first thing that must not be."""
    node, found = RealNode("client", str(folder / "client")), Found()
    processes = Processes(folder, SETTINGS, program)
    try:
        await processes.start_namesrv()
        for number in range(times):
            keep = number == times - 1 or number % 4 == 3
            await one_round(processes, node, found, Random(number), keep_slave=keep)
            if say:
                print(f"kill {number + 1}: {len(found.acknowledged)} acknowledged, none missing", flush=True)
        await read_from_slave(processes, node, found)
    finally:
        await processes.stop()
        node.real_disk.close()
    return found


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill_master", description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(kill_again_and_again(Path(folder), options.times, say=True))
    print(
        f"{found.rounds} kills: {len(found.acknowledged)} acknowledged, 0 missing; "
        f"{found.compared_bytes} bytes of both logs equal; {dict(found.statuses)}; "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
