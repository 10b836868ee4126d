"""SimNode: the Node of one life on a simulated machine · core

What always holds: whatever is started through it belongs to its life, no matter who called; so a driver that
calls `node.call_later` starts a timer of the node, not of its own. After death every method raises Crashed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from mq.runtime.disk import Disk
from mq.runtime.journal import Journal
from mq.runtime.node import Listener, Node, P, T, Timer
from mq.sim.life import Life
from mq.sim.link import Host
from mq.sim.loop import VirtualLoop
from mq.sim.network import Network
from mq.sim.platter import Platter

EPOCH_MS = 1_357_016_400_000  # 2013-01-01T05:00:00Z: New York's midnight, where January begins


class Machine:
    """What stays from life to life: name, address, platter, power, and how far its clock is off."""

    def __init__(self, name: str, host: Host, loop: VirtualLoop, random: Random) -> None:
        self.name = name
        self.host = host
        self.loop = loop
        self.clock_error_ms = 0
        self.lives = 0
        self.replace_disk(random)
        self.wrappers: list[Callable[[Node, Disk], Disk]] = []  # disk faults, put on again in every life
        self.dead_ends: list[Any] = []

    def replace_disk(self, random: Random) -> None:
        """An empty disk. `random` decides what a loss of power will leave of what is written to it."""
        self.platter = Platter(self.loop, random, self.host.journal, self.wall_ms)

    def wall_ms(self) -> int:
        """What its clock shows."""
        return EPOCH_MS + int(self.loop.time() * 1000) + self.clock_error_ms


class SimNode(Node):
    """One life of a machine."""

    def __init__(
        self,
        machine: Machine,
        network: Network,
        life: Life,
        random: Random,
        disk: Disk,
        failed: Callable[[Life, str, Exception], None],
    ) -> None:
        self.name = machine.name
        self.address = machine.host.address
        self.random = random
        self.life = life
        self.machine = machine
        self.disk = disk
        self._network = network
        self._loop = machine.loop
        self._failed = failed
        shared = machine.host.journal
        self.journal = Journal(self.name, shared.clock_ms, shared.listeners, shared.complaint_listeners)
        life.endings.append(self._shut_journal)

    def _shut_journal(self) -> None:
        self.journal.listeners, self.journal.complaint_listeners = [], []

    def wall_ms(self) -> int:
        self.life.check()
        return self.machine.wall_ms()

    def monotonic_ms(self) -> float:
        self.life.check()
        return self._loop.time() * 1000

    def call_later(self, delay_ms: float, callback: Callable[[], object]) -> Timer:
        self.life.check()
        return self._loop.call_later(delay_ms / 1000, callback, context=self.life.context)

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.life.check()
        self._loop.call_soon(callback, context=self.life.context)

    def future(self) -> "asyncio.Future[Any]":
        self.life.check()
        return self._loop.create_future()

    def spawn(self, coroutine: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        if not self.life.alive:
            coroutine.close()  # it never began, so nothing of it runs
        self.life.check()
        task = self._loop.create_task(coroutine, name=name, context=self.life.context.copy())
        task.add_done_callback(self._ended, context=self.life.context)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._failed(self.life, f"task {task.get_name()}", error)

    async def sleep_ms(self, delay_ms: float) -> None:
        self.life.check()
        await asyncio.sleep(delay_ms / 1000)

    async def listen(self, port: int, factory: Callable[[], asyncio.Protocol]) -> Listener:
        return self._network.listen(self.life, self.address, port, factory)

    async def connect(self, address: str, factory: Callable[[], P]) -> P:
        return await self._network.connect(self.life, self.address, address, factory)

    def __repr__(self) -> str:
        return f"<SimNode {self.name} life {self.life.number}{'' if self.life.alive else ' (over)'}>"
