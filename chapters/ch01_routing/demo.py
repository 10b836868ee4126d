"""LGA closes twice: by reset and by silence. Who knows it, and when?

    python -m chapters.ch01_routing.demo

Three brokers, one NameServer, one gate with a route cache, in virtual time and with RocketMQ's own periods.
First the process of LGA is killed: its operating system closes the connection, which is news. Then its
machine loses power: nothing is said, and only time tells.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from chapters.story import BROKERS
from mq.routing.client import ClientInstance, create_topic
from mq.routing.route import TopicRouteData, publish_queues
from mq.routing.topics import TopicConfig
from mq.runtime.journal import Event
from mq.sim.simulation import Simulation
from mq.system import build_broker, build_namesrv

TOPIC = "flights"
CLOSES_AT_S = 100
ENDS_AT_S = 300
STEP_S = 0.05
SEED = 1

DEATHS = {"reset": "process", "silence": "power"}
"""How LGA closes, and what the simulator calls it."""


class Row(NamedTuple):
    """From this moment on, this is what each of them would answer."""

    at_s: float
    why: str
    name_server: str
    gate: str


def run(how: str) -> list[Row]:
    """One run: a row for each moment at which an answer changed."""
    with Simulation(SEED) as sim:
        return sim.run(_story(sim, how))


async def _story(sim: Simulation, how: str) -> list[Row]:
    server = build_namesrv(sim.node("namesrv"))
    await sim.on("namesrv", server.start())
    gate = ClientInstance(sim.node("gate"), server.address)
    for name in BROKERS:
        broker = build_broker(sim.node(name), {"brokerName": name, "namesrvAddr": server.address}, chapter=1)
        await sim.on(name, broker.start())
        await sim.on("gate", create_topic(gate, broker.address, TopicConfig(TOPIC, 8, 8)))
    await sim.on("gate", gate.start())
    await sim.on("gate", gate.routes.find(TOPIC))
    sim.at(CLOSES_AT_S * 1000 - sim.loop.time() * 1000, lambda: sim.kill("LGA", DEATHS[how]))
    return await _watch(sim, lambda: (server.tables.route(TOPIC), gate.routes.cached(TOPIC)))


async def _watch(sim: Simulation, look: Callable[[], tuple[TopicRouteData | None, ...]]) -> list[Row]:
    rows, closed = [Row(sim.loop.time(), "all three are open", *map(brokers_in, look()))], False
    while sim.loop.time() < ENDS_AT_S:
        await asyncio.sleep(STEP_S)
        seen = tuple(map(brokers_in, look()))
        if not closed and sim.loop.time() > CLOSES_AT_S:
            closed = True
            rows.append(Row(sim.loop.time(), "LGA has just closed", *seen))
        elif seen != rows[-1][2:]:
            rows.append(Row(sim.loop.time(), _why(sim.events, rows[-1], seen), *seen))
    return rows


def brokers_in(route: TopicRouteData | None) -> str:
    """The brokers to which a route sends producers, and how many queues that makes."""
    queues = publish_queues(route, TOPIC) if route else []
    return f"{' '.join(sorted({queue.broker_name for queue in queues}))} ({len(queues)} queues)"


def _why(events: list[Event], before: Row, seen: tuple[str, ...]) -> str:
    if seen[0] == before.name_server:
        return "the gate asked again"
    last = [event for event in events if event.node == "namesrv"][-2:]
    reason = dict(last[0].fields).get("reason", "") if last[0].kind == "connection closed" else ""
    return f"LGA was {reason}" if reason else f"LGA is gone: {last[1].cause}"


def text(how: str) -> str:
    """One run as plain text."""
    lines = [
        f"LGA closes by {how}",
        "",
        f"{'second':>8}  {'what happened':<26}{'NameServer says':<26}the gate believes",
    ]
    lines += [f"{row.at_s:8.1f}  {row.why:<26}{row.name_server:<26}{row.gate}" for row in run(how)]
    return "\n".join(lines) + "\n"


def golden() -> dict[str, str]:
    """Both runs."""
    return {f"lga-closes-by-{how}.txt": text(how) for how in DEATHS}


def main() -> None:
    """Both runs, as tables."""
    for how in DEATHS:
        table = Table(title=f"LGA closes by {how}", title_justify="left")
        for head in ("second", "what happened", "NameServer says", "the gate believes"):
            table.add_column(head, justify="right" if head == "second" else "left")
        for row in run(how):
            table.add_row(f"{row.at_s:.1f}", row.why, row.name_server, row.gate)
        Console().print(table)


if __name__ == "__main__":
    main()
