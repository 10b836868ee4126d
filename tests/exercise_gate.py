"""What every exercise promises, as complaints about one that does not keep it.

    python -m tests.exercise_gate          every exercise: how long its gate took, and what is wrong with it

The stub stops at the example, ours passes everything, each wrong solution is stopped by the test named for it
with its sentence, and whoever fetches the answer is told so. Many answers are judged in one process that
forks for each, so that January is read once.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from exercises.catalogue import KINDS, LANGUAGES, ROOT, Exercise, Text, catalogue, words
from exercises.honesty import look
from exercises.judge import Given, Verdict, put_job, verdict_of
from exercises.pieces import Piece, Refused
from exercises.splice import Answer, splice, symbol_node
from exercises.stub import stubs
from exercises.testing import STAGES

MOST_HINT_WORDS = 60
MOST_HINT_SIGNS = 130  # of Chinese: about as long to read
LEAST_WRONG = 3
NO_AWAIT_UP_TO = 3  # chapters whose holes must not wait
SHORTEST_COPY = 44  # a line of mq that is as long as this stands nowhere in exercises/
CHEATS = {
    "an import of the module": "from {module} import {top}",
    "an import of a re-export": "from mq.system import {top}",
    "inspect.getsource": "import inspect",
    "the source file": "open('{path}').read()",
    "git show": "import subprocess; subprocess.run(['git', 'show', 'HEAD:{path}'])",
    "importlib": "__import__('{module}')",
    "super()": "return super().{last}()",
}
READS_WHILE_IT_RUNS = """
        from mq.runtime.real import RealDisk
        RealDisk('{root}').open('{path}').read_at(0, 9)
