"""Real brokers, real sockets, SIGKILL: what was acknowledged is there after the restart.

    python -m tests.kill --times 200     so many kills, half of them under each flush policy, and a table

A killed process takes what Python still buffered, and nothing else: the page cache survives. So this proves
that a broker writes before it acknowledges, under both flush policies. It says nothing about syncs: for those
the power goes off in the simulator (tests/crash.py), and a trace of system calls is read (tests/syscalls.py).

A broker is killed while four senders, pipelined and in batches, wait for it. Then a new process opens the
same store, and everything is pulled. No clock is waited for: only the ready line, and answers.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mq.commitlog.client import Producer
from mq.commitlog.message import PROPERTY_UNIQ_KEY, Message
from mq.commitlog.record import MessageExt
from mq.consumequeue.client import PullConsumer, PullStatus
from mq.routing.client import ClientInstance, MessageQueue, create_topic
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.system import build_namesrv

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ("ASYNC_FLUSH", "SYNC_FLUSH")
KILLS_OF_ONE_STORE = 10  # then a new one begins: each life reads everything that the ones before it left
QUEUES = 4
SETTINGS = (
    "mappedFileSizeCommitLog=65536", "mappedFileSizeConsumeQueue=2000", "maxHashSlotNum=1000",
    "maxIndexNum=2000",
    # However full the disk of this machine is: here brokers are killed, and nothing else.
    "diskMaxUsedSpaceRatio=95", "diskSpaceWarningLevelRatio=100", "cleanFileForciblyEnable=false",
)  # fmt: skip


@dataclass
class Ledger:
    """What was sent, and the place that each acknowledged message was given."""

    sent: dict[str, bytes] = field(default_factory=dict)  # UNIQ_KEY -> body
    acknowledged: dict[tuple[int, int], str] = field(default_factory=dict)  # (queue, place) -> UNIQ_KEY
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1 << 31)))
    told: int = 0  # how many were acknowledged by their broker, and not only found after its death

    def message(self, draw: random.Random) -> Message:
        """One more message, with a body of its own."""
        number = next(self.numbers)
        body = b"%d " % number + draw.randbytes(draw.randrange(400))
        message = Message("load", body, "tag", f"key{number}")
        message.properties[PROPERTY_UNIQ_KEY] = f"{number:032X}"
        self.sent[message.properties[PROPERTY_UNIQ_KEY]] = message.body
        return message


class Process:
    """A broker in a process of its own, on a free port."""

    def __init__(self, program: Sequence[str], store: Path, namesrv: str, policy: str) -> None:
        self.namesrv = namesrv
        self.command = [sys.executable, *program, "broker", "--store", str(store), "--namesrv", namesrv,
                        "--listen", "127.0.0.1:0"]  # fmt: skip
        for setting in (*SETTINGS, f"flushDiskType={policy}"):
            self.command += ["--set", setting]
        self.running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Wait for the ready line."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.running = await asyncio.create_subprocess_exec(
            *self.command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, env=environment
        )
        assert self.running.stdout is not None
        line = await self.running.stdout.readline()
        assert b" ready at " in line, f"the broker said {line!r} in place of being ready"

    async def kill(self) -> None:
        """SIGKILL, by its own id."""
        assert self.running is not None
        self.running.send_signal(signal.SIGKILL)
        assert await self.running.wait() == -signal.SIGKILL

    async def end(self) -> None:
        """Whatever happened, leave no process behind."""
        if self.running is not None and self.running.returncode is None:
            await self.kill()


class Load:
    """Four senders on one producer, until the broker is gone."""

    def __init__(self, producer: Producer, ledger: Ledger, draw: random.Random, enough: int) -> None:
        self.producer = producer
        self.ledger = ledger
        self.draw = draw
        self.left = enough
        self.reached = asyncio.Event()  # `enough` messages were acknowledged

    async def run(self, process: Process) -> None:
        """Send; kill when enough is acknowledged, while others are on their way."""
        senders = [asyncio.create_task(self._send(queue_id)) for queue_id in range(QUEUES)]
        await self.reached.wait()
        for _ in range(self.draw.randrange(60)):  # some turns of the loop further on
            await asyncio.sleep(0)
        await process.kill()
        await asyncio.gather(*senders)

    async def _send(self, queue_id: int) -> None:
        queue = MessageQueue("load", "broker-a", queue_id)
        try:
            while True:
                if self.draw.random() < 0.3:
                    await self._send_batch(queue)
                else:
                    await self._send_pipelined(queue)
        except MQError:
            return  # the broker is gone; what was not answered was promised to nobody

    async def _send_batch(self, queue: MessageQueue) -> None:
        messages = [self.ledger.message(self.draw) for _ in range(self.draw.randrange(1, 9))]
        result = await self.producer.send_batch(messages, queue)
        for place, message in enumerate(messages, start=result.queue_offset):
            self._note(queue, place, message)

    async def _send_pipelined(self, queue: MessageQueue) -> None:
        messages = [self.ledger.message(self.draw) for _ in range(self.draw.randrange(1, 17))]

        async def send(message: Message) -> None:
            result = await self.producer.send(message, queue)
            self._note(queue, result.queue_offset, message)

        ends = await asyncio.gather(*[send(message) for message in messages], return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException):
                raise end

    def _note(self, queue: MessageQueue, queue_offset: int, message: Message) -> None:
        place = queue.queue_id, queue_offset
        assert place not in self.ledger.acknowledged, f"two messages were acknowledged at {place}"
        self.ledger.acknowledged[place] = message.properties[PROPERTY_UNIQ_KEY]
        self.ledger.told += 1
        self.left -= 1
        if self.left <= 0:
            self.reached.set()


async def check(consumer: PullConsumer, ledger: Ledger) -> None:
    """Every acknowledged message at its place, each message once, and none that was never sent."""
    served: dict[tuple[int, int], str] = {}
    for queue_id in range(QUEUES):
        for message in await pull_all(consumer, queue_id):
            uniq_key = message.properties[PROPERTY_UNIQ_KEY]
            assert ledger.sent.get(uniq_key) == message.body, f"phantom: {message} was never sent so"
            served[queue_id, message.queue_offset] = uniq_key
    assert len(set(served.values())) == len(served), "duplicated: a message is served twice"
    lost = {place: key for place, key in ledger.acknowledged.items() if served.get(place) != key}
    assert not lost, f"lost: {len(lost)} of {len(ledger.acknowledged)} acknowledged, first {min(lost)}"
    # What came through although nobody was told keeps its place from now on.
    ledger.acknowledged = served


async def pull_all(consumer: PullConsumer, queue_id: int) -> list[MessageExt]:
    """A queue from its beginning to its end."""
    queue, found = MessageQueue("load", "broker-a", queue_id), list[MessageExt]()
    while True:
        answer = await consumer.pull(queue, "*", len(found), 32)
        if answer.status is not PullStatus.FOUND:
            what = f"queue {queue_id} gives {len(found)} of {answer.max_offset} messages"
            assert answer.max_offset == len(found), what
            return found
        for message in answer.messages:
            what = f"out of order: {message} comes as number {len(found)} of queue {queue_id}"
            assert message.queue_offset == len(found), what
            found.append(message)


async def one_life(process: Process, node: RealNode, ledger: Ledger, draw: random.Random | None) -> None:
    """Start, check what the last life left, send, be killed. Without `draw` nothing is sent."""
    await process.start()
    instance = ClientInstance(node, process.namesrv)
    producer, consumer = Producer(instance, "load-group"), PullConsumer(instance, "check-group")
    try:
        broker = (await instance.routes.find("TBW102")).brokers[0].addresses[0]
        await create_topic(instance, broker, TopicConfig("load", QUEUES, QUEUES))
        await instance.routes.refresh("load")
        await check(consumer, ledger)
        if draw is not None:
            await Load(producer, ledger, draw, enough=draw.randrange(20, 400)).run(process)
    finally:
        instance.rpc.stop()
        await process.end()


async def kill_again_and_again(
    folder: Path, policy: str, kills: int, program: Sequence[str], seed: str = ""
) -> Ledger:
    """So many lives on one store, each ended by SIGKILL, and one more that only looks."""
    node = RealNode("client", str(folder / "client"))
    namesrv = build_namesrv(node, {"listenPort": "0"})
    await namesrv.start()
    ledger = Ledger()
    process = Process(program, folder / "broker", namesrv.address, policy)
    try:
        for number in range(kills):
            await one_life(process, node, ledger, random.Random(f"{policy} {number}{seed}"))
        await one_life(process, node, ledger, None)
    finally:
        await namesrv.stop()
    return ledger


# ---------------------------------------------------------------- the command


def survey(times: int, policies: Sequence[str], program: Sequence[str] = ("-m", "mq")) -> int:
    """A row for each policy. Returns the exit status."""
    print(f"{'policy':<12}{'kills':>7}{'stores':>8}{'acknowledged':>14}{'in doubt, kept':>16}{'seconds':>9}")
    for policy in policies:
        began, kills, ledgers = time.monotonic(), times // len(policies), list[Ledger]()
        try:
            for first in range(0, kills, KILLS_OF_ONE_STORE):
                count = min(KILLS_OF_ONE_STORE, kills - first)
                ledgers.append(one_store(policy, count, f" store {first // KILLS_OF_ONE_STORE}", program))
                shown = f"{policy}: {first + count} of {kills}"
                if sys.stderr.isatty():
                    print(f"\r{shown}\033[K", end="", file=sys.stderr, flush=True)
        except AssertionError as error:
            print(f"kill: {policy}, store {len(ledgers)}: {error}")
            return 1
        told = sum(ledger.told for ledger in ledgers)
        kept = sum(len(ledger.acknowledged) for ledger in ledgers) - told
        row = f"{policy:<12}{kills:>7}{len(ledgers):>8}{told:>14,}{kept:>16,}"
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}{row}{time.monotonic() - began:>9.0f}", flush=True)
    print("kill: nothing that was acknowledged is missing, nothing is there twice, nothing was made up")
    return 0


def one_store(policy: str, kills: int, seed: str, program: Sequence[str]) -> Ledger:
    """A fresh store in a folder of its own, killed so often."""
    with tempfile.TemporaryDirectory(prefix="mq-kill-") as folder:
        return asyncio.run(kill_again_and_again(Path(folder), policy, kills, program, seed))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=about)
    times_help = "kills, half of them under each policy (default: %(default)s)"
    parser.add_argument("--times", type=int, default=200, help=times_help)
    parser.add_argument("--policy", action="append", choices=POLICIES, help="default: both")
    options = parser.parse_args(arguments)
    return survey(options.times, options.policy or POLICIES)


if __name__ == "__main__":
    sys.exit(main())
