"""`python3 -m exercises`: progress and the next step; start, check, hint, watch, solve, reset, conform.

Exit status 0 when what was asked for is done (a check: passed), 1 when not, 2 for a command that is none.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import sleep

from exercises import conform
from exercises.catalogue import LANGUAGES, Exercise, catalogue, find
from exercises.judge import Verdict, files_of, judge_work
from exercises.progress import WORK, Progress, load, now
from exercises.show import Screen
from exercises.stub import stubs

POLL_S = 0.5


def main(argv: Sequence[str] | None = None, work: Path = WORK, screen: Screen | None = None) -> int:
    """Run one command."""
    arguments, rest = parser().parse_known_args(argv)
    if arguments.command == "conform":
        return conform.main(rest)
    if rest:
        parser().error(f"unrecognized arguments: {' '.join(rest)}")
    progress = load(work)
    if arguments.lang:
        progress.language = arguments.lang
        progress.save()
    runner = Runner(progress, screen or Screen(progress.spoken()))
    try:
        return runner.run(arguments)
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The commands."""
    found = argparse.ArgumentParser(
        "python3 -m exercises", description="Rewrite functions of the real system."
    )
    found.add_argument("--lang", choices=LANGUAGES, help="language of what is said; kept for the next time")
    commands = found.add_subparsers(dest="command", metavar="COMMAND")
    for name, what in (
        ("status", "every exercise, and how far you are"),
        ("start", "put its stub into work/"),
        ("check", "run its tests, up to the first that is broken"),
        ("hint", "the next of three hints"),
        ("watch", "check whenever you save"),
        ("solve", "show our solution"),
        ("reset", "put the stub back; what you had is kept beside it"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        if name != "status":
            command.add_argument("id", nargs="?" if name != "start" else 1, metavar="ID", help="3.1")
        if name in ("check", "watch"):
            command.add_argument(
                "--mine", action="store_true", help="with all you have passed in place of ours"
            )
            command.add_argument("--trace", action="store_true", help="show the whole trace")
        if name == "solve":
            command.add_argument("--yes", action="store_true", help="do not ask again")
    what = "judge any broker, in any language: HOST:PORT --chapter 3"
    commands.add_parser("conform", help=what, add_help=False)  # it says the rest itself
    return found


class Runner:
    """One learner's work."""

    def __init__(self, progress: Progress, screen: Screen) -> None:
        self.progress = progress
        self.screen = screen

    def run(self, arguments: argparse.Namespace) -> int:
        """Do what was asked."""
        if arguments.command in (None, "status"):
            return self.status(whole=arguments.command == "status")
        given = arguments.id[0] if isinstance(arguments.id, list) else arguments.id
        exercise = find(given) if given else self.current()
        if exercise is None:
            if given:
                self.screen.line("ui_unknown", "red", id=given, ids=", ".join(one.id for one in catalogue()))
                return 2
            self.screen.line("ui_all_done", "green")
            return 0
        if arguments.command == "check":
            return self.check(exercise, arguments.mine, arguments.trace)
        if arguments.command == "watch":
            return self.watch(exercise, arguments.mine, arguments.trace)
        if arguments.command == "solve":
            return self.solve(exercise, arguments.yes)
        return {"start": self.start, "hint": self.hint, "reset": self.reset}[arguments.command](exercise)

    def current(self) -> Exercise | None:
        """The exercise in hand, else the first that is not passed."""
        open_ones = [one for one in catalogue() if not self.progress.of(one.id).passed]
        in_hand = find(self.progress.current)
        return in_hand if in_hand in open_ones else open_ones[0] if open_ones else None

    # Commands.

    def status(self, whole: bool) -> int:
        """How far you are, and the next step."""
        every = catalogue()
        passed = sum(bool(self.progress.of(one.id).passed) for one in every)
        version = ".".join(map(str, sys.version_info[:3]))
        self.screen.line("ui_ready", "green", version=version)
        self.screen.line("ui_count", passed=passed, count=len(every))
        self.screen.space()
        chapter = (self.current() or every[-1]).id.partition(".")[0]
        shown = every if whole else [one for one in every if one.id.partition(".")[0] == chapter]
        self.screen.overview(shown, self.progress)
        self.screen.space()
        self.next_step()
        return 0

    def next_step(self) -> None:
        """One command."""
        exercise = self.current()
        if exercise is None:
            self.screen.line("ui_all_done", "green")
        elif self.progress.of(exercise.id).started:
            self.screen.line("ui_next_check", id=exercise.id, folder=self.folder_name(exercise))
        else:
            self.screen.line("ui_next_start", id=exercise.id)

    def start(self, exercise: Exercise) -> int:
        """Put the stubs there; what is there already stays."""
        self.screen.story(exercise)
        self.screen.space()
        folder = self.progress.work / exercise.work_name
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in stubs(exercise, self.screen.language).items():
            there = (folder / name).exists()
            if not there:
                (folder / name).write_text(text, "utf-8")
            self.screen.line(
                "ui_is_there" if there else "ui_made", file=f"{self.folder_name(exercise)}/{name}"
            )
        state = self.progress.of(exercise.id)
        state.started = state.started or now()
        self.progress.current = exercise.id
        self.progress.save()
        self.screen.line("ui_started", id=exercise.id)
        return 0

    def check(self, exercise: Exercise, mine: bool = False, trace: bool = False) -> int:
        """Judge, show, remember."""
        verdict = judge_work(exercise, self.progress.work, self.passed(exercise) if mine else ())
        state = self.progress.of(exercise.id)
        was_passed = state.passed
        self.screen.verdict(exercise, verdict, trace)
        if verdict.id != "missing_file":
            state.checks += 1
            self.progress.current = exercise.id
        if verdict.passed:
            state.passed = state.passed or now()
        self.progress.save()
        if not verdict.passed:
            self.after_a_stop(exercise, verdict)
            return 1
        self.screen.space()
        self.screen.line("ui_passed", "bold green")
        if not was_passed:
            self.screen.debrief(exercise)
        self.screen.line("ui_compare", id=exercise.id)
        self.next_step()
        return 0

    def after_a_stop(self, exercise: Exercise, verdict: Verdict) -> None:
        """Where help is. An exercise that is only begun needs none yet."""
        if verdict.id not in ("not_written", "missing_file") and self.progress.of(exercise.id).hints < 3:
            self.screen.line("ui_help", "dim", id=exercise.id)

    def passed(self, but: Exercise) -> list[Exercise]:
        """What else was passed and is still there."""
        done = [one for one in catalogue() if self.progress.of(one.id).passed and one is not but]
        return [one for one in done if all(path.is_file() for path in files_of(one, self.progress.work))]

    def hint(self, exercise: Exercise) -> int:
        """One more than last time; all of them stay readable."""
        state = self.progress.of(exercise.id)
        state.hints = min(state.hints + 1, len(exercise.hints))
        self.progress.save()
        self.screen.heading(exercise)
        for number in range(1, state.hints + 1):
            self.screen.hint(exercise, number)
        if state.hints == len(exercise.hints):
            self.screen.line("ui_last_hint", "dim", id=exercise.id)
        return 0

    def watch(self, exercise: Exercise, mine: bool, trace: bool, rounds: int = sys.maxsize) -> int:
        """Check at once, and whenever a file of a started exercise changes. File times are polled."""
        status, seen = self.check(exercise, mine, trace), self.times()
        self.screen.line("ui_watching", "dim")
        for _ in range(rounds):
            sleep(POLL_S)
            times = self.times()
            changed = [one for one in catalogue() if times.get(one.id) != seen.get(one.id)]
            seen = times
            for one in changed:
                self.screen.console.clear()
                status = self.check(one, mine, trace)
                self.screen.line("ui_watching", "dim")
        return status

    def times(self) -> dict[str, list[tuple[str, int, int]]]:
        """Of each exercise that has a folder: names, times and lengths of its files."""
        found = {}
        for one in catalogue():
            paths = sorted((self.progress.work / one.work_name).glob("*.py"))
            found[one.id] = [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
        return found

    def solve(self, exercise: Exercise, sure: bool) -> int:
        """Ours: freely after passing, before that only to who means it."""
        state = self.progress.of(exercise.id)
        if not state.passed and not sure and not self._confirmed(exercise):
            return 1
        if not state.passed:
            state.solved = state.solved or now()
            self.progress.save()
        self.screen.solution(exercise)
        self.screen.debrief(exercise)
        return 0

    def _confirmed(self, exercise: Exercise) -> bool:
        self.screen.line(
            "ui_solve_early", "yellow", id=exercise.id, hints=3 - self.progress.of(exercise.id).hints
        )
        if not sys.stdin.isatty():
            return False
        return self.screen.console.input(f"{self.screen.word('ui_type_yes')} ").strip().lower() in (
            "yes",
            "是",
        )

    def reset(self, exercise: Exercise) -> int:
        """The stubs again. What was there is kept under another name, which no check reads."""
        folder = self.progress.work / exercise.work_name
        for path in sorted(folder.glob("*.py")):
            kept = next(name for n in range(1, 10**6) if not (name := path.with_suffix(f".py.{n}")).exists())
            path.rename(kept)
            self.screen.line("ui_kept", file=f"{self.folder_name(exercise)}/{kept.name}")
        self.progress.of(exercise.id).passed = ""
        return self.start(exercise)

    def folder_name(self, exercise: Exercise) -> str:
        """As the learner sees it."""
        return f"{self.progress.work.name}/{exercise.work_name}"
