"""The worker: a process of its own that splices, runs the tests, and may be lost.

    python -m exercises.worker FOLDER

FOLDER holds `job.json`. What happens is appended to `said.jsonl`, a line for each test that begins or ends,
so that the reader knows where a process was that did not come back. An endless loop ends with a stack in
`stack.txt`, too much memory with MemoryError, and what the learner prints is in `printed.txt`.
"""

import faulthandler
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TextIO

from exercises.catalogue import Symbol
from exercises.honesty import Watch, look
from exercises.pieces import Piece, Refused
from exercises.splice import Answer, splice
from exercises.testing import Said, error_text, tests_of

MOST_PRINTED = 20_000
Tell = Callable[..., None]


class Spliced(MetaPathFinder, Loader):
    """Gives out the spliced code of some modules."""

    def __init__(self, codes: dict[str, CodeType]) -> None:
        self.codes = codes

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        code = self.codes.get(name)
        return ModuleSpec(name, self, origin=code.co_filename) if code else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self.codes[module.__name__], module.__dict__)


class Printed:
    """stdout and stderr of the learner's code: the first 20,000 characters of it."""

    def __init__(self, file: TextIO) -> None:
        self.file = file
        self.left = MOST_PRINTED

    def write(self, text: str) -> int:
        self.file.write(text[: self.left])
        self.left = max(self.left - len(text), 0)
        return len(text)

    def flush(self) -> None:
        self.file.flush()


def main(folder: Path) -> None:
    """Do one job."""
    job = json.loads((folder / "job.json").read_text("utf-8"))
    watch = Watch(job["root"])
    streams = sys.stdout, sys.stderr
    with (
        open(folder / "said.jsonl", "a", encoding="utf-8") as said,
        open(folder / "stack.txt", "w", encoding="utf-8") as stack,
        open(folder / "printed.txt", "w", encoding="utf-8") as printed,
    ):
        sys.stdout = sys.stderr = Printed(printed)
        limit_memory(job["bytes"])

        def tell(kind: str, **fields: object) -> None:
            said.write(json.dumps({"is": kind, **fields}, default=str) + "\n")
            said.flush()

        try:
            work(job, watch, tell, stack)
        finally:
            sys.stdout, sys.stderr = streams


def work(job: dict[str, Any], watch: Watch, tell: Tell, stack: TextIO) -> None:
    """Splice, then run the tests in their order up to the first that is broken."""
    try:
        sys.meta_path.insert(0, Spliced(spliced(job)))
        tests = tests_of(tests_module(Path(job["tests"])))
    except Refused as refused:
        tell("refused", id=refused.id, values=refused.values)
        return
    tell("tests", names=list(tests), stages=[stage for stage, _ in tests.values()])
    for name, (_, test) in tests.items():
        tell("begins", test=name)
        faulthandler.dump_traceback_later(job["seconds"], exit=True, file=stack)
        try:
            watch.is_on = True
            test()
        except BaseException as error:  # noqa: BLE001  (also sys.exit, which a learner may have called)
            watch.is_on = False
            tell("stopped", test=name, **told(error, watch, job["root"]))
            return
        finally:
            watch.is_on = False
            faulthandler.cancel_dump_traceback_later()
        if watch.seen:
            tell("stopped", test=name, id="fetches_running", values={"what": watch.seen})
            return
        tell("held", test=name)


def spliced(job: dict[str, Any]) -> dict[str, CodeType]:
    """Module -> code. Raises Refused."""
    answers = []
    for given in job["answers"]:
        symbols = [Symbol.parse(text) for text in given["symbols"]]
        pieces = [Piece(path, source) for path, source in given["pieces"]]
        for piece in pieces:
            look(piece, symbols, given["shortcuts"])
        answers.append(Answer(symbols, pieces, given["partly"]))
    modules = dict.fromkeys(symbol.module for answer in answers for symbol in answer.symbols)
    return {module: splice(module, answers) for module in modules}


def tests_module(path: Path) -> ModuleType:
    """An exercise's `tests.py`. What raises here is the learner's module itself, as it is imported."""
    spec = importlib.util.spec_from_file_location("exercise_tests", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise Refused("module_fails", error=error_text(error)) from error
    return module


def told(error: BaseException, watch: Watch, root: str) -> dict[str, object]:
    """What stopped a test, as JSON: id, values, difference, and the stack from the outside in."""
    origin = error.__cause__ or error
    stack = [
        (frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(origin.__traceback__)
    ]
    stack = [(name.removeprefix(f"{root}/"), line, function) for name, line, function in stack]
    fields: dict[str, object] = {
        "trace": [one for one in stack if not one[0].endswith("exercises/worker.py")]
    }
    if watch.seen:
        return fields | {"id": "fetches_running", "values": {"what": watch.seen}}
    if isinstance(error, Refused):
        return fields | {"id": error.id, "values": error.values}
    if isinstance(error, Said):
        difference = error.difference
        if difference is not None:
            sides = {"expected": difference.expected.hex(), "got": difference.got.hex()}
            rows = {"fields": list(difference.fields), "row": difference.row, "first": difference.first}
            fields["difference"] = sides | rows
        return fields | {"id": error.id, "values": error.values}
    ids = {
        NotImplementedError: "not_written",
        MemoryError: "memory",
        SystemExit: "exits",
        RecursionError: "recursion",
    }
    id = next((name for kind, name in ids.items() if isinstance(error, kind)), "raised")
    function = stack[-1][2] if stack else ""
    return fields | {"id": id, "values": {"error": error_text(error), "function": function}}


def limit_memory(most_bytes: int) -> None:
    """Where the system can: Linux holds to it, macOS may not, Windows has no such call."""
    try:
        import resource
    except ImportError:
        return
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    except (ValueError, OSError):
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
