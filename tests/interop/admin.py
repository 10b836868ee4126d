"""The official admin tool, mqadmin 4.9.8: the same commands against ours and against the real servers.

What it prints is compared word for word, once addresses, times, versions and rates are taken out. Where the
real broker has more to say (its status, its settings), everything that ours says must be among it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mq.commitlog.client import Producer
from mq.commitlog.message import Message
from mq.consumequeue.client import PullConsumer
from mq.routing.client import ClientInstance
from tests.interop import ours, real
from tests.interop.processes import BUILD, CLIENT_S, ROOT, our_broker, running
from tests.interop.report import Report

NAME = "mqadmin 4.9.8"
HEAP = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
TOPIC, GROUP, CLUSTER, BROKER_NAME = "AdminTopic", "AdminGroup", "DefaultCluster", "broker-a"
OWN_SETTINGS = {  # 4.9.8 asks the machine for the first, and its system properties for the others
    "physicalMemoryBytes",
    "diskSpaceWarningLevelRatio",
    "diskSpaceCleanForciblyRatio",
}
ATTEMPTS = 3
NO_ANSWER = ("RemotingTimeoutException", "RemotingSendRequestException", "RemotingConnectException")
NOT_COMPARED = {"clusterList -m"}  # how many messages went out on which day: nobody counts that here


@dataclass(frozen=True)
class Command:
    """One command. `{broker}` stands for the broker's address; `shown` is what must be in its output."""

    words: str
    shown: tuple[str, ...] = field(default=())

    def at(self, namesrv: str, broker: str) -> list[str]:
        """Its words."""
        return [*self.words.format(broker=broker).split(), "-n", namesrv]


COMMANDS = (
    Command("clusterList", (CLUSTER, BROKER_NAME)),
    Command("clusterList -m", (CLUSTER, BROKER_NAME)),
    Command(f"topicStatus -t {TOPIC}", (f"{BROKER_NAME} 0 0 3", f"{BROKER_NAME} 1 0 2")),
    Command(f"topicRoute -t {TOPIC}", ('"writeQueueNums":2',)),
    Command("topicList", (TOPIC, "TBW102")),
    Command("topicList -c", (f"{CLUSTER} {TOPIC} {GROUP}",)),
    Command(f"topicClusterList -t {TOPIC}", (CLUSTER,)),
    Command(f"updateOrderConf -m put -t {TOPIC} -v {BROKER_NAME}:2", ("update orderConf success",)),
    Command(f"updateOrderConf -m get -t {TOPIC}", (f"orderConf=[{BROKER_NAME}:2]",)),
    Command(f"updateOrderConf -m delete -t {TOPIC}", ("delete orderConf success",)),
    Command("updateKvConfig -s space -k key -v value", ("success",)),
    Command("deleteKvConfig -s space -k key", ("success",)),
    Command(f"wipeWritePerm -b {BROKER_NAME}", ("OK, ",)),
    Command(f"topicRoute -t {TOPIC}", ('"perm":4',)),
    Command(f"addWritePerm -b {BROKER_NAME}", ("OK, ",)),
    Command("updateTopic -b {broker} -t Made -r 3 -w 3", ("success", "readQueueNums=3")),
    Command("updateTopic -b {broker} -t Made -r 2 -w 2 -o true", ("success", "set broker orderConf")),
    Command("updateOrderConf -m get -t Made", (f"orderConf=[{BROKER_NAME}:2]",)),
    Command("updateSubGroup -b {broker} -g Made_CG -r 3", ("success", "retryMaxTimes=3")),
    Command("deleteSubGroup -b {broker} -g Made_CG", ("delete subscription group [Made_CG]",)),
    Command(f"consumerProgress -g {GROUP}", (f"{TOPIC} {BROKER_NAME} 1 2 1 1", "Diff Total: 4")),
    Command("consumerConnection -g Nobody", ("SubCommandException",)),
    Command(f"producerConnection -g Nobody -t {TOPIC}", ("CODE: 1 ", "Nobody")),
    Command(f"cleanUnusedTopic -c {CLUSTER}", ("success",)),
    Command(f"deleteTopic -t {TOPIC} -c {CLUSTER}", ("from cluster", "from NameServer success")),
    Command(f"topicStatus -t {TOPIC}", ("CODE: 17 ",)),
    Command(f"topicRoute -t {TOPIC}", ("CODE: 17 ",)),
)
"""In this order: later ones see what earlier ones have changed."""


