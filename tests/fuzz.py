"""`make fuzz`: a million damaged frames, records, files and answers, and none of them may surprise anybody.

    python -m tests.fuzz [--mutations 1000000] [--seed 1] [--jobs 2] [--only TARGET …]
    python -m tests.fuzz --replay TARGET:SEED:CASE         one fault again: the block up to that case

A target does its cases in blocks, each with a seed of its own. A block is the same in every run, so that a
seed and a number lead back to any case. Each worker has a limit on its
memory. Status 1 when anything was found.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random

from tests import fuzz_clients, fuzz_decoders, fuzz_servers, fuzz_stores
from tests.fuzz_findings import Fault, Notes, TooSlow

MEMORY_BYTES = 2 << 30  # of one worker: what wants more gets a MemoryError, which is a fault
FAULTS_SHOWN = 12


@dataclass(frozen=True)
class Target:
    """What is fuzzed, how many cases make a block, and which share of all cases it gets."""

    run: Callable[[Random, int, Notes], None]
    block: int
    share: float


TARGETS = {
    "decoders": Target(fuzz_decoders.run, 10_000, 0.755),
    "servers": Target(fuzz_servers.run, 4_000, 0.2),
    "logs": Target(fuzz_stores.run_logs, 1_000, 0.03),
    "clients": Target(fuzz_clients.run, 500, 0.01),
    "stores": Target(fuzz_stores.run, 100, 0.005),
}


@dataclass(frozen=True)
class Block:
    """`count` cases of one target."""

    target: str
    seed: int
    count: int


@dataclass(frozen=True)
class Outcome:
    """What a block found, and what it took."""

    block: Block
    faults: list[Fault]
    took_s: float
    slowest_s: float
    peak_kib: int


def run_block(block: Block) -> Outcome:
    """Do the cases of one block."""
    notes = Notes(block.target, block.seed)
    began = time.perf_counter()
    try:
        TARGETS[block.target].run(Random(f"{block.target} {block.seed}"), block.count, notes)
    except (Exception, TooSlow) as error:  # noqa: BLE001 - what ends a block is what was looked for
        notes.raised(error, "the block")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Outcome(block, notes.faults, time.perf_counter() - began, notes.slowest_s, peak)


def blocks(mutations: int, seed: int, only: list[str]) -> Iterator[Block]:
    """Whole blocks until each target has its share; those that take longest come first."""
    shares = {name: TARGETS[name].share for name in only or TARGETS}
    for name in reversed(list(shares)):
        size, wanted = TARGETS[name].block, mutations * shares[name] / sum(shares.values())
        for number in itertools.count():
            if number * size >= wanted:
                break
            yield Block(name, seed * 1_000_000 + number, size)


def limit_memory() -> None:
    """In a worker, before anything else."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def main(argv: list[str] | None = None) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser("python -m tests.fuzz", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--mutations", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", default=[], choices=TARGETS, metavar="TARGET")
    parser.add_argument("--replay", metavar="TARGET:SEED:CASE")
    given = parser.parse_args(argv)
    if given.replay:
        return replay(given.replay)
    began = time.perf_counter()
    work = list(blocks(given.mutations, given.seed, given.only))
    with ProcessPoolExecutor(given.jobs, initializer=limit_memory) as pool:
        outcomes = []
        for outcome in pool.map(run_block, work):
            outcomes.append(outcome)
            if sys.stderr.isatty():
                print(f"\r{len(outcomes)} of {len(work)} blocks", end="", file=sys.stderr)
    return report(outcomes, time.perf_counter() - began, given.seed)


def report(outcomes: list[Outcome], took_s: float, seed: int) -> int:
    """The table and the faults; the exit status."""
    print(
        f"{'target':<10} {'cases':>9} {'cases/s':>9} {'slowest':>10} {'peak MiB':>9}  faults   (one worker)"
    )
    for name in TARGETS:
        mine = [outcome for outcome in outcomes if outcome.block.target == name]
        if mine:
            print(_row(name, mine))
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    total = sum(outcome.block.count for outcome in outcomes)
    speed = f"{total:,} cases from seed {seed} in {took_s:.0f} s, {total / took_s:,.0f} cases/s"
    print(f"fuzz: {speed}, {len(faults)} faults")
    for fault in distinct(faults)[:FAULTS_SHOWN]:
        print(f"\n{fault}")
    return 1 if faults else 0


def _row(name: str, mine: list[Outcome]) -> str:
    cases, spent = sum(each.block.count for each in mine), sum(each.took_s for each in mine)
    slowest, peak = max(each.slowest_s for each in mine), max(each.peak_kib for each in mine) / 1024
    found = sum(len(each.faults) for each in mine)
    return f"{name:<10} {cases:>9,} {cases / spent:>9,.0f} {slowest:>8.2f} s {peak:>9.0f}  {found}"


def distinct(faults: list[Fault]) -> list[Fault]:
    """One of each kind: those whose sentences begin alike are one."""
    return list({(fault.target, fault.what[:60]): fault for fault in reversed(faults)}.values())[::-1]


def replay(what: str) -> int:
    """A block up to one case, in this process."""
    target, seed, case = what.split(":")
    outcome = run_block(Block(target, int(seed), int(case) + 1))
    for fault in outcome.faults:
        print(f"{fault}\n    the whole input: {fault.data.hex()}" if fault.case == int(case) else fault)
    print(f"fuzz: {case} cases and one more, {len(outcome.faults)} faults")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
