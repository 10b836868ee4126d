"""Slow, full, read-only and failing disks, under a whole broker: what senders are told, and that reads go on.

Simulated first, with RocketMQ's own times. Then real brokers in processes of their own, over TCP:

* by the kernel: the store lies on a tmpfs of one mebibyte in a mount namespace of the broker's own, which
  really fills up, and is really made read-only. Root may do that, and so may who is allowed user namespaces.
* by hand: the process itself makes its system calls fail with that errno, or take long, while a file says so.
  That runs everywhere; where no namespaces are allowed it is all that runs, and the tests' names say so.
"""

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mq.commitlog.client import Producer, SendResult, SendStatus
from mq.commitlog.message import Message
from mq.commitlog.store import MessageStore
from mq.consumequeue.client import PullConsumer
from mq.routing.broker import Broker
from mq.routing.client import ClientInstance, MessageQueue, create_topic
from mq.routing.topics import TopicConfig
from mq.runtime.disk import Disk
from mq.runtime.node import Node
from mq.runtime.real import RealNode
from mq.sim.faults import DiskFault, FailingDisk, FullDisk, ReadOnlyDisk, SlowDisk
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv
from mq.wire.errors import RemoteError, RequestTimeout

ROOT = Path(__file__).resolve().parent.parent
QUEUE = MessageQueue("flights", "broker-a", 0)
SETTINGS = {"mappedFileSizeCommitLog": "65536", "mappedFileSizeConsumeQueue": "2000", "maxHashSlotNum": "64",
            "maxIndexNum": "50", "cleanFileForciblyEnable": "false"}  # fmt: skip
NOT_NOW = 14


class Client:
    """A producer and a consumer, and what was acknowledged to them. The same for both worlds."""

    def __init__(self, node: Node, namesrv: str) -> None:
        self.instance = ClientInstance(node, namesrv)
        self.producer = Producer(self.instance, "airports")
        self.producer.compress_over_bytes = 1 << 30
        self.consumer = PullConsumer(self.instance, "gates")
        self.acknowledged: dict[int, bytes] = {}

    async def start(self, broker_address: str) -> None:
        await self.instance.start()
        await self.instance.add(self.producer)
        await self.instance.add(self.consumer)
        await create_topic(self.instance, broker_address, TopicConfig("flights", 1, 1))
        await self.instance.routes.find("flights")

    async def send(self, body: bytes) -> SendResult:
        result = await self.producer.send(Message("flights", body, keys="k"), QUEUE)
        if result.status is SendStatus.SEND_OK:
            self.acknowledged[result.queue_offset] = body
        return result

    async def refusal(self, body: bytes) -> RemoteError:
        """The answer to a send that must be refused."""
        with pytest.raises(RemoteError) as refused:
            await self.send(body)
        return refused.value

    async def served(self) -> dict[int, bytes]:
        """Everything that a consumer gets, from the queue's beginning to its end."""
        found: dict[int, bytes] = {}
        while True:
            outcome = await self.consumer.pull(QUEUE, "*", len(found))
            if not outcome.messages:
                assert outcome.max_offset == len(found), "the queue claims to have more"
                return found
            found |= {message.queue_offset: message.body for message in outcome.messages}

    async def check(self) -> None:
        """What was acknowledged is served where it was acknowledged; nothing that was refused is."""
        assert await self.served() == self.acknowledged


# ---------------------------------------------------------------- simulated


class World:
    """A NameServer, a broker with a troubled disk, a client."""

    def __init__(self, sim: Simulation, **properties: str) -> None:
        self.sim = sim
        names = build_namesrv(sim.node("names", "10.0.0.100"))
        sim.run(sim.on("names", names.start()))
        self.properties = {"namesrvAddr": names.address, **SETTINGS, **properties}
        self.broker = self._broker()
        self.client = Client(sim.node("client"), names.address)
        self.do(self.client.start(self.broker.address))

    def _broker(self) -> Broker:
        broker = build_broker(self.sim.node("broker"), self.properties, chapter=3)
        self.sim.run(self.sim.on("broker", broker.start()), timeout_s=60)
        return broker

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it on the client's machine."""
        return self.sim.run(self.sim.on("client", work), timeout_s=600)

    def reborn(self, death: str) -> None:
        """The broker's machine dies and comes back."""
        self.sim.kill("broker", death)
        self.sim.restart("broker")
        self.broker = self._broker()
        self.sim.run(asyncio.sleep(31))  # clients and NameServer have found each other again

    @property
    def store(self) -> MessageStore:
        return self.broker.part(MessageStore)


