"""The readers of a simulated run: a diagram, a replay, a report, the journal.

    python -m chapters.lab list                                       what can be run, a sentence each
    python -m chapters.lab replay "lone-async seed=1"                 step through it in the terminal
    python -m chapters.lab diagram "lone-async seed=1" --out run.svg  draw it
    python -m chapters.lab report "lone-async seed=1" --out run.html  one file that tells the whole run
    python -m chapters.lab golden "lone-async seed=1"                 every event, the same on every machine

A scenario is what `python -m mq.sim` takes: a story, a seed, and faults with their times. `--from` and `--to`
choose a stretch of virtual time in milliseconds, `--most` how many events are shown; what is left out is
counted where it was. The exit status is 0; 1 when the run shows a defect; 2 for what cannot be understood.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from chapters.lab_journal import focus_of, observe
from chapters.lab_layout import MOST_EVENTS
from chapters.lab_replay import MOST_LINES, Replay
from chapters.lab_report import report
from chapters.spacetime import draw
from mq.sim.__main__ import listing
from mq.sim.lab import Outcome, shrink
from mq.sim.lab import run as rerun
from mq.sim.scenario import ScenarioError
from mq.sim.simulation import golden_text

LARGEST_DIAGRAM = 2_000


def main(arguments: Sequence[str] | None = None, read: Callable[[str], str] | None = None) -> int:
    """The command line; returns the exit status. `read(prompt)` answers for the terminal, in tests."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "list":
            print(f'{listing()}\na scenario: STORY seed=N TIME:FAULT …, such as "lone-async seed=1"')
            return 0
        _check_window(options)
        text = " ".join(options.scenario)
        if options.command == "replay":
            return _replay(text, options, read)
        command = {"diagram": _diagram, "report": _report, "golden": _golden}[options.command]
        return 1 if command(text, options).failed else 0
    except ScenarioError as error:
        return _refuse(str(error))
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _refuse(f"cannot write {error.filename}: {error.strerror}")


def _refuse(why: str) -> int:
    print(f"lab: {' '.join(why.split())}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m chapters.lab", description=(__doc__ or "").partition("\n")[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the stories and the faults, a sentence each")
    about = {
        "replay": "step through a run in the terminal",
        "diagram": "draw a run as SVG",
        "report": "write a run's report as one HTML file",
        "golden": "print every event",
    }
    for name, sentence in about.items():
        one = commands.add_parser(name, help=sentence, description=sentence)
        one.add_argument("scenario", nargs="+", help="STORY seed=N TIME:FAULT=WHERE/VALUE …")
        if name in ("replay", "diagram"):
            one.add_argument(
                "--from", dest="from_ms", type=_ms, metavar="MS", help="leave out what was before"
            )
            one.add_argument("--to", dest="to_ms", type=_ms, metavar="MS", help="leave out what comes after")
            most = MOST_LINES if name == "replay" else MOST_EVENTS
            one.add_argument(
                "--most", type=_count, default=most, help=f"show at most so many events ({most})"
            )
        if name in ("diagram", "report"):
            where = "standard output" if name == "diagram" else "report.html"
            one.add_argument("--out", metavar="FILE", help=f"where to write it (default: {where})")
        if name == "replay":
            one.add_argument("--all", action="store_true", help="do not stop to ask")
        if name == "report":
            one.add_argument("--no-shrink", action="store_true", help="keep all faults of a run that failed")
    return parser


def _ms(text: str) -> float:
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of milliseconds")
    return float(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= LARGEST_DIAGRAM:
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to {LARGEST_DIAGRAM} is needed")
    return int(text)


def _check_window(options: argparse.Namespace) -> None:
    from_ms, to_ms = getattr(options, "from_ms", None), getattr(options, "to_ms", None)
    if from_ms is not None and to_ms is not None and from_ms > to_ms:
        raise ScenarioError(f"--from {from_ms:.0f} lies behind --to {to_ms:.0f}")


def _replay(text: str, options: argparse.Namespace, read: Callable[[str], str] | None) -> int:
    outcome, tale = observe(text)
    console = Console(highlight=False)
    replay = Replay(tale, tale.window(options.from_ms, options.to_ms), console, focus_of(tale, outcome))
    is_talking = read is not None or (sys.stdin.isatty() and sys.stdout.isatty())
    if options.all or not is_talking:
        replay.print_all(options.most)
    else:
        replay.ask(read or input)
    console.print(outcome.report(), markup=False, soft_wrap=True)
    return 1 if outcome.failed else 0


def _diagram(text: str, options: argparse.Namespace) -> Outcome:
    outcome, tale = observe(text)
    focus = focus_of(tale, outcome)
    svg = draw(tale, str(outcome.scenario), options.from_ms, options.to_ms, options.most, focus)
    if options.out is None:
        sys.stdout.write(svg)
    else:
        Path(options.out).write_text(svg, "utf-8")
    return outcome


def _report(text: str, options: argparse.Namespace) -> Outcome:
    outcome, tale = observe(text)
    path, first = Path(options.out or "report.html"), str(outcome.scenario)
    if outcome.failed and not options.no_shrink:
        smaller, tries = shrink(outcome, lambda scenario: rerun(scenario))
        if smaller.scenario != outcome.scenario:
            left = len(smaller.scenario.faults or ())
            print(f"shrunk to {left} fault{'s' * (left != 1)} in {tries} runs")
            outcome, tale = observe(smaller.scenario)
    path.write_text(report(outcome, tale, first), "utf-8")
    print(f"{outcome.verdict()}\nwritten: {path}")
    return outcome


def _golden(text: str, _: argparse.Namespace) -> Outcome:
    outcome = rerun(text)
    if outcome.events_forgotten:
        print(f"… the oldest {outcome.events_forgotten} events of this run were not kept")
    sys.stdout.write(golden_text(outcome.events))
    sys.stdout.flush()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
