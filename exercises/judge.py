"""The judge: give a learner's files to a worker, wait a bounded time, and say what came of it.

What always holds: a verdict is a sentence's id with its values, whatever happened to the worker: a loop that
does not end, memory without end, `sys.exit`, a process that is killed.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exercises.catalogue import ROOT, Exercise
from exercises.pieces import Piece, Refused, read_pieces

SECONDS = 10.0  # for one test
MOST_SECONDS = 120.0  # for all of them
MOST_BYTES = 1 << 30
FRAME = re.compile(r'File "(.+)", line (\d+) in (.+)')
OURS = ("exercises/worker.py", "exercises/testing.py")


@dataclass(frozen=True)
class Given:
    """What somebody gives as the answer to an exercise."""

    exercise: Exercise
    pieces: Sequence[Piece]
    partly: bool = False


@dataclass
class Verdict:
    """`id` is empty when every test held. `trace`: (file, line, function), from the outside in."""

    id: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    test: str = ""  # the one that stopped it
    held: list[str] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)  # of all tests, in their order
    difference: Mapping[str, Any] | None = None
    trace: list[tuple[str, int, str]] = field(default_factory=list)
    printed: str = ""

    @property
    def passed(self) -> bool:
        """Whether every test held."""
        return not self.id


def judge_work(exercise: Exercise, work: Path, mine: Sequence[Exercise] = ()) -> Verdict:
    """Judge what is in the exercise's folder under `work`, with the learner's answers to `mine` in place."""
    missing = [path for path in files_of(exercise, work) if not path.is_file()]
    if missing:
        file = missing[0].relative_to(work.parent).as_posix()
        return Verdict("missing_file", {"file": file, "exercise": exercise.id})
    try:
        given = [Given(one, read_pieces(files_of(one, work), work.parent)) for one in [exercise, *mine]]
    except Refused as refused:
        return Verdict(refused.id, refused.values)
    return judge(given)


def files_of(exercise: Exercise, work: Path) -> list[Path]:
    """The files that are judged. What else lies beside them (a copy, an old version) is not read."""
    names = dict.fromkeys(symbol.file for symbol in exercise.symbols)
    return [work / exercise.work_name / name for name in names]


def judge(given: Sequence[Given], seconds: float = SECONDS, most_bytes: int = MOST_BYTES) -> Verdict:
    """Run the tests of the first exercise with all the given answers in place."""
    with tempfile.TemporaryDirectory(prefix="mq-exercise-") as name:
        folder = Path(name)
        put_job(folder, given, seconds, most_bytes)
        status, noise = _run(folder)
        return verdict_of(folder, seconds, status, noise)


def put_job(
    folder: Path, given: Sequence[Given], seconds: float = SECONDS, most_bytes: int = MOST_BYTES
) -> None:
    """Write what a worker needs."""
    answers = [
        {
            "symbols": [f"{symbol.module}:{symbol.name}" for symbol in one.exercise.symbols],
            "pieces": [(piece.path, piece.source) for piece in one.pieces],
            "shortcuts": dict.fromkeys(one.exercise.shortcuts),
            "partly": one.partly,
        }
        for one in given
    ]
    limits = {"seconds": seconds, "bytes": most_bytes}
    tests = str(given[0].exercise.folder / "tests.py")
    job = {"root": ROOT.as_posix(), "tests": tests, "answers": answers, **limits}
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    (folder / "said.jsonl").touch()


def _run(folder: Path) -> tuple[int | None, str]:
    """The worker's exit status, None when it had to be ended, and what it wrote past our ears."""
    command = [sys.executable, "-X", "utf8", "-m", "exercises.worker", str(folder)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MOST_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stderr[-2000:]


def verdict_of(folder: Path, seconds: float, status: int | None, noise: str = "") -> Verdict:
    """What a worker has left behind. `status` is None when it had to be ended."""
    verdict = Verdict(printed=_text(folder / "printed.txt"))
    _hear(folder, verdict)
    if verdict.stages and len(verdict.held) == len(verdict.stages):
        verdict.id = verdict.test = ""
        return verdict
    stack = _text(folder / "stack.txt")
    if not verdict.id and (stack or status is None):
        verdict.id, verdict.values = "endless", {"seconds": f"{seconds:g}"}
        verdict.trace = _stack(stack)
    elif not verdict.id:
        verdict.id = "worker_lost"
        verdict.values = {"status": status, "noise": noise.strip().split("\n")[-1]}
    verdict.values = {"place": _place(verdict.trace), **verdict.values}
    return verdict


def _hear(folder: Path, verdict: Verdict) -> None:
    for line in (folder / "said.jsonl").read_text("utf-8").splitlines():
        event = json.loads(line)
        match event["is"]:
            case "tests":
                verdict.stages = dict(zip(event["names"], event["stages"], strict=True))
            case "begins":
                verdict.test = event["test"]
            case "held":
                verdict.held.append(event["test"])
            case "stopped" | "refused":
                verdict.id, verdict.values = event["id"], event["values"]
                verdict.difference = event.get("difference")
                verdict.trace = [(name, line, function) for name, line, function in event.get("trace", [])]


def _stack(text: str) -> list[tuple[str, int, str]]:
    """faulthandler's text, innermost call first, as a trace."""
    found = [(file, int(line), function) for file, line, function in FRAME.findall(text)]
    root = f"{ROOT.as_posix()}/"
    return [(file.removeprefix(root), line, function) for file, line, function in reversed(found)]


def _place(trace: Sequence[tuple[str, int, str]]) -> str:
    """The innermost line of the learner's own code; else the innermost of the tests or of mq."""
    theirs = [frame for frame in trace if not frame[0].startswith(("mq/", "exercises/", "/", "<"))]
    if theirs:
        return f"{theirs[-1][0]}:{theirs[-1][1]}"
    frames = [frame for frame in trace if not frame[0].endswith(OURS)]
    return f"{Path(frames[-1][0]).name}:{frames[-1][1]}" if frames else ""


def _text(path: Path) -> str:
    return path.read_text("utf-8", "replace") if path.exists() else ""
