"""`make bench`: how fast, beside what this machine can do in the same run.

    python -m tests.bench [--seconds N] [--rounds N] [--only ROW]... [--json FILE] [--oracle]

`--oracle` puts the real RocketMQ beside our broker, with the same client, in turns; it needs Java and Maven,
and runs everything in a network that has loopback alone, because the real servers listen on every address.

`--help` lists the rows: what the machine can do, the store, the wire, replication, the simulator.

It asserts nothing about speed. It fails when a figure would be a lie: a send that was not acknowledged, a
message that is in no queue or not on the slave, a simulated run that was judged wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from inspect import cleandoc
from pathlib import Path

from rich.console import Console

from tests.bench import report
from tests.bench.measuring import BenchFailed, Result, Settings, take_turns
from tests.bench.rows import ROWS
from tests.interop.loopback import go_inside
from tests.interop.processes import ROOT, ProgramFailed

INSIDE = "MQ_BENCH_INSIDE"
WIDTH = 160  # where the output is no terminal


def main(arguments: list[str]) -> int:
    """Returns 1 when a row could not be measured."""
    options = _options(arguments)
    if options.oracle and os.environ.get(INSIDE) is None:
        return go_inside("tests.bench", arguments, INSIDE)
    scratch = ROOT / "build" / "bench"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as made:
        settings = Settings(Path(made), options.seconds, options.rounds, options.oracle)
        return run(settings, options.only or list(ROWS), options.json)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=cleandoc(__doc__ or "").split("\n")[0],
        epilog="rows:\n" + "\n".join(f"  {name:<12}{title(name)}" for name in ROWS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of one round of one case (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="in which the cases take turns (default: 5)")
    parser.add_argument(
        "--only", action="append", choices=ROWS, metavar="ROW", help="only this row; may repeat"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure of every round")
    parser.add_argument("--oracle", action="store_true", help="the real RocketMQ, too (needs Java and Maven)")
    return parser.parse_args(arguments)


def title(name: str) -> str:
    """What a row measures: the first line of its docstring."""
    return cleandoc(ROWS[name].__doc__ or "").splitlines()[0]


def run(settings: Settings, names: Sequence[str], json_file: Path | None = None) -> int:
    """Measure the rows and print each when it is done. Returns an exit status."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    console.print(report.headline(settings))
    found: dict[str, Sequence[Result]] = {}
    failed = 0
    for name in names:
        heading = f"{name}: {title(name)}"
        try:
            with ROWS[name](settings) as cases:
                found[name] = take_turns(cases, settings)
            report.show(console, heading, found[name])
        except (BenchFailed, ProgramFailed) as failure:
            failed = 1
            console.print(f"{heading}\n  no figure: {failure}", markup=False)
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_json(settings, found), indent=1) + "\n", "utf-8")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