def run(report: Report, scratch: Path) -> None:
    """Ours, then the real ones; first what must be shown, then what differs."""
    told: dict[str, list[str]] = {}
    keys: dict[str, tuple[set[str], set[str]]] = {}
    for whose, servers in (("ours", our_pair), ("the real ones", real_pair)):
        with report.part(f"{NAME}, {whose}", "27 commands"), servers(scratch) as (namesrv, broker):
            prepare(namesrv)
            keys[whose] = (
                keys_of("brokerStatus", namesrv, broker),
                keys_of("getBrokerConfig", namesrv, broker),
            )
            told[whose] = [mqadmin(*command.at(namesrv, broker)) for command in COMMANDS]
            for command, text in zip(COMMANDS, told[whose], strict=True):
                missing = [words for words in command.shown if words not in text]
                report.equal(f"{NAME}, {whose}", command.words, missing, [])
    with report.part(f"{NAME}, compared", "word for word"):
        for number, command in enumerate(COMMANDS):
            if command.words in NOT_COMPARED:
                continue
            mine, theirs = (plain(texts[number]) for texts in told.values())
            report.equal(f"{NAME}, compared", command.words, mine, theirs)
        (status, settings), (real_status, real_settings) = keys.values()
        report.equal(f"{NAME}, compared", "brokerStatus: no key of our own", status - real_status, set())
        own = settings - real_settings
        report.equal(f"{NAME}, compared", "getBrokerConfig: no key of our own", own - OWN_SETTINGS, set())


@contextmanager
def our_pair(scratch: Path) -> Iterator[tuple[str, str]]:
    """Our NameServer and broker: their addresses."""
    command = [
        sys.executable,
        "-m",
        "mq",
        "namesrv",
        "--listen",
        "127.0.0.1:0",
        "--store",
        str(scratch / "kv"),
    ]
    server = running("our NameServer", command, r"^namesrv ready at (\S+)$", ROOT)
    with server as (_, namesrv), our_broker(scratch / "admin-ours", namesrv) as broker:
        yield namesrv, broker


@contextmanager
def real_pair(scratch: Path) -> Iterator[tuple[str, str]]:
    """The real NameServer, without the keys that it kept from another run, and broker: their addresses."""
    shutil.rmtree(real._home() / "namesrv", ignore_errors=True)
    with real.namesrv() as namesrv, real.broker(scratch / "admin-real", namesrv):
        yield namesrv, real.BROKER


def prepare(namesrv: str) -> None:
    """A topic of two queues with three and two messages; a group that has come to 1 in the second queue."""
    ours.create_topic(namesrv, TOPIC, 2)

    async def consume(instance: ClientInstance) -> None:
        producer, consumer = Producer(instance, "AdminProducers"), PullConsumer(instance, GROUP)
        await instance.add(producer)
        await instance.add(consumer)
        queues = sorted(await consumer.fetch_queues(TOPIC))
        for number in range(5):
            await producer.send(Message(TOPIC, f"message {number}".encode()), queues[number // 2 % 2])
        await instance.heartbeat()  # makes the group's %RETRY% topic, through which the tool looks for it
        await consumer.update_offset(queues[1], 1)

    ours.with_client(namesrv, consume)


def mqadmin(*words: str) -> str:
    """Run the tool; everything that it printed, with blanks made one.

    Its timeouts are short for a machine that does much else, and every command here may be given twice.
    """
    text = ""
    for _ in range(ATTEMPTS):
        text = _mqadmin(words)
        if not any(sign in text for sign in NO_ANSWER):
            break
    return text


def _mqadmin(words: Sequence[str]) -> str:
    home = real._home()
    jars = f"{BUILD / 'client' / 'lib'}/*"
    main = "org.apache.rocketmq.tools.command.MQAdminStartup"
    done = subprocess.run(
        ["java", *HEAP, f"-Duser.home={home}", "-cp", jars, main, *words],
        env={**os.environ, "ROCKETMQ_HOME": str(home)}, cwd=home, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CLIENT_S,
        check=False,
    )  # fmt: skip
    return "\n".join(" ".join(line.split()) for line in done.stdout.splitlines())


def keys_of(command: str, namesrv: str, broker: str) -> set[str]:
    """The names in a table of `name : value` or `name = value`."""
    text = mqadmin(command, "-b", broker, "-n", namesrv)
    return {found[1] for found in re.finditer(r"(?m)^(\w+) ?[:=] ", text)}


_OUT = (
    (re.compile(r"127\.0\.0\.1:\d+|\b127\.0\.0\.1@\S+"), "<address>"),
    (re.compile(r"V4_9_\d"), "<version>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}|\b1[78]\d{11}\b"), "<time>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r"\b\d+\.\d+\b"), "<rate>"),
    (
        re.compile(r"OK, \d+"),
        "OK, <topics>",
    ),  # the real broker makes one more when it first looks for half messages
)


def plain(text: str) -> list[str]:
    """Its lines without what differs between any two runs, sorted: the tool prints Java's hash maps."""
    for pattern, name in _OUT:
        text = pattern.sub(name, text)
    return sorted(line for line in text.splitlines() if line and not line.startswith(("at ", "...")))
