"""Which acknowledged flights are missing? Flush policy by replication by fault, in the night of the 30th.

    python -m chapters.ch04_replication.losses              what is lost; its price in docs/measured.toml
    python -m chapters.ch04_replication.losses --measure    what is lost; its price here and now
    python -m tests.measure chapters.ch04_replication.losses

LGA's broker takes its part of the last minutes of January 29, each event at its time. At midnight the plan
of the 30th is published; 0.3 s later comes the fault. Then whoever is left is asked. What is lost is decided
by the seed and by nothing else.

What the promises cost is measured, with real processes on loopback that take turns, by the lean client of
`make bench` (`tests.bench.load`): the project's own Producer is slower than a broker, so it would hide what
a promise costs. A ratio is made within a round. Every send must be acknowledged with code 0, and then the
queues must hold it, on the slave too, and both logs must end at the same place. Client, master and slave
share the machine's cores, so on two of them a slave costs more than it would on a machine of its own.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from chapters.ch02_commitlog.stores import POWER_GOES_MS, evening_at, queue_of
from chapters.ch04_replication.pair import DESK, MASTER, NAMES, SLAVE, TOPIC, Pair, bodies_of
from chapters.ch04_replication.processes import ROOT, Processes
from chapters.story import Event, new_york, new_york_ms
from mq.commitlog.client import Producer, SendStatus
from mq.commitlog.message import Message
from mq.routing.client import create_topic
from mq.routing.route import MessageQueue
from mq.routing.topics import TopicConfig
from mq.runtime.errors import MQError
from mq.sim.node import EPOCH_MS
from mq.sim.simulation import Simulation
from mq.wire.codes import ResponseCode

MEASURED = ROOT / "docs" / "measured.toml"
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

WINDOW, MESSAGES, BODY_BYTES = 256, 6_000, 100
ROUNDS, LEAST_ROUNDS, BUDGET_S = 7, 3, 40  # when so much time has passed, only the least rounds still begin
PATIENCE_S = 20.0
NO_SLAVE_YET = f"code {ResponseCode.SLAVE_NOT_AVAILABLE:d}:"
BASE = (POLICIES[0], ALONE)
Promise = tuple[str, str]
"""Flush policy and replication."""
Rates = dict[Promise, list[float]]
"""Sends a second, one figure for each round."""


def promises() -> list[Promise]:
    """All of them, the one that the others are compared with first."""
    return [(policy, replication) for policy in POLICIES for replication in REPLICATIONS]


def name_of(promise: Promise) -> str:
    """As docs/measured.toml calls it."""
    return "_".join(promise).lower().replace(" ", "_")


def measure() -> dict[str, object]:
    """Sends a second under each promise, and in percent of those that promise least."""
    return figures_of(asyncio.run(rates_of(promises(), MESSAGES, ROUNDS)))


def figures_of(rates: Rates) -> dict[str, object]:
    """Medians; percents are made within a round, with the least and the most of the rounds beside them."""
    figures: dict[str, object] = {
        "window": WINDOW, "messages": MESSAGES, "body_bytes": BODY_BYTES, "rounds": len(rates[BASE]),
    }  # fmt: skip
    for promise, found in rates.items():
        name = name_of(promise)
        percents = [100 * one / base for one, base in zip(found, rates[BASE], strict=True)]
        figures[f"{name}_per_s"] = round(statistics.median(found))
        figures[f"{name}_percent"] = round(statistics.median(percents))
        figures[f"{name}_percent_min_max"] = [round(min(percents)), round(max(percents))]
    return figures


async def rates_of(asked: Sequence[Promise], messages: int, rounds: int) -> Rates:
    """Let brokers with these promises take turns. The first round only warms up. Raises MQError."""
    began_s, rates = time.monotonic(), Rates((promise, []) for promise in asked)
    lines: dict[Promise, Line] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for promise in asked:
                lines[promise] = Line(promise, Path(folder) / name_of(promise))
                await lines[promise].start()
            for turn in range(rounds + 1):
                if turn > LEAST_ROUNDS and time.monotonic() - began_s > BUDGET_S:
                    break
                for promise, line in lines.items():
                    rates[promise].append(await line.sends_per_s(messages))
        finally:
            for line in lines.values():
                await line.stop()
    return {promise: found[1:] for promise, found in rates.items()}


class Line:
    """A NameServer, a broker with a promise, and its slave if it has one."""

    def __init__(self, promise: Promise, folder: Path) -> None:
        folder.mkdir()
        policy, self.replication = promise
        self.processes = Processes(folder, {"flushDiskType": policy})

    async def start(self) -> None:
        """Returns when a slave has joined and has everything. Raises MQError."""
        await self.processes.start_namesrv()
        await self.processes.start(MASTER, role=ASYNC if self.replication == ALONE else self.replication)
        if self.replication != ALONE:
            await self.processes.start(SLAVE, role="SLAVE")
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                await self.sends_per_s(WINDOW)
                return
            except MQError as error:
                if NO_SLAVE_YET not in str(error) or time.monotonic() > deadline_s:
                    raise

    async def stop(self) -> None:
        """End all of it, by the processes' own ids."""
        await self.processes.stop()

    async def sends_per_s(self, messages: int) -> float:
        """Single sends over one connection, WINDOW under way at a time. Raises MQError."""
        job: dict[str, object] = {
            "address": self.processes.addresses[MASTER], "slave": self.processes.addresses.get(SLAVE, ""),
            "amount": messages, "window": WINDOW, "body_bytes": BODY_BYTES, "queues": QUEUES,
        }  # fmt: skip
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.load", json.dumps(job),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        told, complaint = await client.communicate()
        if client.returncode:
            raise MQError(f"{self.replication}: {complaint.decode().strip()}")
        found = json.loads(told)
        return float(found["messages"] / found["seconds"])


def costs_text(figures: Mapping[str, object]) -> str:
    """What `measure` found, in the columns of the table of losses."""
    lines = [
        f"Sends a second, {figures['window']} under way, {figures['body_bytes']} bytes each, and percent",
        f"of {' with '.join(BASE)}: medians of {figures['rounds']} rounds.",
        "",
        f"{'':34}" + "".join(f"{policy:>19} " for policy in POLICIES),
        f"{'':34}" + "".join(f"{'sends/s':>10}{'percent':>9} " for _ in POLICIES),
    ]
    for replication in REPLICATIONS:
        names = [name_of((policy, replication)) for policy in POLICIES]
        cells = [f"{figures[f'{name}_per_s']:>10,}{figures[f'{name}_percent']:>9} " for name in names]
        lines.append(f"{replication:<34}" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def measured_text(path: Path = MEASURED) -> str:
    """What docs/measured.toml says, with the day and the machine; or how it comes to say something."""
    module = "chapters.ch04_replication.losses"
    found = tomllib.loads(path.read_text("utf-8")).get(module) if path.exists() else None
    if found is None:
        return f"docs/measured.toml does not say what it costs yet: python -m tests.measure {module}\n"
    machine = found["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['python']}"
    return f"{costs_text(found)}\nMeasured on {found['date']}: {where}.\n"


def main(arguments: list[str]) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m chapters.ch04_replication.losses")
    parser.add_argument(
        "--measure", action="store_true", help="what it costs on this machine, now (a minute)"
    )
    options = parser.parse_args(arguments)
    sys.stdout.write(losses_text() + "\n")
    sys.stdout.flush()
    sys.stdout.write(costs_text(measure()) if options.measure else measured_text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