"""


def judge_all(given: Sequence[Given], seconds: float = 20.0) -> list[Verdict]:
    """A verdict on each."""
    with tempfile.TemporaryDirectory(prefix="mq-gate-") as name:
        folders = [Path(name) / str(number) for number in range(len(given))]
        for folder, one in zip(folders, given, strict=True):
            folder.mkdir()
            put_job(folder, [one], seconds)
        command = [sys.executable, "-X", "utf8", "-m", "tests.exercise_gate", "fork", *map(str, folders)]
        subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True, timeout=200)
        return [verdict_of(folder, seconds, 0) for folder in folders]


def fork_for_each(folders: Sequence[str]) -> None:
    """A process for each job, one after the other, after what all of them need has been loaded."""
    from chapters.story import january
    from exercises import worker

    january()
    for folder in folders:
        if not hasattr(os, "fork"):
            subprocess.run([sys.executable, "-X", "utf8", "-m", "exercises.worker", folder], check=False)
            continue
        child = os.fork()
        if child == 0:
            try:
                worker.main(Path(folder))
            finally:
                os._exit(0)
        os.waitpid(child, 0)


def complaints(exercise: Exercise) -> list[str]:
    """What is wrong with an exercise; empty when it keeps every promise."""
    return [f"{exercise.id}: {said}" for part in PARTS for said in part(exercise)]


# ---------------------------------------------------------------- what runs


def what_runs(exercise: Exercise) -> Iterator[str]:
    """Stub, ours, the wrong ones, and one that reads the answer while it runs."""
    stub = [Piece(f"work/{name}", text) for name, text in stubs(exercise, "en").items()]
    wrong = [Piece(one.path.name, one.path.read_text("utf-8")) for one in exercise.wrong]
    given = [
        Given(exercise, stub),
        Given(exercise, [], partly=True),
        Given(exercise, [_reader(exercise)], partly=True),
    ]
    stub_is, ours_is, reader_is, *verdicts = judge_all(
        given + [Given(exercise, [one], partly=True) for one in wrong]
    )
    if stub_is.id != "not_written" or stub_is.held or stub_is.stages[stub_is.test] != "example":
        yield f"the stub should stop at the example as not yet written; it ends with {_told(stub_is)}"
    if not ours_is.passed:
        yield f"our own answer does not pass: {_told(ours_is)}"
    if reader_is.id != "fetches_running":
        yield f"an answer that reads our source while it runs is not stopped for that: {_told(reader_is)}"
    yield from _tests_are_told(exercise, ours_is)
    for one, verdict in zip(exercise.wrong, verdicts, strict=True):
        if (verdict.test, verdict.id) != (one.stopped_by, one.says):
            yield f"{one.path.name} should be stopped by {one.stopped_by} with {one.says}: {_told(verdict)}"
        if verdict.id in exercise.says:
            for language in LANGUAGES:
                exercise.sentence(verdict.id, verdict.values, language)  # raises when a value is missing


def _told(verdict: Verdict) -> str:
    return f"{verdict.id or 'passed'} at {verdict.test or 'the end'} {dict(verdict.values)}"


def _reader(exercise: Exercise) -> Piece:
    return Piece("reader.py", _with_body(exercise, READS_WHILE_IT_RUNS))


def _with_body(exercise: Exercise, body: str) -> str:
    """The first symbol, with another body."""
    symbol = exercise.symbols[0]
    top, _, last = symbol.name.rpartition(".")
    node = symbol_node(symbol)
    assert isinstance(node, ast.FunctionDef)
    path = symbol.path.relative_to(ROOT).as_posix()
    values = {
        "module": symbol.module,
        "top": top or last,
        "last": last,
        "path": path,
        "root": ROOT.as_posix(),
    }
    head = f"class {top}:\n    " if top else ""
    return f"{head}def {last}({ast.unparse(node.args)}):\n        {body.strip().format(**values)}\n"


def _tests_are_told(exercise: Exercise, ours: Verdict) -> Iterator[str]:
    if set(ours.stages) != set(exercise.tests):
        yield f"tests.py and [tests] differ in {sorted(set(ours.stages) ^ set(exercise.tests))}"
    order = [STAGES.index(stage) for stage in ours.stages.values()]
    if order != sorted(order) or set(ours.stages.values()) != set(STAGES):
        yield f"the tests go example, invariant, chapter, system; here: {list(ours.stages.values())}"


# ---------------------------------------------------------------- what is written


def what_is_fetched(exercise: Exercise) -> Iterator[str]:
    """Whoever imports the answer, or reads it, is stopped before anything runs."""
    for name, body in CHEATS.items():
        piece = Piece("cheat.py", _with_body(exercise, body))
        try:
            look(piece, exercise.symbols, exercise.shortcuts)
            splice(exercise.symbols[0].module, [Answer(exercise.symbols, [piece], partly=True)])
        except Refused as refused:
            for language in LANGUAGES:
                exercise.sentence(refused.id, refused.values, language)
        else:
            yield f"{name} is not stopped"


def what_is_said(exercise: Exercise) -> Iterator[str]:
    """Texts: all there in every language, hints short, no sentence that nobody says."""
    texts = {"title": exercise.title, "story": exercise.story, "debrief": exercise.debrief}
    texts["example"] = exercise.example
    texts |= {"notes": exercise.notes} if exercise.notes else {}
    texts |= {f"hint {number}": hint for number, hint in enumerate(exercise.hints, start=1)}
    for group in (exercise.tests, exercise.says, exercise.shortcuts):
        texts |= group
    for name, text in texts.items():
        missing = [language for language in LANGUAGES if not text.get(language, "").strip()]
        if missing:
            yield f"{name} is not there in {', '.join(missing)}"
    yield from _hints(exercise)
    source = (exercise.folder / "tests.py").read_text("utf-8")
    for id in exercise.says:
        if not re.search(rf"\b{id}\b", source):
            yield f"[says] has {id}, which no test says"
    for id in sorted(_ids_in(ast.parse(source))):
        if id not in exercise.says and id not in words():
            yield f"a test says {id}, which has no sentence"


def _hints(exercise: Exercise) -> Iterator[str]:
    if len(exercise.hints) != 3:
        yield f"there should be three hints, not {len(exercise.hints)}"
    lines = answer_lines(exercise)
    for number, hint in enumerate(exercise.hints, start=1):
        count, signs = (
            len(hint.get("en", "").split()),
            len(re.findall(r"[\u4e00-\u9fff]", hint.get("zh", ""))),
        )
        if count > MOST_HINT_WORDS or signs > MOST_HINT_SIGNS:
            yield f"hint {number} is too long: {count} words (at most {MOST_HINT_WORDS}), {signs} signs"
        for line in lines:
            if any(line in text for text in hint.values()):
                yield f"hint {number} holds a line of the answer: {line}"


def _ids_in(tree: ast.AST) -> Iterator[str]:
    """The ids that a test raises in so many words: Said("id"), expect(got, want, "id"), ask(…, "id")."""
    places = {"Said": 0, "expect": 2, "ask": 3, "compare": 2, "compare_all": 2}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in places:
            arguments = node.args[places[node.func.id] :][:1]
            yield from (
                one.value for one in arguments if isinstance(one, ast.Constant) and isinstance(one.value, str)
            )


def what_the_stub_shows(exercise: Exercise) -> Iterator[str]:
    """Signature, docstring and surroundings, and no line of the answer."""
    for language in LANGUAGES:
        for name, text in stubs(exercise, language).items():
            ast.parse(text)
            for line in answer_lines(exercise):
                if line in text:
                    yield f"the stub {name} holds a line of the answer: {line}"


def answer_lines(exercise: Exercise) -> list[str]:
    """Our answer, one text for each simple statement and each condition that is more than a word."""
    found = []
    for symbol in exercise.symbols:
        node = symbol_node(symbol)
        inside = [one for statement in node.body for one in ast.walk(statement)]
        for one in inside:
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
                continue
            if isinstance(one, ast.Assign | ast.AugAssign | ast.Return | ast.Expr | ast.Compare | ast.Call):
                found.append(ast.unparse(one))
    return [line for line in found if len(line) > 16]


def what_it_is(exercise: Exercise) -> Iterator[str]:
    """Id, kind, minutes, holes."""
    if exercise.kind not in KINDS or not 5 <= exercise.minutes <= 90:
        yield f"kind {exercise.kind!r}, {exercise.minutes} minutes"
    if len(exercise.wrong) < LEAST_WRONG:
        yield f"{len(exercise.wrong)} wrong solutions; at least {LEAST_WRONG} are the mistakes people make"
    for symbol in exercise.symbols:
        node = symbol_node(symbol)
        if not isinstance(node, ast.FunctionDef):
            yield f"{symbol.name} is no plain function"
        waits = any(isinstance(one, ast.Await | ast.AsyncFor | ast.AsyncWith) for one in ast.walk(node))
        if waits and int(exercise.id.partition(".")[0]) <= NO_AWAIT_UP_TO:
            yield f"{symbol.name} awaits"


PARTS = (what_it_is, what_is_said, what_the_stub_shows, what_is_fetched, what_runs)


# ---------------------------------------------------------------- all together


def copies(root: Path = ROOT) -> list[str]:
    """Lines of code of `mq` that stand in `exercises/`, its wrong solutions excepted."""
    known = set(_code_lines(root / "mq"))
    found = []
    for path in sorted((root / "exercises").rglob("*")):
        if path.suffix in (".py", ".toml") and path.parent.name != "wrong":
            for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
                if line.strip() in known:
                    found.append(f"{path.relative_to(root).as_posix()}:{number} copies mq: {line.strip()}")
    return found


def _code_lines(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            text = line.strip()
            if len(text) >= SHORTEST_COPY and not text.startswith(("#", '"""', "from ", "import ", "def ")):
                yield text


@cache
def sentences() -> dict[str, Text]:
    """Every sentence of the runner and of all exercises."""
    found = dict(words())
    for exercise in catalogue():
        found |= {f"{exercise.id} {id}": text for id, text in exercise.says.items()}
    return found


def placeholders(text: str) -> set[str]:
    """The values that a sentence speaks of."""
    return set(re.findall(r"{(\w+)}", text))


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["fork"]:
        fork_for_each(arguments[1:])
        return 0
    found = copies()
    for exercise in catalogue():
        began = time.monotonic()
        wrong = complaints(exercise)
        found += wrong
        print(f"{exercise.id:>5}  {len(wrong)} complaints  {time.monotonic() - began:5.1f} s")
    print("\n".join(found) or "every exercise keeps its promises")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
