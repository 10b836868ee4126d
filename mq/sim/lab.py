"""Lab: run a scenario, judge it, shrink it when it fails, and say so in a few lines · core

    outcome = run(Scenario.parse("lone-async seed=3"))
    print(outcome.report())

What always holds: the same scenario gives the same outcome, to the byte. A run has failed when a checker
found an anomaly that its flush, replication and faults forbid, or when it could not be brought to its end (a
broker that does not start again, an event that never comes, an exception that nobody awaited).
"""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from mq.routing.broker import Broker
from mq.routing.namesrv import NameServer
from mq.runtime.errors import MQError
from mq.runtime.journal import Event
from mq.sim.checkers import Anomaly, examine
from mq.sim.cluster import Cluster
from mq.sim.history import History
from mq.sim.judge import is_allowed
from mq.sim.life import NodeDied
from mq.sim.loop import Deadlock, Spin
from mq.sim.scenario import Scenario
from mq.sim.simulation import Simulation
from mq.sim.stories import story_of

LIMIT_S = 1_200  # virtual; the longest story needs 300
MAX_TRIES = 60
SENTENCES_SHOWN = 3
Alter = Callable[[Broker | NameServer], None]


@dataclass
class Outcome:
    """How a run went. `scenario` has its faults written out, also when the story drew them."""

    scenario: Scenario
    history: History
    anomalies: list[Anomaly] = field(default_factory=list)  # forbidden here
    allowed: list[Anomaly] = field(default_factory=list)  # happened, and may
    trouble: str = ""  # why the run did not come to its end
    notes: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    events_forgotten: int = 0
    digest: str = ""
    steps: int = 0

    @property
    def failed(self) -> bool:
        """Whether this run shows a defect."""
        return bool(self.anomalies or self.trouble)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What was wrong, in a word each; "trouble" for what has no name."""
        found = dict.fromkeys(anomaly.kind for anomaly in self.anomalies)
        return (*found, "trouble") if self.trouble else tuple(found)

    @property
    def command(self) -> str:
        """What replays it."""
        return f'python -m mq.sim run "{self.scenario}"'

    def verdict(self) -> str:
        """One line."""
        told, missing = self.history.acknowledged(), self.history.missing() if self.history.disks else []
        if self.failed:
            return f"FAILED: {', '.join(self.kinds)}"
        if not self.history.sent:
            return "ok: nobody believed in a broker for longer than it takes to learn that it has gone"
        seen = sum(len(read.records) for read in self.history.reads)
        missed = f", {len(missing)} of them missing, which is allowed here" if missing else ""
        return f"ok: {len(told)} acknowledged{missed}, {seen} shown to readers"

    def befell(self) -> list[str]:
        """A line for each broker group that faults befell, and one for what befell everybody."""
        found: dict[str, list[str]] = {}
        for fault, group in self.history.faults:
            found.setdefault(group or "everybody", []).append(fault)
        return [f"befell {group}: {', '.join(faults)}" for group, faults in found.items()]

    def report(self) -> str:
        """The verdict, what was found, the scenario, and the command that replays it."""
        history = self.history
        lines = [self.verdict(), f"  promise: {history.flush}, replication {history.replication}"]
        lines += [f"  {line}" for line in (*self.befell(), *self.notes)]
        lines += [f"  {text}" for text in _some(self.anomalies)]
        lines += [f"  trouble: {self.trouble}"] if self.trouble else []
        lines += [f"  allowed here: {text}" for text in _some(self.allowed)]
        if self.events_forgotten:
            lines.append(f"  the journal was too long: its first {self.events_forgotten} events are not kept")
        return "\n".join([*lines, f"  scenario: {self.scenario}", f"  replay: {self.command}"])


def _some(anomalies: Sequence[Anomaly]) -> list[str]:
    """The first few of each kind, and how many more."""
    lines = []
    for kind in dict.fromkeys(anomaly.kind for anomaly in anomalies):
        sentences = [str(anomaly) for anomaly in anomalies if anomaly.kind == kind]
        lines += sentences[:SENTENCES_SHOWN]
        if len(sentences) > SENTENCES_SHOWN:
            lines.append(f"{kind}: and {len(sentences) - SENTENCES_SHOWN} more")
    return lines


def written_out(scenario: Scenario) -> Scenario:
    """With the faults that the story draws for this seed. Raises ScenarioError."""
    story = story_of(scenario.name)
    return scenario if scenario.faults is not None else scenario.with_faults(story.faults_of(scenario.seed))


def run(
    scenario: Scenario | str,
    alter: Sequence[Alter] = (),
    simulation: Simulation | None = None,
    is_traced: bool = False,
) -> Outcome:
    """Run it to its end and judge it. `alter` is called with every broker and NameServer before it starts.

    `is_traced`: the journal says of every packet what it was and when it left (kind "sent"), for diagrams.

    Raises ScenarioError when the scenario names what is not there.
    """
    scenario = written_out(Scenario.parse(scenario) if isinstance(scenario, str) else scenario)
    story, faults = story_of(scenario.name), scenario.faults or ()
    with Cluster(scenario.seed, simulation) as cluster:
        stage = story.stage(cluster)
        cluster.sim.network.is_traced = is_traced
        for fault in faults:
            for name in fault.machines:
                cluster.member(name)
        for member in cluster.members.values():
            member.alter += alter
        outcome = Outcome(scenario, cluster.history, notes=stage.notes)
        outcome.trouble = _perform(cluster, story.perform(stage, faults))
        _judge(outcome)
        cluster.sim.record("verdict", outcome.verdict())
        _take_journal(outcome, cluster.sim)
    return outcome


def _perform(cluster: Cluster, work: Coroutine[Any, Any, None]) -> str:
    """Run it; why it did not come to its end, or empty."""
    try:
        cluster.run(work, LIMIT_S)
    except (MQError, NodeDied, Deadlock, Spin, TimeoutError) as error:
        return f"{type(error).__name__}: {error}"
    failures = cluster.sim.failures
    return "; ".join([f"{what} on {node}: {type(error).__name__}: {error}" for node, what, error in failures])


def _judge(outcome: Outcome) -> None:
    history = outcome.history
    for anomaly in examine(history):
        (outcome.allowed if is_allowed(history, anomaly) else outcome.anomalies).append(anomaly)


def _take_journal(outcome: Outcome, simulation: Simulation) -> None:
    outcome.events, outcome.digest = list(simulation.events), simulation.digest()
    outcome.events_forgotten, outcome.steps = simulation.events_forgotten, simulation.loop.steps


# ---------------------------------------------------------------- shrinking


def shrink(
    failed: Outcome, again: Callable[[Scenario], Outcome] = run, tries: int = MAX_TRIES
) -> tuple[Outcome, int]:
    """Drop faults, times kept, while it still fails in one of the same ways. Returns the last, and the tries.

    First halves are dropped, then ever smaller parts, down to single faults; at most `tries` runs are made.
    """
    best, used = failed, 0
    faults = list(failed.scenario.faults or ())
    part = max(1, len(faults) // 2)
    while faults and used < tries:
        for start in range(0, len(faults), part):
            fewer = faults[:start] + faults[start + part :]
            outcome = again(failed.scenario.with_faults(fewer))
            used += 1
            if set(outcome.kinds) & set(failed.kinds):
                best, faults = outcome, fewer
                break
            if used >= tries:
                break
        else:
            if part == 1:
                break
            part = max(1, part // 2)
            continue
        part = max(1, min(part, len(faults) // 2))
    return best, used
