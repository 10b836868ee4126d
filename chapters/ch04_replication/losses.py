"""Which acknowledged flights are missing? Flush policy by replication by fault, in the night of the 30th.

    python -m chapters.ch04_replication.losses

LGA's broker takes its part of the last minutes of January 29, each event at its time. At midnight the plan
of the 30th is published; 0.3 s later comes the fault. Then whoever is left is asked. What is lost is decided
by the seed and by nothing else; what the promises cost is measured (`measure`), with real processes.
"""

import asyncio
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from chapters.ch02_commitlog.stores import POWER_GOES_MS, evening_at, queue_of
from chapters.ch04_replication.pair import DESK, MASTER, NAMES, SLAVE, TOPIC, Pair, bodies_of
from chapters.ch04_replication.processes import Processes
from chapters.story import Event, new_york, new_york_ms
from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.routing.client import ClientInstance, create_topic
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.runtime.real import RealNode
from mq.sim.node import EPOCH_MS
from mq.sim.simulation import Simulation

SEED, QUEUES = 30, 8
BEGINS_MS = new_york_ms(29, 23, 50)
LINE_DIES_MS = POWER_GOES_MS - 10_300  # ten seconds before midnight
POLICIES = ("ASYNC_FLUSH", "SYNC_FLUSH")
ALONE, ASYNC, SYNC = REPLICATIONS = ("no slave", "ASYNC_MASTER", "SYNC_MASTER")
FAULTS = {
    "process": "LGA's process dies",
    "power": "LGA's power goes",
    "both": "the power of both goes",
    "destroyed": "LGA is destroyed",
    "cut": "the same, its line dead for 10 s",
}
"""After the first three LGA comes back and is asked, after the others its slave is all there is."""
SAME_ALONE = {"both": "power", "cut": "destroyed"}  # without a slave there is no difference
SETTINGS = {"mappedFileSizeCommitLog": str(1 << 20), "mappedFileSizeConsumeQueue": "6000000"}


class Loss(NamedTuple):
    """Events acknowledged; how many of them are missing where readers are sent; how many of those lie on a
    disk that nobody is sent to."""

    acknowledged: int
    missing: int
    elsewhere: int


@cache
def loss(policy: str, replication: str, fault: str, seed: int = SEED) -> Loss:
    """One night."""
    with Simulation(seed) as sim:
        role = "ASYNC_MASTER" if replication == ALONE else replication
        pair = Pair(sim, role, {**SETTINGS, "flushDiskType": policy})
        return sim.run(_night(pair, replication != ALONE, fault), timeout_s=10_000)


@cache
def events() -> tuple[Event, ...]:
    """What LGA is sent from 23:50 on."""
    return tuple(event for event in evening_at(MASTER) if event.when_ms >= BEGINS_MS)


async def _night(pair: Pair, with_slave: bool, fault: str) -> Loss:
    sim = pair.sim
    names = (MASTER, SLAVE) if with_slave else (MASTER,)
    for name in (*names, NAMES, DESK):
        sim.node(name)
        sim.jump_clock(name, BEGINS_MS - EPOCH_MS - 60_000)  # a minute for everybody to find each other
    pair.settings["defaultTopicQueueNums"] = str(QUEUES)
    await pair.start(*names)
    desk = await pair.desk()
    await sim.on(DESK, create_topic(desk, pair.master.address, TopicConfig(TOPIC, QUEUES, QUEUES)))
    producer, acknowledged = Producer(desk, "operations"), dict[bytes, None]()
    await sim.on(DESK, desk.add(producer))  # its heartbeats keep the connection while nothing happens
    await sim.on(DESK, producer.queues(TOPIC))
    now_ms = sim.node(MASTER).wall_ms()

    def publish(event: Event) -> None:
        sim.node(DESK).spawn(_publish(producer, event, acknowledged), "publish")

    for event in events():
        sim.at(event.when_ms - now_ms, partial(publish, event))
    if fault == "cut":
        sim.at(LINE_DIES_MS - now_ms, pair.cut)
    await asyncio.sleep((POWER_GOES_MS - now_ms) / 1000)
    for name in names:
        if name == MASTER or fault == "both":
            _strike(pair, name, fault)
    await asyncio.sleep(5)
    return await _judged(pair, with_slave, fault, acknowledged)


def _strike(pair: Pair, name: str, fault: str) -> None:
    if fault in ("destroyed", "cut"):
        pair.sim.destroy_disk(name)
    else:
        pair.sim.kill(name, "process" if fault == "process" else "power")


async def _publish(producer: Producer, event: Event, acknowledged: dict[bytes, None]) -> None:
    queue = MessageQueue(TOPIC, MASTER, queue_of(event)[1])
    try:
        result = await producer.send(Message(TOPIC, event.body, tags=event.tag, keys=event.key), queue)
    except MQError:
        return
    if result.status is SendStatus.SEND_OK:
        acknowledged[event.body] = None


