"""Crash points, enumerated: the same scenario again and again, with a death at each Disk call · core

What always holds: every call of the chosen node's disk, over all its lives, is tried twice, once with the
death just before it and once just after it, and then once at the scenario's end. So "survives a crash" is a
count, not a hope. A failure names the point, the call and the line that replays it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mq.sim.life import Crashed
from mq.sim.simulation import Simulation

Scenario = Callable[[Simulation], object]  # runs in a fresh Simulation, to its end or to the crash
Check = Callable[[Simulation], object]  # runs after the restart; raises when something is wrong


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """`when` is 'before' or 'after' Disk call number `call`, or 'end' of the scenario (call 0)."""

    node: str
    call: int
    when: str
    death: str
    seed: int

    def __str__(self) -> str:
        return f"crash node={self.node} call={self.call} when={self.when} death={self.death} seed={self.seed}"

    @staticmethod
    def parse(text: str) -> "CrashPoint":
        """The point that `str` wrote. Raises ValueError."""
        try:
            word, *parts = text.split()
            found = dict(part.split("=", 1) for part in parts)
            call, seed = int(found["call"]), int(found["seed"])
            point = CrashPoint(found["node"], call, found["when"], found["death"], seed)
        except (ValueError, KeyError):
            raise ValueError(f"{text!r} is not 'crash node=… call=… when=… death=… seed=…'") from None
        if word != "crash":
            raise ValueError(f"{text!r} does not begin with 'crash'")
        return point


class CrashFailure(AssertionError):
    """The check failed after a crash at `point`, at the Disk call `what`."""

    def __init__(self, point: CrashPoint, what: str, error: Exception) -> None:
        super().__init__(
            f"{point.death} death {point.when} {what} (call {point.call}, seed {point.seed}): "
            f"{type(error).__name__}: {error}\n  replay: {point}"
        )
        self.point = point
        self.what = what


@dataclass(frozen=True, slots=True)
class CrashReport:
    """`calls` that the scenario makes, the `points` that were run, and how many of those `fired`."""

    calls: int
    points: int
    fired: int


def disk_calls(scenario: Scenario, node: str, seed: int = 0) -> tuple[int, list[int]]:
    """How many Disk calls the node makes without a crash, and the numbers of those that change something."""
    with Simulation(seed) as simulation:
        scenario(simulation)
        platter = simulation.node(node).machine.platter
        return platter.calls, list(platter.changing_calls)


def count_disk_calls(scenario: Scenario, node: str, seed: int = 0) -> int:
    """How many Disk calls the node makes in a run without a crash."""
    return disk_calls(scenario, node, seed)[0]


def enumerate_crashes(
    scenario: Scenario,
    check: Check,
    node: str,
    death: str = "process",
    seed: int = 0,
    points: int | None = None,
    changing_only: bool = False,
) -> CrashReport:
    """Crash `node` at every point (at most `points` of them, evenly spread), restart it, and `check`.

    `changing_only` leaves out reads: what they read cannot be hurt, though what was sent between them can.
    Raises CrashFailure at the first point whose check fails.
    """
    calls, changing = disk_calls(scenario, node, seed)
    numbers = changing if changing_only else range(1, calls + 1)
    every = [CrashPoint(node, call, when, death, seed) for call in numbers for when in ("before", "after")]
    every.append(CrashPoint(node, 0, "end", death, seed))
    chosen = spread(every, points)
    fired = sum([crash_once(scenario, check, point) for point in chosen])
    return CrashReport(calls, len(chosen), fired)


def spread(every: list[CrashPoint], most: int | None) -> list[CrashPoint]:
    """At most `most` of them, evenly spaced, the first and the last among them."""
    if most is None or len(every) <= most:
        return every
    if most < 2:
        return every[:most]
    return [every[number * (len(every) - 1) // (most - 1)] for number in range(most)]


def crash_once(scenario: Scenario, check: Check, point: CrashPoint) -> bool:
    """Run one point. Returns whether its call was reached (a call that raises has no 'after')."""
    with Simulation(point.seed) as simulation:
        plan = simulation.crash_at(point.node, point.call, point.when, point.death)
        try:
            _scenario_until_crash(scenario, simulation)
            fired = simulation.crashed is not None
            if not fired:
                plan.what = "the end"
                simulation.kill(point.node, point.death)
            simulation.restart(point.node)
            check(simulation)
        except Exception as error:
            raise CrashFailure(point, plan.what or "(not reached)", error) from error
    return fired


def _scenario_until_crash(scenario: Scenario, simulation: Simulation) -> None:
    """What the scenario raises once the node is dead is the crash's doing, unless it is an assertion."""
    try:
        scenario(simulation)
    except AssertionError:
        raise
    except (Exception, Crashed):
        if simulation.crashed is None:
            raise


def replay(scenario: Scenario, check: Check, line: str) -> bool:
    """Run the one point that a failure's `replay:` line names."""
    return crash_once(scenario, check, CrashPoint.parse(line))
