"""A crash at every Disk call of the broker that changes something, and a judgement of every restart.

    python -m tests.crash                                            everything, with a table
    python -m tests.crash --stride 10                                each tenth point
    python -m tests.crash --policy SYNC_FLUSH --death power --point 117 --seed 3       one point again

Points are numbered: one just before and one just after each such call, and one at the story's end. A restart
that is itself interrupted has `--second K`: it dies before its own Disk call K. The exit status is 1 when any
restart shows what it must not. "Torn" counts records that had been promised to nobody and came back with
zeros in their properties: the format's checksum does not cover those.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from mq.sim.crashes import CrashFailure, CrashPoint, crash_once, disk_calls
from tests.crash_judge import Case
from tests.crash_scenario import BROKER, POLICIES

DEATHS = ("process", "power")
POWER_SEEDS = 4
SECOND_STRIDE = 8  # of the points, each eighth is run again with a second crash
RESTART_CALLS = 90  # a restart makes about as many Disk calls
FAILURES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One point of one story. `number` counts points; `second` interrupts the restart."""

    policy: str
    number: int
    point: CrashPoint
    second: int | None = None
    jump_ms: int = 0

    @property
    def command(self) -> str:
        """What replays it."""
        again = "" if self.second is None else f" --second {self.second}"
        again += f" --jump {self.jump_ms}" if self.jump_ms else ""
        return (
            f"python -m tests.crash --policy {self.policy} --death {self.point.death} "
            f"--point {self.number} --seed {self.point.seed}{again}"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a restart showed: how much had been acknowledged, how much of it was missing, what was wrong."""

    job: Job
    acknowledged: int
    missing: int
    torn: int
    second_fired: bool
    failure: str = ""


@dataclass
class Row:
    """One line of the table: a policy, a death, once or twice."""

    policy: str
    death: str
    twice: bool
    jobs: list[Job]
    outcomes: list[Outcome] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[Outcome]:
        """The restarts that showed what they must not."""
        return [outcome for outcome in self.outcomes if outcome.failure]

    def text(self) -> str:
        """As it stands in the table."""
        missing = [outcome.missing for outcome in self.outcomes if outcome.missing]
        acknowledged = sum(outcome.acknowledged for outcome in self.outcomes)
        lost = f"{sum(missing)} in {len(missing)}, at most {max(missing)}" if missing else "none"
        torn = sum(outcome.torn for outcome in self.outcomes)
        verdict = f"{len(self.failures)} FAILED" if self.failures else "ok"
        death = self.death + (" twice" if self.twice else "")
        seeds = len({job.point.seed for job in self.jobs})
        return (
            f"{self.policy:<12} {death:<14}{len(self.outcomes):>7}{seeds:>6}{acknowledged:>13}  "
            f"{lost:<24}{torn:>5} {verdict:<10}{self.seconds:>6.0f}"
        )


HEAD = (
    f"{'policy':<12} {'death':<14}{'points':>7}{'seeds':>6}{'acknowledged':>13}  "
    f"{'of these missing':<24}{'torn':>5} {'verdict':<10}{'s':>6}"
)


def points(policy: str, death: str, seed: int, jump_ms: int = 0) -> list[CrashPoint]:
    """Before and after each Disk call that changes something, and the end."""
    _, changing = disk_calls(Case(policy, death, jump_ms=jump_ms).play, BROKER, seed)
    every = [CrashPoint(BROKER, call, when, death, seed) for call in changing for when in ("before", "after")]
    return [*every, CrashPoint(BROKER, 0, "end", death, seed)]


def jobs_for(
    policy: str, death: str, seeds: Iterable[int], stride: int = 1, twice: bool = False, jump_ms: int = 0
) -> list[Job]:
    """The points of a row; each seed begins at another one when a stride leaves some out."""
    jobs = []
    for seed in seeds:
        every = list(enumerate(points(policy, death, seed, jump_ms)))
        for number, point in every[(seed - 1) % stride :: stride]:
            second = 1 + number * 37 % RESTART_CALLS if twice else None
            jobs.append(Job(policy, number, point, second, jump_ms))
    return jobs


def run_job(job: Job) -> Outcome:
    """Crash, restart, judge."""
    case = Case(job.policy, job.point.death, job.second, job.jump_ms)
    failure = ""
    try:
        crash_once(case.play, case.judge, job.point)
    except CrashFailure as error:
        cause = error.__cause__
        kind = "" if isinstance(cause, AssertionError) else f"{type(cause).__name__}: "
        failure = f"{job.point.death} death {job.point.when} {error.what}: {kind}{cause}"
    return Outcome(job, case.acknowledged, len(case.missing), case.torn, case.second_fired, failure)


def report(outcome: Outcome) -> str:
    """A failure: what was seen, the scenario, and the command that replays it."""
    job = outcome.job
    return f"  {outcome.failure}\n    {job.policy} {job.point}\n    {job.command}"


def rows_for(options: argparse.Namespace) -> Iterator[Row]:
    """The rows that were asked for."""
    for policy in options.policy or POLICIES:
        for death in options.death or DEATHS:
            most = options.seeds if death == "power" else 1  # a process's death draws nothing
            seeds = [options.seed] if options.seed is not None else range(1, most + 1)
            for twice in (False, True):
                stride = options.stride * (SECOND_STRIDE if twice else 1)
                yield Row(policy, death, twice, jobs_for(policy, death, seeds, stride, twice, options.jump))


def run_row(row: Row, pool: ProcessPoolExecutor) -> None:
    """All points of a row, with a line that counts them."""
    started, shown = time.monotonic(), sys.stderr.isatty()
    for outcome in pool.map(run_job, row.jobs, chunksize=4):
        row.outcomes.append(outcome)
        if shown:
            count = f"{len(row.outcomes)} of {len(row.jobs)}, {len(row.failures)} failed"
            print(f"\r{row.policy} {row.death}: {count}\033[K", end="", file=sys.stderr, flush=True)
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    row.seconds = time.monotonic() - started


def survey(options: argparse.Namespace) -> int:
    """The whole table. Returns the exit status."""
    print(HEAD, flush=True)
    failed = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for row in rows_for(options):
            run_row(row, pool)
            print(row.text(), flush=True)
            for outcome in row.failures[:FAILURES_SHOWN]:
                print(report(outcome), flush=True)
            failed += len(row.failures)
    print(f"crash: {failed} restarts were wrong" if failed else "crash: every restart was right")
    return 1 if failed else 0


def replay(options: argparse.Namespace) -> int:
    """One point again. Returns the exit status."""
    policy, death, seed = (options.policy or POLICIES)[0], (options.death or DEATHS)[0], options.seed or 1
    every = points(policy, death, seed, options.jump)
    if not 0 <= options.point < len(every):
        print(f"crash: no point {options.point}; this story has 0 to {len(every) - 1}", file=sys.stderr)
        return 2
    outcome = run_job(Job(policy, options.point, every[options.point], options.second, options.jump))
    if outcome.failure:
        print(report(outcome))
        return 1
    print(
        f"{policy} {every[options.point]}: {outcome.acknowledged} acknowledged, {outcome.missing} of them "
        "missing, which this policy and death allow; the restart was right"
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=about)
    parser.add_argument("--policy", action="append", choices=POLICIES, help="default: both")
    parser.add_argument("--death", action="append", choices=DEATHS, help="default: both")
    parser.add_argument("--seed", type=int, help="this seed alone")
    parser.add_argument(
        "--seeds", type=int, default=POWER_SEEDS, help="how many for power (default: %(default)s)"
    )
    parser.add_argument("--stride", type=int, default=1, help="each N-th point (default: %(default)s)")
    parser.add_argument("--point", type=int, help="replay this point alone")
    parser.add_argument(
        "--jump", type=int, default=0, metavar="MS", help="set the broker's clock by MS, twice"
    )
    parser.add_argument("--second", type=int, metavar="K", help="with --point: the restart dies too")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    return survey(options) if options.point is None else replay(options)


if __name__ == "__main__":
    sys.exit(main())
