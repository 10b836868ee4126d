"""The lab's command line: run one scenario, list what there is, print the table of promises · depth

    python -m mq.sim run "mixed seed=7"         the verdict and what was found; exit status 1 when it failed
    python -m mq.sim run "…" --journal          and every event
    python -m mq.sim shrink "…"                 the shortest list of faults that still fails
    python -m mq.sim list                       stories and faults
    python -m mq.sim promises                   what is allowed under which flush, replication and fault

Many seeds, with progress and a time budget: `python -m tests.sweep`.
"""

import argparse
import sys
from collections.abc import Sequence

from mq.sim.lab import Outcome, run, shrink
from mq.sim.promises import table
from mq.sim.scenario import DEATHS, KINDS, ScenarioError
from mq.sim.stories import STORIES


def listing() -> str:
    """Every story and every kind of fault, a line each."""
    lines = ["stories:", *[f"  {name:<20}{story.about}" for name, story in STORIES.items()], "faults:"]
    for name, kind in KINDS.items():
        values = "".join(f"/{value.name}" for value in kind.values)
        target = "a" if kind.target.fullmatch("a") else "a>b"
        lines.append(f"  {f'{name}={target}{values}':<34}{kind.about}")
    lines += ["deaths:", *[f"  {name:<34}{about}" for name, about in DEATHS.items()]]
    return "\n".join(lines)


def _run(text: str, journal: bool) -> Outcome:
    outcome = run(text)
    if journal:
        for event in outcome.events:
            print(event.text())
    print(outcome.report())
    return outcome


def _shrink(text: str) -> Outcome:
    outcome = run(text)
    if outcome.failed:
        print(f"it fails with {len(outcome.scenario.faults or ())} faults; trying fewer …", flush=True)
        outcome, tries = shrink(outcome)
        print(f"{tries} runs later, {len(outcome.scenario.faults or ())} faults are left")
    print(outcome.report())
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 right, 1 the run failed, 2 the scenario cannot be understood."""
    parser = argparse.ArgumentParser(prog="python -m mq.sim", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in (("run", "run one scenario"), ("shrink", "find the shortest that still fails")):
        one = commands.add_parser(name, help=about)
        one.add_argument("scenario", nargs="+", help="story seed=N time:fault=where/value …")
        if name == "run":
            one.add_argument("--journal", action="store_true", help="print every event first")
    commands.add_parser("list", help="stories and faults")
    commands.add_parser("promises", help="the table of what may happen")
    options = parser.parse_args(arguments)
    if options.command in ("list", "promises"):
        print(listing() if options.command == "list" else table())
        return 0
    try:
        text = " ".join(options.scenario)
        outcome = _shrink(text) if options.command == "shrink" else _run(text, options.journal)
    except ScenarioError as error:
        print(f"mq.sim: {error}", file=sys.stderr)
        return 2
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = None
        sys.exit(1)