def troubled(sim: Simulation, make: Callable[[Node, Disk], DiskFault]) -> list[Any]:
    """Put a fault on the broker's disk; the list's last entry is the one of its present life."""
    faults: list[Any] = []

    def wrap(node: Node, disk: Disk) -> Disk:
        faults.append(make(node, disk))
        wrapped: Disk = faults[-1]
        return wrapped

    sim.wrap_disk("broker", wrap)
    return faults


class SometimesReadOnly(ReadOnlyDisk):
    """Read-only while it is."""

    is_on = False

    def before(self, kind: str, path: str) -> None:
        if self.is_on:
            super().before(kind, path)

    def write(self, file: Any, position: int, data: Any) -> None:
        if self.is_on:
            super().write(file, position, data)
        else:
            file.write_at(position, data)


def test_a_disk_slower_than_five_seconds_is_flush_disk_timeout_and_the_message_is_stored() -> None:
    with Simulation() as sim:
        faults = troubled(sim, lambda node, disk: SlowDisk(node, disk, 0))
        world = World(sim, flushDiskType="SYNC_FLUSH")
        world.client.producer.timeout_ms = 10_000
        faults[-1].extra_ms = 6_000
        began = sim.loop.time()
        result = world.do(world.client.send(b"slow"))
        assert (result.status, result.queue_offset) == (SendStatus.FLUSH_DISK_TIMEOUT, 0)
        assert 5 <= sim.loop.time() - began < 5.1
        assert world.do(world.client.served()) == {0: b"slow"}, "stored, and shown to consumers"
        faults[-1].extra_ms = 0
        sim.run(asyncio.sleep(10))
        assert world.do(world.client.send(b"quick")).status is SendStatus.SEND_OK
        assert not world.store.refusal, "slow is not broken"


def test_with_the_real_defaults_the_client_gives_up_two_seconds_before_the_broker_does() -> None:
    """sendMsgTimeout is 3 s, syncFlushTimeout 5 s: who does not change one never sees FLUSH_DISK_TIMEOUT."""
    with Simulation() as sim:
        faults = troubled(sim, lambda node, disk: SlowDisk(node, disk, 0))
        world = World(sim, flushDiskType="SYNC_FLUSH")
        faults[-1].extra_ms = 6_000
        began = sim.loop.time()
        with pytest.raises(RequestTimeout):
            world.do(world.client.send(b"slow"))
        assert 2.9 < sim.loop.time() - began <= 3.001
        assert world.do(world.client.served()) == {0: b"slow"}, "and the message is stored all the same"


