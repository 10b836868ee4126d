"""Simulation: one seed, some machines, and a driver that tells the story · core

What always holds: the same seed and the same driver give the same journal, to the byte, on every machine. The
driver never dies; what it starts through a node, or with `on`, dies with that node.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from mq.runtime.disk import Disk
from mq.runtime.journal import Event, Journal
from mq.runtime.node import Node
from mq.sim.disk import SimDisk
from mq.sim.life import WORLD, Crashed, Life, NodeDied, stream
from mq.sim.link import Host
from mq.sim.loop import Deadlock, Spin, TimeIsUp, new_loop
from mq.sim.network import FIRST_CLIENT_PORT, Network
from mq.sim.node import Machine, SimNode
from mq.sim.platter import CrashPlan

T = TypeVar("T")
MAX_EVENTS_KEPT = 200_000
AFTER_CRASH_MS = 1_000  # how long the others go on after a planned crash, so that what is on its way arrives
DEATHS = ("process", "power", "torn")


class Simulation:
    """A world. `events` is its journal; `failures` are exceptions nobody awaited: (node, what, error).

    Use it in a `with` statement, or call `close`: that throws away what is suspended, all doors shut.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.loop = new_loop()
        self.loop.on_error = self._callback_failed
        self.network = Network(self.loop, seed, self._failed)
        self.events: list[Event] = []
        self.failures: list[tuple[str, str, Exception]] = []
        self._forgotten = hashlib.sha256()
        self._events_forgotten = 0
        self._listeners: list[Callable[[Event], None]] = [self._keep]
        self._machines: dict[str, Machine] = {}
        self._nodes: dict[str, SimNode] = {}
        self._driver = Life("driver", 1)
        self.crashed: CrashPlan | None = None

    # -- machines --------------------------------------------------------------------------------------

    def node(self, name: str, address: str | None = None) -> SimNode:
        """The node of this name in its present life; a new machine when there is none yet."""
        if name not in self._nodes:
            address = address or f"10.0.0.{len(self._machines) + 1}"
            host = Host(address, Journal(name, self._clock_ms, self._listeners), FIRST_CLIENT_PORT)
            if address in self.network.hosts:
                raise ValueError(f"{address} is taken")
            self.network.hosts[address] = host
            self._machines[name] = Machine(name, host, self.loop, stream(self.seed, f"platter {name}"))
            self._begin_life(self._machines[name])
        return self._nodes[name]

    def _begin_life(self, machine: Machine) -> SimNode:
        machine.lives += 1
        life = Life(machine.name, machine.lives)
        disk = SimDisk(machine.platter, life)
        random = stream(self.seed, f"node {machine.name} {life.number}")
        node = SimNode(machine, self.network, life, random, disk, self._failed)
        self._nodes[machine.name] = node
        for wrapper in machine.wrappers:
            node.disk = wrapper(node, node.disk)
        return node

    def wrap_disk(self, name: str, wrapper: Callable[[Node, Disk], Disk]) -> None:
        """Put a fault (see `faults`) on a node's disk, now and in its later lives."""
        node = self.node(name)
        self._machines[name].wrappers.append(wrapper)
        node.disk = wrapper(node, node.disk)

    def kill(self, name: str, death: str = "process") -> None:
        """End the node's life. 'process': what it wrote stays, peers see a reset. 'power': neither.

        'torn': power, and in the middle of the last write of each file. A machine whose process is dead can
        still lose its power; other deaths of the dead are nothing.
        """
        if death not in DEATHS:
            raise ValueError(f"death {death!r}: it must be one of {', '.join(DEATHS)}")
        machine, node = self._machines[name], self._nodes[name]
        if node.life.alive:
            how = "process" if death == "process" else "power"
            machine.host.journal.record("killed", cause=how, life=node.life.number)
            node.life.end()
            if death == "process":
                self.network.process_died(node.life)
            else:
                machine.dead_ends = self.network.power_lost(node.life)
        if death != "process" and machine.host.powered:
            machine.host.powered = False
            self.network.power_gone(machine.host)
            machine.platter.lose_power(is_torn=death == "torn")

    def destroy_disk(self, name: str) -> None:
        """Fault: the machine loses its power and its disk. A later life finds an empty one."""
        self.kill(name, "power")
        machine = self._machines[name]
        machine.host.journal.record("disk destroyed", files=len(machine.platter.names.inodes()))
        machine.replace_disk(stream(self.seed, f"platter {name} {machine.lives}"))

    def restart(self, name: str) -> SimNode:
        """A new life on the same platter. Raises ValueError when the old one still goes on."""
        machine = self._machines[name]
        if self._nodes[name].life.alive:
            raise ValueError(f"{name} is alive: kill it first")
        machine.host.powered = True
        dead_ends, machine.dead_ends = machine.dead_ends, []
        node = self._begin_life(machine)
        machine.host.journal.record("started", life=node.life.number)
        for end in dead_ends:
            end.machine_is_back()
        return node

    def jump_clock(self, name: str, by_ms: int) -> None:
        """Fault: the machine's wall clock is set forward or back. Its monotonic clock goes on."""
        self._machines[name].clock_error_ms += by_ms
        self._machines[name].host.journal.record("clock jumped", by_ms=by_ms)

    def crash_at(self, name: str, call: int, when: str = "before", death: str = "process") -> CrashPlan:
        """Kill the node at its Disk call number `call` (from 1). The run then goes on for AFTER_CRASH_MS."""
        plan = CrashPlan(call, when, lambda: self._crash(name, death, plan))
        self.node(name).machine.platter.plan = plan
        return plan

    def _crash(self, name: str, death: str, plan: CrashPlan) -> None:
        self.crashed, self._machines[name].platter.plan = plan, None
        journal = self._machines[name].host.journal
        journal.record("crash point", at=f"{plan.when} {plan.what}", call=plan.call)
        self.kill(name, death)
        self.loop.deadline_s = min(self.loop.deadline_s, self.loop.time() + AFTER_CRASH_MS / 1000)

    # -- running ---------------------------------------------------------------------------------------

    def run(
        self,
        work: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T],
        timeout_s: float | None = None,
    ) -> T:
        """Run the driver's coroutine to its end and return its result. Other tasks wait for the next `run`.

        Raises Deadlock when it waits for what can never come, TimeoutError after `timeout_s` of virtual time,
        Spin when it never ends. Then it is abandoned where it stands.
        """
        coroutine: Coroutine[Any, Any, T] = work if isinstance(work, Coroutine) else work()
        main = self.start(coroutine, "main")
        self.loop.deadline_s = math.inf if timeout_s is None else self.loop.time() + timeout_s
        try:
            self.loop.run_until_complete(main)
        except (Deadlock, Spin) as error:
            self._abandon_driver()
            raise type(error)(f"{error}{self._failures_text()}") from None
        except TimeIsUp as error:
            self._abandon_driver()
            raise TimeoutError(
                f"virtual time is up at {self._clock_ms():.3f} ms; {error}{self._failures_text()}"
            ) from None
        except Crashed as error:
            raise NodeDied(f"the driver used a door of the dead: {error}") from error
        return main.result()

    def _abandon_driver(self) -> None:
        self._driver.end()
        self._driver = Life("driver", self._driver.number + 1)

    def at(self, delay_ms: float, callback: Callable[[], object]) -> None:
        """Have the driver call it, `delay_ms` from now: how a storm is planned."""
        self.loop.call_later(delay_ms / 1000, callback, context=self._driver.context)

    def start(self, coroutine: Coroutine[Any, Any, T], name: str) -> "asyncio.Task[T]":
        """Run it beside the driver's main coroutine, as a task of the driver."""
        return self.loop.create_task(coroutine, name=name, context=self._driver.context.copy())

    async def on(self, node: SimNode | str, coroutine: Coroutine[Any, Any, T], name: str = "on") -> T:
        """Run it as a task of the node and return its result. Raises NodeDied when the node dies first."""
        node = self.node(node) if isinstance(node, str) else node
        if not node.life.alive:
            coroutine.close()  # it never began
            raise NodeDied(f"{node.name} is dead (life {node.life.number})")
        task: asyncio.Task[T]
        task = self.loop.create_task(coroutine, name=name, context=node.life.context.copy())
        outcome: asyncio.Future[None] = self.loop.create_future()

        def over(*_: object) -> None:
            if not outcome.done():
                outcome.set_result(None)

        task.add_done_callback(over, context=WORLD.context)
        node.life.endings.append(over)
        try:
            await outcome
        except asyncio.CancelledError:
            task.cancel()
            raise
        if over in node.life.endings:
            node.life.endings.remove(over)
        if not node.life.alive and (not task.done() or isinstance(_error_of(task), Crashed)):
            raise NodeDied(f"{node.name} died (life {node.life.number}) while the driver waited for {name!r}")
        return task.result()

    def close(self) -> None:
        """End every life, then throw suspended coroutines away: all doors are shut, nothing can happen."""
        for node in self._nodes.values():
            node.life.alive = False
            node._shut_journal()
        self._driver.alive = False
        self._listeners.clear()
        self.loop.close()

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the journal -----------------------------------------------------------------------------------

    def _clock_ms(self) -> float:
        return self.loop.time() * 1000

    def _keep(self, event: Event) -> None:
        self.events.append(event)
        if len(self.events) > MAX_EVENTS_KEPT:
            self._forget(MAX_EVENTS_KEPT // 2)

    def _forget(self, count: int) -> None:
        self._add_texts(self._forgotten, self.events[:count], self._events_forgotten > 0)
        del self.events[:count]
        self._events_forgotten += count

    @property
    def events_forgotten(self) -> int:
        """How many of the oldest events are no longer kept: a run keeps MAX_EVENTS_KEPT at most."""
        return self._events_forgotten

    def journal_text(self, kinds: Iterable[str] | None = None) -> str:
        """`golden_text` of what is kept, with a first line that says so when that is not all."""
        forgotten, kept = self._events_forgotten, golden_text(self.events, kinds)
        note = f"… the oldest {forgotten} events of this run were not kept\n" if forgotten else ""
        return note + kept

    def digest(self) -> str:
        """`journal.digest` of every event, also of those too old to be kept."""
        whole = self._forgotten.copy()
        self._add_texts(whole, self.events, self._events_forgotten > 0)
        return whole.hexdigest()

    @staticmethod
    def _add_texts(whole: "hashlib._Hash", events: list[Event], go_on: bool) -> None:
        text = "\n".join([event.text() for event in events])
        whole.update(("\n" if go_on and events else "").encode() + text.encode())

    def record(self, kind: str, cause: str = "", **fields: object) -> None:
        """An event of the driver."""
        Journal("driver", self._clock_ms, self._listeners).record(kind, cause, **fields)

    def _failed(self, life: Life, what: str, error: Exception) -> None:
        """Something of a node raised and nobody awaited it."""
        self.failures.append((life.node, what, error))
        Journal(life.node, self._clock_ms, self._listeners).complain(
            f"{what.partition(' ')[0]} failed", what=what, error=f"{type(error).__name__}: {error}"
        )

    def _callback_failed(self, what: str, error: Exception, life: Life) -> None:
        self._failed(life, f"callback {what}", error)

    def _failures_text(self) -> str:
        lines = [
            f"\n  {what} on {node}: {type(error).__name__}: {error}"
            for node, what, error in self.failures[-5:]
        ]
        return f"\nand these had failed before:{''.join(lines)}" if lines else ""


def _error_of(task: "asyncio.Task[Any]") -> BaseException | None:
    return None if task.cancelled() else task.exception()


def golden_text(events: Iterable[Event], kinds: Iterable[str] | None = None) -> str:
    """The journal as lines, the same on every machine; only events of `kinds`, when given."""
    wanted = None if kinds is None else set(kinds)
    return "".join(event.text() + "\n" for event in events if wanted is None or event.kind in wanted)
