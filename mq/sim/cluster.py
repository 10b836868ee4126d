"""Cluster: named machines with NameServers, brokers and clients, and the faults that befall them · core

    with Cluster(seed=7) as cluster:
        cluster.add_namesrv("n")
        cluster.add_broker("a", flushDiskType="SYNC_FLUSH")
        cluster.add_client("c")
        cluster.plan([Fault.parse("1200:kill=a/power"), Fault.parse("3000:restart=a")])
        cluster.run(story(cluster))

What always holds: one seed decides every draw of the whole cluster. A restart is a new life on the same disk.
A fault that has nothing to do (a kill of the dead, a restart of the living) does nothing and says so, so that
any list of faults can be run, and one can be left out. Times are virtual milliseconds since the run began.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from mq.routing.broker import Broker
from mq.routing.client import ClientInstance
from mq.routing.namesrv import NameServer
from mq.runtime.errors import MQError
from mq.sim.befell import befell
from mq.sim.history import History
from mq.sim.life import NodeDied
from mq.sim.link import Link
from mq.sim.loop import Deadlock
from mq.sim.members import BrokerMember, ClientMember, Member, NameServerMember, Program
from mq.sim.platter import CrashPlan
from mq.sim.promises import classes
from mq.sim.scenario import Fault, ScenarioError
from mq.sim.simulation import Simulation
from mq.sim.trouble import Trouble
from mq.system import LATEST

T = TypeVar("T")
M = TypeVar("M", bound=Member)
LOOK_MS = 100  # how often `until` looks
SMALL_FILES = {  # so that a short run rolls log, queues and index
    "mappedFileSizeCommitLog": "16384",
    "mappedFileSizeConsumeQueue": "400",
    "maxHashSlotNum": "500",
    "maxIndexNum": "60",
}


class Cluster:
    """Members by name, in the order in which they were added and are started."""

    def __init__(self, seed: int = 0, simulation: Simulation | None = None) -> None:
        self.sim = simulation or Simulation(seed)
        self.history = History()
        self.members: dict[str, Member] = {}
        self.troubles: dict[str, Trouble] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._destroyed: dict[str, None] = {}

    # -- building --------------------------------------------------------------------------------------

    def add_namesrv(self, name: str, **properties: str) -> NameServerMember:
        """A NameServer on port 9876. `properties` have RocketMQ's key names."""
        self.history.nameservers += (name,)
        return self._add(NameServerMember(name, self._address(name), properties))

    def add_broker(
        self, name: str, chapter: int = LATEST, namesrv: Iterable[str] | None = None, **properties: str
    ) -> BrokerMember:
        """A broker of a chapter; it knows all NameServers added so far, or those named.

        `properties` go to it unchanged: a slave has brokerName, brokerId="1", brokerRole="SLAVE".
        """
        known = {"namesrvAddr": self._namesrv_addr(namesrv), **SMALL_FILES, **properties}
        return self._add(BrokerMember(name, self._address(name), known, chapter))

    def add_client(
        self, name: str, namesrv: Iterable[str] | None = None, **programs: Program
    ) -> ClientMember:
        """A client process; it knows all NameServers added so far, or those named."""
        member = ClientMember(name, self._address(name), self._namesrv_addr(namesrv))
        member.programs.update(programs)
        return self._add(member)

    def _add(self, member: M) -> M:
        self.members[member.name] = member
        return member

    def _address(self, name: str) -> str:
        if name in self.members:
            raise ValueError(f"there is a {name} already")
        address = self.sim.node(name).address
        self.troubles[name] = Trouble()
        self.troubles[name].put(self.sim, name)
        return address

    def _namesrv_addr(self, names: Iterable[str] | None) -> str:
        known = self._of(NameServerMember)
        chosen = known if names is None else [member for member in known if member.name in list(names)]
        return ";".join(member.port_address for member in chosen)

    def _of(self, kind: type[M]) -> list[M]:
        return [member for member in self.members.values() if isinstance(member, kind)]

    # -- who is there ----------------------------------------------------------------------------------

    def member(self, name: str) -> Member:
        """The member of this name. Raises ScenarioError."""
        if name not in self.members:
            raise ScenarioError(f"there is no machine {name!r} here; there are {', '.join(self.members)}")
        return self.members[name]

    @property
    def brokers(self) -> list[BrokerMember]:
        """All brokers, running or not."""
        return self._of(BrokerMember)

    @property
    def nameservers(self) -> list[NameServerMember]:
        """All NameServers, running or not."""
        return self._of(NameServerMember)

    @property
    def clients(self) -> list[ClientMember]:
        """All clients, running or not."""
        return self._of(ClientMember)

    def broker(self, name: str) -> Broker:
        """The broker that runs there. Raises LookupError."""
        return _running(name, self.member(name), Broker)

    def namesrv(self, name: str) -> NameServer:
        """The NameServer that runs there. Raises LookupError."""
        return _running(name, self.member(name), NameServer)

    def client(self, name: str) -> ClientInstance:
        """The client that runs there. Raises LookupError."""
        return _running(name, self.member(name), ClientInstance)

    def is_alive(self, name: str) -> bool:
        """Whether its machine's present life goes on."""
        return self.sim.node(name).life.alive

    @property
    def now_ms(self) -> float:
        """Virtual time since the run began."""
        return self.sim.loop.time() * 1000

    # -- starting and ending ---------------------------------------------------------------------------

    async def start(self, *names: str) -> None:
        """Start these members, or all, one after the other. Raises MQError when one refuses."""
        for name in names or tuple(self.members):
            member = self.member(name)
            await self._open(member)
            if member.refusal:
                raise MQError(f"{name} did not start: {member.refusal}")

    async def _open(self, member: Member) -> None:
        node = self.sim.node(member.name)
        member.refusal = ""
        try:
            await self.sim.on(node, member.open(node), f"start {member.name}")
        except NodeDied:
            return
        except (MQError, OSError) as error:
            member.refusal = str(error)
            self._note("did not start", member.refusal, machine=member.name)
            self.kill(member.name)  # a process that cannot start ends
            return
        member.is_open = True
        self._reachability_changed()

    def kill(self, name: str, death: str = "process") -> None:
        """End the life of a machine. Of a dead process the power can still go."""
        self._end(name, death)
        befell(self.history, self.brokers, classes("kill", (death,)), name, (), self.now_ms)

    def _end(self, name: str, death: str) -> None:
        member = self.member(name)
        was_alive = self.is_alive(name)
        self.sim.kill(name, death)
        member.closed()
        if was_alive:
            is_told = death == "process" and not self._is_cut_somewhere(name)
            self.history.absent(name, "reset" if is_told else "silence", self.now_ms)

    def restart(self, name: str) -> "asyncio.Task[None]":
        """A new life, in which the member begins again; the task is done when it has, or has refused."""
        member = self.member(name)
        self.sim.restart(name)
        self._destroyed.pop(name, None)
        self._starting[name] = self.sim.start(self._open(member), f"restart {name}")
        return self._starting[name]

    def run(
        self, work: Callable[[], Coroutine[Any, Any, T]] | Coroutine[Any, Any, T], limit_s: float = 3_600
    ) -> T:
        """Run a driver's coroutine to its end. Raises as `Simulation.run` does."""
        return self.sim.run(work, timeout_s=limit_s)

    async def until(self, condition: Callable[[], bool], what: str, limit_s: float = 120) -> None:
        """Let time pass until `condition` holds. Raises Deadlock: what never came, and who waits where."""
        for _ in range(int(limit_s * 1000 / LOOK_MS)):
            if condition():
                return
            await asyncio.sleep(LOOK_MS / 1000)
        waiting = "\n".join(self.sim.loop.waiting())
        raise Deadlock(f"{what}: waited for in vain for {limit_s:.0f} s; these wait:\n{waiting}")

    async def calm(self) -> None:
        """End every fault: links are healed, disks mended, the dead start again. A destroyed disk stays away.

        Raises MQError when a member does not start although nothing is wrong with its machine.
        """
        self._note("calm")
        self._set_links([("*", "*")], cut=False)
        for name, trouble in self.troubles.items():
            trouble.mend()
            self.sim.node(name).machine.platter.plan = None
        for name, member in self.members.items():
            if name in self._destroyed and not self.is_alive(name):
                continue
            if not self.is_alive(name):
                self.restart(name)
            if not member.is_open and name in self._starting:
                await self._starting[name]
            if not member.is_open and member.refusal:
                await self.restart(name)  # its refusal may have been the fault's doing
            if member.refusal:
                raise MQError(f"{member.kind} {name} does not start again: {member.refusal}")

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.sim.close()

    # -- faults ----------------------------------------------------------------------------------------

    def plan(self, faults: Iterable[Fault]) -> None:
        """Have each happen at its time. Raises ScenarioError for a machine that is not here."""
        faults = list(faults)
        for fault in faults:
            for name in fault.machines:
                self.member(name)
        for fault in faults:
            self.sim.at(fault.at_ms - self.now_ms, lambda fault=fault: self.apply(fault))  # type: ignore[misc]

    def apply(self, fault: Fault) -> None:
        """Do it now."""
        why_not = self._why_not(fault)
        self._note("fault" if not why_not else "fault without effect", why_not, fault=str(fault))
        if why_not:
            return
        if (name := classes(fault.kind, fault.values)) and fault.kind not in ("kill", "crash"):
            befell(self.history, self.brokers, name, fault.target, fault.ways, self.now_ms)
        getattr(self, f"_do_{fault.kind}")(fault)

    def _why_not(self, fault: Fault) -> str:
        is_node = len(fault.machines) == 1 and fault.target == fault.machines[0]
        alive = not is_node or self.is_alive(fault.target)
        if fault.kind == "restart" and alive:
            return f"{fault.target} is alive"
        powered = not is_node or self.sim.node(fault.target).machine.host.powered
        if fault.kind in ("kill", "crash") and not alive and (fault.values[0] == "process" or not powered):
            return f"{fault.target} is dead already"
        return ""

    def _do_kill(self, fault: Fault) -> None:
        self.kill(fault.target, fault.values[0])

    def _do_crash(self, fault: Fault) -> None:
        death, when, calls = fault.values
        platter = self.sim.node(fault.target).machine.platter

        def die() -> None:
            platter.plan = None
            self._note("crash point", at=f"{plan.when} {plan.what}", call=plan.call, machine=fault.target)
            self.kill(fault.target, death)

        plan = platter.plan = CrashPlan(platter.calls + int(calls), when, die)

    def _do_restart(self, fault: Fault) -> None:
        self.restart(fault.target)

    def _do_destroy(self, fault: Fault) -> None:
        self._end(fault.target, "power")
        self.sim.destroy_disk(fault.target)
        self._destroyed[fault.target] = None

    def _do_cut(self, fault: Fault) -> None:
        self._set_links(fault.ways, cut=True)

    def _do_heal(self, fault: Fault) -> None:
        self._set_links(fault.ways, cut=False)

    def _set_links(self, ways: Iterable[tuple[str, str]], cut: bool) -> None:
        for link in self._links(ways):
            link.is_cut = cut
            if not cut:
                link.delay_s = link.jitter_s = 0.0
        self._reachability_changed()

    def _do_delay(self, fault: Fault) -> None:
        for link in self._links(fault.ways):
            link.delay_s, link.jitter_s = (int(value) / 1000 for value in fault.values)

    def _do_reset(self, fault: Fault) -> None:
        one, other = fault.ways[0]
        for link in self.sim.network.links(self._at(one), self._at(other)):
            assert link.source is not None and link.target is not None
            self.sim.network.reset_connections(link.source.address, link.target.address)

    def _do_slow(self, fault: Fault) -> None:
        self.troubles[fault.target].slow(int(fault.values[0]))

    def _do_full(self, fault: Fault) -> None:
        self.troubles[fault.target].full(int(fault.values[0]))

    def _do_fail(self, fault: Fault) -> None:
        self.troubles[fault.target].fail(fault.values[0], int(fault.values[1]))

    def _do_readonly(self, fault: Fault) -> None:
        self.troubles[fault.target].read_only()

    def _do_mend(self, fault: Fault) -> None:
        self.troubles[fault.target].mend()

    def _do_clock(self, fault: Fault) -> None:
        self.sim.jump_clock(fault.target, int(fault.values[0]))

    # -- the network as faults see it ------------------------------------------------------------------

    def _links(self, ways: Iterable[tuple[str, str]]) -> list[Link]:
        return [
            link for one, other in ways for link in self.sim.network.links(self._at(one), self._at(other))
        ]

    def _at(self, name: str) -> str:
        return name if name == "*" else self.member(name).address

    def _is_cut_somewhere(self, name: str) -> bool:
        ways = [(name, other.name) for other in self.nameservers if other.name != name]
        return any(link.is_cut for link in self._links(ways))

    def _is_isolated(self, member: Member) -> bool:
        """Whether no NameServer can hear it, or be heard by it."""
        there = [each.name for each in self.nameservers]
        pairs = [[(member.name, name), (name, member.name)] for name in there]
        return bool(pairs) and all(any(link.is_cut for link in self._links(pair)) for pair in pairs)

    def _reachability_changed(self) -> None:
        for member in self.members.values():
            if not isinstance(member, NameServerMember) and self._is_isolated(member):
                self.history.absent(member.name, "silence", self.now_ms)
            elif member.is_open:
                self.history.back(member.name, self.now_ms)

    def _note(self, kind: str, cause: str = "", **fields: object) -> None:
        self.sim.record(kind, cause, **fields)


def _running(name: str, member: Member, kind: type[T]) -> T:
    current = getattr(member, "current", None)
    if not member.is_open or not isinstance(current, kind):
        raise LookupError(f"no {kind.__name__} runs on {name}")
    return current