@pytest.mark.parametrize("policy", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_a_full_disk_refuses_with_14_reads_go_on_and_with_room_sends_work_again(policy: str) -> None:
    with Simulation() as sim:
        faults = troubled(sim, lambda node, disk: FullDisk(node, disk, 1 << 20))
        world = World(sim, flushDiskType=policy, diskSpaceWarningLevelRatio="100")

        async def story() -> None:
            client = world.client
            for number in range(5):
                await client.send(b"before %d" % number)
            faults[-1].room_bytes = 50
            for _ in range(3):
                refused = await client.refusal(b"refused" * 100)
                assert refused.code == NOT_NOW and "No space left on device" in str(refused)
            await client.check()
            await asyncio.sleep(90)  # queues, index, offsets and checkpoint cannot be written either
            await client.check()
            faults[-1].room_bytes = 1 << 20
            assert (await client.send(b"after")).queue_offset == 5
            await client.check()

        world.do(story())
        sim.run(asyncio.sleep(70))
        for death in ("process", "power"):
            world.reborn(death)
            world.do(world.client.check())
            found = world.do(world.client.consumer.query_message("flights", "k"))
            assert len(found) == 6, "no key is missing, though the index could not be written for a while"


def test_a_disk_that_becomes_read_only_refuses_with_14_and_reads_go_on() -> None:
    with Simulation() as sim:
        faults = troubled(sim, SometimesReadOnly)
        world = World(sim, flushDiskType="SYNC_FLUSH")

        async def story() -> None:
            client = world.client
            await client.send(b"before")
            faults[-1].is_on = True
            refused = await client.refusal(b"refused")
            assert (refused.code, "Read-only file system" in str(refused)) == (NOT_NOW, True)
            await client.check()

        world.do(story())
        faults[-1].is_on = False
        world.reborn("process")

        async def after() -> None:
            assert (await world.client.send(b"after")).queue_offset == 1
            await world.client.check()

        world.do(after())


@pytest.mark.parametrize("death", ["process", "power"])
def test_after_the_disk_failed_every_answer_says_so_and_a_restart_recovers(death: str) -> None:
    """The first sync of a segment fails. What had been acknowledged before stays; the rest was promised to
    nobody, and may be there or not, but never twice and never in part."""
    with Simulation() as sim:
        faults = troubled(sim, lambda node, disk: FailingDisk(node, disk, "sync", nth=1 << 30))
        world = World(sim, flushDiskType="SYNC_FLUSH")

        async def story() -> None:
            client = world.client
            for number in range(3):
                assert (await client.send(b"safe %d" % number)).status is SendStatus.SEND_OK
            faults[-1]._failing = range(faults[-1]._seen + 1, faults[-1]._seen + 2)
            doubtful = await client.send(b"in doubt")
            assert doubtful.status is SendStatus.FLUSH_DISK_TIMEOUT, "stored in memory, and no more promised"
            for _ in range(2):
                refused = await client.refusal(b"late")
                assert refused.code == NOT_NOW
                assert "the disk failed (Input/output error); what it holds is in doubt" in str(refused)
            assert await client.served() == client.acknowledged | {3: b"in doubt"}, "reads go on"

        world.do(story())
        assert [event for event in sim.events if event.kind == "store poisoned"], "the operator is told, too"
        world.reborn(death)

        async def after() -> None:
            served = await world.client.served()
            assert served in (world.client.acknowledged, world.client.acknowledged | {3: b"in doubt"})
            world.client.acknowledged = dict(served)
            assert (await world.client.send(b"after")).queue_offset == len(served)
            await world.client.check()

        world.do(after())


# ---------------------------------------------------------------- real: a process, a socket, a disk

BY_HAND = """
import errno, os, time
from mq.cli import main

STATE = os.environ["MQ_TROUBLE"]
fsync, pwrite, os_open, ftruncate = os.fsync, os.pwrite, os.open, os.ftruncate

def trouble():
    try:
        with open(STATE) as file:
            return file.read()
    except FileNotFoundError:
        return ""

def refuse(code):
    raise OSError(code, os.strerror(code))

def slow_fsync(descriptor):
    if trouble() == "slow":
        time.sleep(1.5)
    fsync(descriptor)

def troubled_pwrite(descriptor, data, position):
    if trouble() == "full":
        pwrite(descriptor, memoryview(data)[: len(data) // 2], position)  # a part of it still fits
        refuse(errno.ENOSPC)
    return pwrite(descriptor, data, position)

def troubled_open(path, flags, *rest, **named):
    if flags & os.O_CREAT and trouble() == "read-only" and not os.path.exists(path):
        refuse(errno.EROFS)
    return os_open(path, flags, *rest, **named)

os.fsync, os.pwrite, os.open = slow_fsync, troubled_pwrite, troubled_open
main()
"""

ON_A_TMPFS = """
mount -t tmpfs -o size=1m tmpfs "$1" && head -c 600000 /dev/zero > "$1/ballast" || exit 1
echo $$
shift
exec "$@"
"""


@cache
def namespace() -> tuple[str, ...] | None:
    """How to get a mount namespace of one's own here; None when nobody may."""
    for flags in ("-rm", "-m"):
        command = ["unshare", flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        try:
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                return ("unshare", flags)
        except FileNotFoundError:
            return None
    return None


class Real:
    """A broker in a process of its own, whose disk can be troubled."""

    def __init__(self, folder: Path, namesrv: str, **settings: str) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        self.namesrv = namesrv
        self.settings = {**SETTINGS, "diskSpaceWarningLevelRatio": "100", **settings}
        self.running: asyncio.subprocess.Process | None = None
        self.address = ""

    def command(self) -> list[str]:
        """The broker's command line."""
        command = [sys.executable, *self.program(), "broker", "--store", str(self.store),
                   "--namesrv", self.namesrv, "--listen", "127.0.0.1:0"]  # fmt: skip
        for name, value in self.settings.items():
            command += ["--set", f"{name}={value}"]
        return command

    def program(self) -> list[str]:
        return ["-m", "mq"]

    async def start(self) -> None:
        """Wait for the ready line."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MQ_TROUBLE": str(self.folder / "trouble")}
        self.running = await asyncio.create_subprocess_exec(
            *self.command(),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # its complaints about the disk
            env=environment,
        )
        await self.read_ready()

    async def read_ready(self) -> None:
        assert self.running is not None and self.running.stdout is not None
        line = (await self.running.stdout.readline()).decode()
        ready = re.search(r" ready at (\S+),", line)
        assert ready is not None, f"the broker said {line!r} in place of being ready"
        self.address = ready[1]

    def trouble(self, kind: str) -> None:
        """From now on the disk is full or read-only."""
        raise NotImplementedError

    def relieve(self) -> None:
        """From now on it is not."""
        raise NotImplementedError

    async def end(self) -> None:
        """Whatever happened, leave no process behind."""
        if self.running is not None and self.running.returncode is None:
            self.running.send_signal(signal.SIGTERM)
            await self.running.wait()


class ByHand(Real):
    """System calls of this process fail, or take long, while a file says so."""

    def program(self) -> list[str]:
        return ["-c", BY_HAND]

    def trouble(self, kind: str) -> None:
        (self.folder / "trouble").write_text(kind)

    def relieve(self) -> None:
        (self.folder / "trouble").unlink()


class ByKernel(Real):
    """The store lies on a tmpfs of 1 MiB with a ballast of 600 kB, in a namespace of the broker's own."""

    process_id = ""

    def command(self) -> list[str]:
        way = namespace()
        assert way is not None
        return [*way, "sh", "-c", ON_A_TMPFS, "sh", str(self.store), *super().command()]

    async def read_ready(self) -> None:
        assert self.running is not None and self.running.stdout is not None
        self.process_id = (await self.running.stdout.readline()).decode().strip()
        await super().read_ready()

    def inside(self, script: str) -> None:
        """Run something in the broker's namespace."""
        users = ["--user", "--preserve-credentials"] if namespace() == ("unshare", "-rm") else []
        enter = ["nsenter", "--target", self.process_id, *users, "--mount"]
        subprocess.run([*enter, "sh", "-ec", script, "sh", str(self.store)], check=True)

    def trouble(self, kind: str) -> None:
        if kind == "read-only":
            self.inside('mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"')
        # A full disk fills by itself: the ballast is there from the beginning.

    def relieve(self) -> None:
        """What an operator does: make it writable again, delete something."""
        self.inside('[ -w "$1" ] || umount -l "$1"; rm "$1/ballast"')


def with_real(
    folder: Path, kind: type[Real], story: Callable[[Real, Client], Awaitable[None]], **settings: str
) -> None:
    """NameServer and client here, the broker in its own process."""

    async def main() -> None:
        node = RealNode("client", str(folder / "client"))
        names = build_namesrv(node, {"listenPort": "0"})
        await names.start()
        broker = kind(folder, names.address, **settings)
        client = Client(node, names.address)
        try:
            await broker.start()
            await client.start(broker.address)
            await story(broker, client)
        finally:
            client.instance.rpc.stop()
            await broker.end()
            await names.stop()
            node.real_disk.close()

    asyncio.run(main())


KERNEL = "by the kernel" if namespace() else "by hand: no namespace here"


@pytest.mark.parametrize("kind", [ByHand, ByKernel if namespace() else ByHand], ids=["by hand", KERNEL])
def test_a_real_full_disk_refuses_with_14_reads_go_on_and_with_room_sends_work_again(
    kind: type[Real], tmp_path: Path
) -> None:
    async def story(broker: Real, client: Client) -> None:
        for number in range(10):
            await client.send(b"%d " % number + bytes(8000))
        broker.trouble("full")
        with pytest.raises(RemoteError) as refused:
            for number in range(200):
                await client.send(b"%d " % number + bytes(8000))
        assert refused.value.code == NOT_NOW
        assert "No space left on device" in str(refused.value)
        filled = len(client.acknowledged)
        for _ in range(3):
            assert (await client.refusal(b"refused" + bytes(8000))).code == NOT_NOW
        await client.check()
        broker.relieve()
        assert (await client.send(b"after" + bytes(8000))).queue_offset == filled
        await client.check()

    with_real(tmp_path, kind, story)


@pytest.mark.parametrize("kind", [ByHand, ByKernel if namespace() else ByHand], ids=["by hand", KERNEL])
def test_a_real_read_only_disk_refuses_what_needs_a_new_file_and_reads_go_on(
    kind: type[Real], tmp_path: Path
) -> None:
    """A file that is open stays writable, so the kernel says no where the next segment has to be made."""

    async def story(broker: Real, client: Client) -> None:
        for number in range(4):
            await client.send(b"%d " % number + bytes(40_000))
        broker.trouble("read-only")
        for _ in range(2):
            refused = await client.refusal(b"refused" + bytes(40_000))
            assert (refused.code, "Read-only file system" in str(refused)) == (NOT_NOW, True)
        await client.check()
        broker.relieve()
        assert (await client.send(b"after" + bytes(40_000))).queue_offset == 4
        await client.check()

    with_real(tmp_path, kind, story)


def test_a_real_sync_that_takes_long_is_flush_disk_timeout_and_the_message_is_stored(tmp_path: Path) -> None:
    """The broker's sync thread really waits 1.5 s in its system call; the limit is set to 0.3 s."""

    async def story(broker: Real, client: Client) -> None:
        assert (await client.send(b"quick")).status is SendStatus.SEND_OK
        broker.trouble("slow")
        client.producer.timeout_ms = 60_000  # other work may hold up this disk, too
        slow = await client.send(b"slow")
        assert (slow.status, slow.queue_offset) == (SendStatus.FLUSH_DISK_TIMEOUT, 1)
        assert await client.served() == {0: b"quick", 1: b"slow"}
        broker.relieve()
        client.acknowledged[1] = b"slow"
        statuses = [(await client.send(b"%d" % number)).status for number in range(20)]
        while statuses[-1] is not SendStatus.SEND_OK:  # the slow sync has not returned yet
            statuses.append((await client.send(b"again")).status)
        assert (await client.send(b"end")).status is SendStatus.SEND_OK

    with_real(tmp_path, ByHand, story, flushDiskType="SYNC_FLUSH", syncFlushTimeout="300")


def test_a_broker_that_stopped_with_a_full_disk_serves_everything_when_it_starts_again(
    tmp_path: Path,
) -> None:
    """Queues, index and tables could not be written at its end; the log has all that they lack."""
    acknowledged: dict[int, bytes] = {}

    async def fill(broker: Real, client: Client) -> None:
        for number in range(10):
            await client.send(b"%d " % number + bytes(2000))
        broker.trouble("full")
        assert (await client.refusal(b"refused")).code == NOT_NOW
        acknowledged.update(client.acknowledged)

    async def look(broker: Real, client: Client) -> None:
        client.acknowledged = acknowledged
        await client.check()
        assert len(await client.consumer.query_message("flights", "k")) == 10
        assert (await client.send(b"after")).queue_offset == 10

    with_real(tmp_path, ByHand, fill)
    (tmp_path / "trouble").unlink()
    topics = json.loads((tmp_path / "store" / "config" / "topics.json").read_text())
    assert "flights" in topics["topicConfigTable"]
    os.rename(tmp_path / "store", tmp_path / "kept")

    class Again(ByHand):
        def __init__(self, folder: Path, namesrv: str, **settings: str) -> None:
            super().__init__(folder, namesrv, **settings)
            self.store.rmdir()
            os.rename(tmp_path / "kept", self.store)

    with_real(tmp_path, Again, look)


def test_errors_of_a_full_disk_are_told_from_those_of_a_broken_one() -> None:
    with Simulation() as sim:
        faults = troubled(sim, lambda node, disk: FailingDisk(node, disk, "write_at", nth=1 << 30))
        world = World(sim)

        async def story() -> None:
            for code, answer in ((errno.ENOSPC, NOT_NOW), (errno.EDQUOT, NOT_NOW), (errno.EIO, 1)):
                faults[-1].code = code
                faults[-1]._failing = range(faults[-1]._seen + 1, faults[-1]._seen + 2)
                assert (await world.client.refusal(b"x")).code == answer
            assert (await world.client.send(b"y")).queue_offset == 0

        world.do(story())