async def _judged(pair: Pair, with_slave: bool, fault: str, acknowledged: dict[bytes, None]) -> Loss:
    there: dict[str, set[bytes]] = {MASTER: set(), SLAVE: set()}
    for name in (MASTER, SLAVE) if with_slave else (MASTER,):
        if not pair.sim.node(name).life.alive and not (name == MASTER and fault in ("destroyed", "cut")):
            pair.sim.restart(name)
            await pair.open(name)
        if pair.sim.node(name).life.alive:
            there[name] = set(bodies_of(pair.brokers[name]))
    asked, other = (SLAVE, MASTER) if fault in ("destroyed", "cut") else (MASTER, SLAVE)
    missing = [body for body in acknowledged if body not in there[asked]]
    return Loss(len(acknowledged), len(missing), sum(body in there[other] for body in missing))


def losses_text() -> str:
    """The table."""
    plan = sum(event.when_ms == new_york_ms(30) for event in events())
    lines = [
        f"LGA's broker, {len(events())} events from {new_york(BEGINS_MS)} on, {plan} of them at midnight.",
        "Promised (SEND_OK), and of those: missing.",
        "",
        f"{'':34}" + "".join(f"{policy:>19} " for policy in POLICIES),
        f"{'':34}" + "".join(f"{'promised':>10}{'missing':>9} " for _ in POLICIES),
    ]
    for replication in REPLICATIONS:
        lines += ["", replication]
        for fault, name in FAULTS.items():
            same = SAME_ALONE.get(fault, fault) if replication == ALONE else fault
            cells = [_cells(loss(policy, replication, same)) for policy in POLICIES]
            lines.append(f"  {name:<32}" + "".join(cells))
    lines += ["", "* They lie on the slave's disk, and nobody is sent there: the master is back."]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _cells(found: Loss) -> str:
    mark = "*" if found.elsewhere else " "
    return f"{found.acknowledged:>10}{found.missing:>9}{mark}"


def golden() -> dict[str, str]:
    """The table is the same on every machine."""
    return {"losses.txt": losses_text()}


# ---------------------------------------------------------------- what it costs

WINDOW, MESSAGES, BODY_BYTES = 64, 6_000, 100


def measure() -> dict[str, object]:
    """Sends a second, to a broker in a process of its own whose slave is another, for each promise."""
    rates: dict[str, int] = {}
    for _ in range(3):  # in turn, so that what else the machine does disturbs all alike
        for policy in POLICIES:
            for replication in REPLICATIONS:
                name = f"{policy}_{replication}".lower().replace(" ", "_")
                rates[name] = max(rates.get(name, 0), asyncio.run(sends_per_s(policy, replication)))
    base = rates["async_flush_no_slave"]
    return {
        "window": WINDOW,
        "messages": MESSAGES,
        "body_bytes": BODY_BYTES,
        **{f"{name}_per_s": rate for name, rate in rates.items()},
        **{f"{name}_percent": round(100 * rate / base) for name, rate in rates.items()},
    }


async def sends_per_s(policy: str, replication: str, messages: int = MESSAGES) -> int:
    """Single sends over one connection, WINDOW at a time, each acknowledged with SEND_OK."""
    with tempfile.TemporaryDirectory() as folder:
        node = RealNode("desk", folder)
        processes = Processes(Path(folder), {"flushDiskType": policy})
        try:
            await processes.start_namesrv()
            await processes.start(MASTER, role="ASYNC_MASTER" if replication == ALONE else replication)
            if replication != ALONE:
                await processes.start(SLAVE, role="SLAVE")
            instance = ClientInstance(node, processes.namesrv)
            try:
                return await _rate(instance, processes.addresses[MASTER], messages)
            finally:
                instance.rpc.stop()
        finally:
            await processes.stop()
            node.real_disk.close()


async def _rate(instance: ClientInstance, address: str, messages: int) -> int:
    await create_topic(instance, address, TopicConfig(TOPIC, QUEUES, QUEUES))
    producer = Producer(instance, "operations")
    body = bytes(BODY_BYTES)

    async def one(number: int) -> None:
        result = await producer.send(Message(TOPIC, body), MessageQueue(TOPIC, MASTER, number % QUEUES))
        assert result.status is SendStatus.SEND_OK, result.status

    async def sender(numbers: range) -> None:
        for number in numbers:
            await one(number)

    while True:  # until the slave has joined
        try:
            await asyncio.gather(*[one(number) for number in range(WINDOW)])
            break
        except AssertionError:
            await asyncio.sleep(0.05)
    started_s = time.perf_counter()
    await asyncio.gather(*[sender(range(first, messages, WINDOW)) for first in range(WINDOW)])
    return round(messages / (time.perf_counter() - started_s))


if __name__ == "__main__":
    sys.stdout.write(losses_text())
