"""The simulator as a load: a story of the fault lab, seed after seed, in one process and so on one core.

    python -m tests.bench.lab '{"amount": 4, "story": "mixed-pairs"}'     (see Job)

What always holds: every seed must come to its end and be judged right, or there is no figure; a step is one
turn of the virtual loop's queue. The first seed has been run before the clock starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mq.sim.lab import Outcome
from mq.sim.lab import run as run_scenario
from mq.sim.scenario import Scenario
from tests.bench.load import Fault


@dataclass(frozen=True)
class Job:
    """`amount` seeds of a story, from 0 on."""

    amount: int
    story: str = "mixed-pairs"


def run(job: Job) -> dict[str, Any]:
    """Run the seeds. Raises Fault."""
    warm = outcome_of(job, 0)
    began_s = time.perf_counter()
    outcomes = [outcome_of(job, seed) for seed in range(job.amount)]
    seconds = time.perf_counter() - began_s
    if outcomes[0].digest != warm.digest:
        raise Fault(f"{warm.scenario}: run twice, its journals differ")
    steps = sum(outcome.steps for outcome in outcomes)
    checked = f"{job.amount:,} seeds, {steps:,} steps, every verdict ok, seed 0 twice the same journal"
    return {"seconds": seconds, "seeds": job.amount, "steps": steps, "checked": checked}


def outcome_of(job: Job, seed: int) -> Outcome:
    """One run. Raises Fault when it failed."""
    outcome = run_scenario(Scenario(job.story, seed))
    if outcome.failed:
        raise Fault(f"{outcome.verdict()}: {outcome.command}")
    return outcome


def main(arguments: Sequence[str]) -> int:
    """One job, as JSON; its outcome as JSON in the last line, or a sentence on stderr."""
    try:
        print(json.dumps(run(Job(**json.loads(arguments[0])))))
    except Fault as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
