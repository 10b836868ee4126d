"""Many seeds of one story, on all cores, until one fails.

    python -m tests.sweep                                   2,000 seeds of each story of storms (make sweep)
    python -m tests.sweep mixed --seeds 0..2000 --jobs 2    a range of seeds
    python -m tests.sweep mixed --seconds 60                as many as fit
    python -m tests.sweep "mixed seed=7 1200:kill=a"        one scenario, as `python -m mq.sim run` does

Stops at the first failure, shrinks it (faults dropped while it still fails in the same way) and prints the
report with the scenario and the command that replays it; the exit status is then 1. At the end: seeds per
minute, and how often something happened that the table of promises allows.
"""

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chapters.lab_report import write_report
from mq.sim.lab import run, shrink
from mq.sim.scenario import Scenario, ScenarioError
from mq.sim.stories import STORIES, story_of

DEFAULT_STORIES = ("mixed", "mixed-pairs", "pair-losses")
DEFAULT_SEEDS = 2_000
NO_END = 1 << 40
REPORT = Path("build/sweep/report.html")


@dataclass(frozen=True, slots=True)
class Result:
    """What comes back from a process: short, because journals are long."""

    seed: int
    scenario: str
    failed: bool
    verdict: str
    allowed: tuple[str, ...]
    acknowledged: int
    missing: int
    steps: int


@dataclass
class Sum:
    """What all seeds of one story showed together."""

    story: str
    runs: int = 0
    acknowledged: int = 0
    missing: int = 0
    steps: int = 0
    allowed: Counter[str] = field(default_factory=Counter)
    failure: Result | None = None
    seconds: float = 0.0

    def add(self, result: Result) -> None:
        """One more."""
        self.runs += 1
        self.acknowledged += result.acknowledged
        self.missing += result.missing
        self.steps += result.steps
        self.allowed.update(result.allowed)
        if result.failed and self.failure is None:
            self.failure = result

    def text(self) -> str:
        """One line."""
        minutes = max(self.seconds, 1e-9) / 60
        seen = ", ".join(f"{kind} in {count}" for kind, count in self.allowed.most_common()) or "nothing"
        return (
            f"{self.story}: {self.runs} seeds in {self.seconds:.0f} s, {self.runs / minutes:.0f} a minute, "
            f"{self.steps / max(self.seconds, 1e-9) / 1000:.0f} k steps/s; {self.acknowledged} acknowledged, "
            f"{self.missing} missing; allowed and seen: {seen}"
        )


def run_seed(name: str, seed: int) -> Result:
    """One run. An exception of the lab itself counts as a failure, too."""
    outcome = run(Scenario(name, seed))
    history = outcome.history
    missing = len(history.missing()) if history.disks else 0
    kinds = tuple(dict.fromkeys(anomaly.kind for anomaly in outcome.allowed))
    acknowledged = len(history.acknowledged())
    return Result(
        seed, str(outcome.scenario), outcome.failed, outcome.verdict(), kinds, acknowledged, missing,
        outcome.steps,
    )  # fmt: skip


def results(name: str, seeds: range, seconds: float, jobs: int) -> Iterator[Result]:
    """Results in the order of seeds, so that the first failure is always the same one."""
    ends_at = time.monotonic() + seconds
    if jobs == 1:
        for seed in seeds:
            if time.monotonic() > ends_at:
                return
            yield run_seed(name, seed)
        return
    with ProcessPoolExecutor(jobs) as pool:
        waiting: dict[int, Future[Result]] = {}
        coming = following = seeds.start
        while True:
            while len(waiting) < 2 * jobs and coming < seeds.stop and time.monotonic() < ends_at:
                waiting[coming] = pool.submit(run_seed, name, coming)
                coming += 1
            if following not in waiting:
                return
            wait([waiting[following]], return_when=FIRST_COMPLETED)
            try:
                yield waiting.pop(following).result()
            except GeneratorExit:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            following += 1


def sweep(name: str, seeds: range, seconds: float, jobs: int, console: Console) -> Sum:
    """All seeds, or those that fit into the time, or those up to the first failure."""
    total, started = Sum(name), time.monotonic()
    known = len(seeds) if seeds.stop < NO_END else None
    columns = (
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(name, total=known, note="")
        for result in results(name, seeds, seconds, jobs):
            total.add(result)
            rate = total.runs / max(time.monotonic() - started, 1e-9) * 60
            progress.update(task, advance=1, note=f"{rate:.0f} seeds a minute, {total.missing} missing")
            if total.failure is not None:
                break
    total.seconds = time.monotonic() - started
    return total


def report(scenario: str, console: Console) -> bool:
    """Run it again here, shrink it when it fails, and print. Whether it failed."""
    outcome = run(scenario)
    if outcome.failed:
        faults = len(outcome.scenario.faults or ())
        outcome, tries = shrink(outcome)
        left = len(outcome.scenario.faults or ())
        console.print(f"shrunk from {faults} faults to {left} in {tries} runs", highlight=False)
        write_report(outcome.scenario, REPORT, first=scenario)
        console.print(f"with a diagram: {REPORT}", highlight=False)
    console.print(outcome.report(), highlight=False, markup=False, soft_wrap=True)
    return outcome.failed


def seeds_of(text: str) -> range:
    """`0..2000` (without the last) or one number."""
    first, dots, last = text.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds: 0..2000 is one")
    return range(int(first), int(last) if dots else int(first) + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status: 0 right, 1 failed, 2 not understood."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.sweep", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("what", nargs="*", help=f"a story ({', '.join(STORIES)}) or a whole scenario")
    parser.add_argument("--seeds", type=seeds_of, help=f"FIRST..END (default: 0..{DEFAULT_SEEDS})")
    parser.add_argument("--seconds", type=float, help="stop after so many seconds")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)"
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=False)
    try:
        for name in options.what:
            if "=" not in name:
                story_of(name)
        if any("=" in word for word in options.what):
            return 1 if report(" ".join(options.what), console) else 0
    except ScenarioError as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    seeds = options.seeds or range(DEFAULT_SEEDS if options.seconds is None else NO_END)
    seconds = options.seconds if options.seconds is not None else float(NO_END)
    for name in options.what or DEFAULT_STORIES:
        total = sweep(name, seeds, seconds, options.jobs, console)
        console.print(total.text(), highlight=False, markup=False, soft_wrap=True)
        if total.failure is not None:
            console.print(f"seed {total.failure.seed} failed", highlight=False)
            report(total.failure.scenario, console)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
