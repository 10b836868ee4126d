"""Exercises: each keeps its promises, and whatever a learner does is answered with a sentence."""

import io
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from exercises import cli, home
from exercises.catalogue import LANGUAGES, ROOT, Exercise, Wrong, catalogue, find, words
from exercises.ch03_consumequeue.rig import first_events, station
from exercises.cli import main
from exercises.judge import Given, Verdict, judge
from exercises.pieces import Piece
from exercises.progress import FILE, load
from exercises.prose import flowed
from exercises.show import Screen, rows_that_differ
from exercises.splice import symbol_node
from mq.consumequeue.queue import ENTRY
from tests.exercise_gate import (
    complaints,
    copies,
    judge_all,
    placeholders,
    sentences,
    what_is_said,
    what_it_is,
    what_runs,
    what_the_stub_shows,
)

IDS = [exercise.id for exercise in catalogue()]


def exercise(id: str) -> Exercise:
    found = find(id)
    assert found is not None
    return found


def ours(one: Exercise) -> dict[str, str]:
    """What a learner might have written: our own functions, cut out here and nowhere kept."""
    files: dict[str, str] = {}
    for symbol in one.symbols:
        node = symbol_node(symbol)
        owner = symbol.name.partition(".")[0]
        lines = symbol.path.read_text("utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
        files[symbol.file] = f"class {owner}:\n" + "\n".join(lines) + "\n"
    return files


def entry_at(body: str, top: str = "") -> Piece:
    """An answer to 3.1."""
    inside = textwrap.indent(textwrap.dedent(body).strip(), "        ")
    return Piece(
        "work/03_1/queue.py", f"{top}\nclass ConsumeQueue:\n    def entry_at(self, queue_offset):\n{inside}\n"
    )


class Learner:
    """Somebody at a terminal of 80 columns."""

    def __init__(self, work: Path, language: str = "en") -> None:
        self.work = work
        self.language = language

    def says(self, *arguments: str) -> tuple[int, str]:
        """Exit status, and what was shown."""
        out = io.StringIO()
        screen = Screen(self.language, Console(file=out, width=200, highlight=False))
        status = main(list(arguments), self.work, screen)
        return status, out.getvalue()

    def writes(self, id: str, files: dict[str, str]) -> None:
        folder = self.work / exercise(id).work_name
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return Learner(tmp_path / "work")


# ---------------------------------------------------------------- every exercise


@pytest.mark.parametrize("id", IDS)
def test_an_exercise_keeps_every_promise(id: str) -> None:
    said = complaints(exercise(id))
    assert not said, "\n".join(said)


def test_no_code_of_mq_is_copied_into_the_exercises() -> None:
    assert not copies()


def test_every_sentence_speaks_of_the_same_values_in_every_language() -> None:
    for id, text in sentences().items():
        spoken = {language: placeholders(text[language]) for language in LANGUAGES}
        assert len(set(map(frozenset, spoken.values()))) == 1, f"{id}: {spoken}"


def test_ids_are_given_once_and_the_folder_says_the_same() -> None:
    assert len(set(IDS)) == len(IDS)
    for one in catalogue():
        chapter, number = one.folder.parent.name[2:4], one.folder.name[2:4]
        assert one.id == f"{int(chapter)}.{int(number)}"


def test_a_broken_promise_is_a_complaint() -> None:
    one = exercise("3.1")
    hint = {"en": "position = queue_offset * ENTRY_BYTES", "zh": "短"}
    for sentence, part, broken in (
        (
            "hint 1 is too long",
            what_is_said,
            replace(one, hints=({"en": "a " * 61, "zh": "短"}, *one.hints[1:])),
        ),
        ("hint 1 holds a line of the answer", what_is_said, replace(one, hints=(hint, *one.hints[1:]))),
        ("the stub queue.py holds a line", what_the_stub_shows, replace(one, story=hint)),
        ("which has no sentence", what_is_said, replace(one, says={"negative": one.says["negative"]})),
        ("which no test says", what_is_said, replace(one, says={**one.says, "nobody": one.title})),
        ("title is not there in zh", what_is_said, replace(one, title={"en": "The entry"})),
        ("at least 3", what_it_is, replace(one, wrong=one.wrong[:2])),
        ("kind 'essay'", what_it_is, replace(one, kind="essay")),
    ):
        assert any(sentence in said for said in part(broken)), sentence


def test_a_wrong_solution_that_is_right_or_stopped_elsewhere_is_a_complaint(tmp_path: Path) -> None:
    one = exercise("3.1")
    right = tmp_path / "right.py"
    right.write_text(ours(one)["queue.py"], "utf-8")
    elsewhere = replace(one.wrong[0], stopped_by=one.wrong[1].stopped_by)
    broken = replace(
        one, wrong=(Wrong(right, "the_third_entry_is_read", "twelve_bytes"), elsewhere), tests={}
    )
    said = "\n".join(what_runs(broken))
    assert "right.py should be stopped by the_third_entry_is_read with twelve_bytes: passed" in said
    assert "twelve_bytes.py should be stopped by there_is_nothing_at_the_end" in said
    assert "tests.py and [tests] differ" in said


def test_a_copied_line_is_found(tmp_path: Path) -> None:
    line = "    return self.a_function_of_mq(with_arguments, and_more_of_them)\n"
    for name in ("mq/a.py", "exercises/ch01/ex01/tests.py", "exercises/ch01/ex01/wrong/twice.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def f():\n{line}")
    (said,) = copies(tmp_path)
    assert said.startswith("exercises/ch01/ex01/tests.py:2 copies mq: return self.a_function")


# ---------------------------------------------------------------- whatever a learner writes


FIRST_LINES = "class ConsumeQueue:\n    def entry_at(self, queue_offset):"
WRITTEN = {
    "a loop that does not end": (entry_at("while queue_offset >= 0:\n    pass"), "endless"),
    "memory without end": (entry_at("rows = []\nwhile True:\n    rows.append(bytes(1 << 20))"), "memory"),
    "an exit": (entry_at("exit(3)"), "exits"),
    "an exception": (entry_at("return {}['x']"), "raised"),
    "a call of itself": (entry_at("return self.entry_at(queue_offset)"), "recursion"),
    "a failure as it is imported": (entry_at("return None", "SIZES = [1][7]"), "module_fails"),
    "a caught theft": (
        entry_at(
            f"""
            from mq.runtime.real import RealDisk
            try:
                RealDisk({str(ROOT)!r}).open("mq/consumequeue/queue.py")
            except Exception:
                pass
            """
        ),
        "fetches_running",
    ),
    "a syntax error": (Piece("work/03_1/queue.py", "class ConsumeQueue:\n    def entry_at(self"), "syntax"),
    "a null byte": (Piece("work/03_1/queue.py", "a = 1\0"), "syntax"),
    "another name": (
        Piece("work/03_1/queue.py", "class ConsumeQueue:\n    def entry_of(self, queue_offset): ..."),
        "wrong_name",
    ),
    "no class": (Piece("work/03_1/queue.py", "def entry_at(self, queue_offset): ..."), "outside_its_class"),
    "an empty file": (Piece("work/03_1/queue.py", ""), "missing_name"),
    "other arguments": (
        Piece("work/03_1/queue.py", "class ConsumeQueue:\n    def entry_at(self, n): ..."),
        "signature",
    ),
    "async": (
        Piece("work/03_1/queue.py", "class ConsumeQueue:\n    async def entry_at(self, queue_offset): ..."),
        "is_async",
    ),
    "a constant of ours": (entry_at("return None", "ENTRY_BYTES = 12"), "redefined"),
    "a method of ours": (
        Piece("work/03_1/queue.py", f"{FIRST_LINES} ...\n    def first_from(self, at): return 0"),
        "redefined",
    ),
    "another door": (entry_at("return None", "import socket"), "other_import"),
    "a call that finds it": (entry_at("return self.read(queue_offset, 1)"), "self.read"),
    "what Python keeps inside": (entry_at("return type(self).entry_at.__code__"), "fetches"),
}


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    one = exercise("3.1")
    found = judge_all([Given(one, [piece]) for piece, _ in WRITTEN.values()], seconds=1.0)
    return dict(zip(WRITTEN, found, strict=True))


def test_whatever_is_written_is_answered_with_its_sentence(verdicts: dict[str, Verdict]) -> None:
    one = exercise("3.1")
    for name, (_, id) in WRITTEN.items():
        assert verdicts[name].id == id, f"{name}: {verdicts[name]}"
        for language in LANGUAGES:
            assert len(one.sentence(id, verdicts[name].values, language)) > 10


def test_a_loop_and_an_exception_are_found_in_the_learners_own_line(verdicts: dict[str, Verdict]) -> None:
    for name in ("a loop that does not end", "memory without end", "an exception", "an exit"):
        assert str(verdicts[name].values["place"]).startswith("work/03_1/queue.py:"), name


def test_own_helpers_and_annotations_that_only_an_editor_knows_come_along() -> None:
    text = ours(exercise("3.1"))["queue.py"].replace(
        "def entry_at(self, queue_offset: int)", "def entry_at(self, queue_offset: Editor)"
    )
    helper = text.replace("queue_offset * ENTRY_BYTES", "self._place(queue_offset)")
    helper += "\n    def _place(self, number: Editor) -> Editor:\n        return times(number, SIZE)\n"
    helper += "\ndef times(one, other):\n    return mul(one, other)\n"
    helper = f"from operator import mul\n\nSIZE = 20\n\n{helper}"
    assert "_place(queue_offset)" in helper
    verdict = judge([Given(exercise("3.1"), [Piece("work/03_1/queue.py", helper)])])
    assert verdict.passed, verdict


def test_what_the_code_prints_is_kept_and_bounded() -> None:
    piece = entry_at("for _ in range(100_000):\n    print('here')\nreturn None")
    verdict = judge([Given(exercise("3.1"), [piece])])
    assert verdict.printed.startswith("here\nhere\n")
    assert len(verdict.printed) <= 20_000


def test_a_process_that_is_lost_is_a_sentence_too(tmp_path: Path) -> None:
    one = exercise("3.1")
    verdict = judge([Given(one, [entry_at("return None")])], most_bytes=1 << 20)
    assert verdict.id in ("worker_lost", "memory", "module_fails")
    assert one.sentence(verdict.id, verdict.values, "en")


# ---------------------------------------------------------------- at the terminal


def test_the_first_command_is_green_and_names_the_next(learner: Learner) -> None:
    status, shown = learner.says()
    assert status == 0
    assert "✔ Everything is in place" in shown
    assert f"0 of {len(IDS)} exercises passed" in shown
    assert f"python3 -m exercises start {IDS[0]}" in shown
    assert not (learner.work / FILE).exists()


def test_from_the_stub_to_the_answer(learner: Learner) -> None:
    status, shown = learner.says("check", "3.1")
    assert status == 1 and "There is no work/03_1/queue.py yet" in shown
    status, shown = learner.says("start", "3.1")
    assert status == 0 and "Made   work/03_1/queue.py" in shown
    status, shown = learner.says("check")
    assert status == 1 and "`entry_at` is yours to write" in shown and "The example:" in shown
    learner.writes("3.1", {"queue.py": (exercise("3.1").folder / "wrong/twelve_bytes.py").read_text("utf-8")})
    status, shown = learner.says("check")
    assert status == 1 and "You count 12 bytes to an entry" in shown
    assert "00000000000001f4 | 000000ca | 0000000000000903" in shown and "^^" in shown
    assert "Traceback" not in shown
    learner.writes("3.1", ours(exercise("3.1")))
    status, shown = learner.says("check")
    assert status == 0 and "Every test holds" in shown and "What you built" in shown
    assert "start 3.2" in shown
    assert "1 of" in learner.says("status")[1]


def test_answers_that_passed_are_put_together(learner: Learner) -> None:
    learner.writes("3.1", ours(exercise("3.1")))
    assert learner.says("check", "3.1")[0] == 0
    learner.writes("3.2", ours(exercise("3.2")))
    broken = ours(exercise("3.1"))["queue.py"].replace("queue_offset * ENTRY_BYTES", "queue_offset * 12")
    learner.writes("3.1", {"queue.py": broken})
    assert learner.says("check", "3.2", "--mine")[0] == 1


def test_nothing_that_is_shown_is_wider_than_80_columns(tmp_path: Path) -> None:
    for language in LANGUAGES:
        learner = Learner(tmp_path / language, language)
        wrong = (exercise("3.2").folder / "wrong/twice.py").read_text("utf-8")
        shown = [
            learner.says(*words)[1] for words in ((), ("start", "3.2"), ("check",), ("hint",), ("status",))
        ]
        learner.writes("3.2", {**ours(exercise("3.2")), "queue.py": wrong})
        shown.append(learner.says("check", "--trace")[1])
        for line in "\n".join(shown).splitlines():
            assert cell_len(line) <= 80, line


def test_no_line_of_our_solution_is_broken(learner: Learner) -> None:
    node = symbol_node(exercise("3.1").symbols[0])
    lines = exercise("3.1").symbols[0].path.read_text("utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
    shown = learner.says("solve", "3.1", "--yes")[1].splitlines()
    assert max(map(len, lines)) > 80, "or this test shows nothing"
    assert [line for line in textwrap.dedent("\n".join(lines)).splitlines() if line not in shown] == []


def test_an_example_tells_what_its_test_asks_for() -> None:
    assert "Entry(500, 202, 2307)" in (exercise("3.1").folder / "tests.py").read_text("utf-8")
    with station(queue_count=1) as airport:
        airport.start()
        airport.put(first_events(3))
        wanted = airport.expected()[0]
    for language in LANGUAGES:
        for number, data in wanted:
            row = f"entry {number}   Entry{ENTRY.unpack(data)}"
            assert row in exercise("3.2").example[language]


def test_hints_come_one_by_one_and_never_a_fourth(learner: Learner) -> None:
    for count in (1, 2, 3, 3):
        shown = learner.says("hint", "3.1")[1]
        assert [f"Hint {number} of 3" in shown for number in (1, 2, 3)] == [
            number <= count for number in (1, 2, 3)
        ]


def test_our_solution_is_shown_after_passing_or_to_who_insists(learner: Learner) -> None:
    status, shown = learner.says("solve", "3.1")
    assert status == 1 and "def entry_at" not in shown and "not passed 3.1 yet" in shown
    assert load(learner.work).of("3.1").solved == ""
    status, shown = learner.says("solve", "3.1", "--yes")
    assert status == 0 and "def entry_at" in shown
    assert "solution seen" in learner.says("status")[1]


def test_start_leaves_what_is_there_and_reset_keeps_it_aside(learner: Learner) -> None:
    learner.says("start", "3.1")
    learner.writes("3.1", {"queue.py": "mine"})
    learner.says("start", "3.1")
    path = learner.work / "03_1/queue.py"
    assert path.read_text("utf-8") == "mine"
    learner.says("reset", "3.1")
    assert "NotImplementedError" in path.read_text("utf-8")
    assert (learner.work / "03_1/queue.py.1").read_text("utf-8") == "mine"


def test_progress_that_cannot_be_read_is_set_aside(learner: Learner) -> None:
    learner.says("hint", "3.1")
    (learner.work / FILE).write_text("{torn", "utf-8")
    status, _ = learner.says()
    assert status == 0
    assert (learner.work / f"{FILE}.unreadable").read_text("utf-8") == "{torn"


def test_the_language_is_chosen_once(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    assert load(learner.work).spoken() == "en"
    learner.says("--lang", "zh", "status")
    assert load(learner.work).spoken() == "zh"
    assert "下一步" in Learner(learner.work, "zh").says()[1]


def test_an_exercise_that_is_none_is_named_with_those_that_are(learner: Learner) -> None:
    status, shown = learner.says("check", "9.9")
    assert status == 2 and "There is no exercise 9.9" in shown and "3.1" in shown


def test_watch_checks_again_when_a_file_has_changed(
    learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner.says("start", "3.1")
    rounds = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 2:
            learner.writes("3.1", ours(exercise("3.1")))
        if len(rounds) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "sleep", sleep)
    status, shown = learner.says("watch", "3.1")
    assert status == 130 and len(rounds) == 4
    assert shown.count("Watching:") == 2
    assert "yours to write" in shown and "Every test holds" in shown
    assert cli.POLL_S < 1


def test_carets_stand_under_what_differs_and_only_there() -> None:
    (row,) = rows_that_differ("0011" + "2233", "0011" + "2633", [1, 1], "entry", 4)
    assert row == ("entry 5", "22 | 33", "26 | 33", " ^ |   ".replace("|", " "))
    (longer,) = rows_that_differ("0011", "00112233", [1, 1], "entry", 0)
    assert longer == ("entry 1", "", "22 | 33", "^^   ^^")


def test_chinese_is_broken_between_any_two_signs_but_not_before_a_comma() -> None:
    assert flowed("日志在磁盘上，\n队列写出了 20 字节。", 12) == "日志在磁盘\n上，队列写出\n了 20 字节。"
    assert flowed("one two\nthree\n\nfour", 9) == "one two\nthree\n\nfour"


def test_a_copy_beside_the_answer_is_not_read(learner: Learner) -> None:
    learner.writes("3.1", {"a copy.py": "class ConsumeQueue: syntax error", **ours(exercise("3.1"))})
    assert learner.says("check", "3.1")[0] == 0


def test_every_id_of_the_runner_is_said_somewhere() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "exercises").glob("*.py"))
    unsaid = [
        id
        for id in words()
        if not re.search(rf"[\"']{id}[\"']", source) and not id.startswith(("stage_", "kind_"))
    ]
    assert not unsaid


# ---------------------------------------------------------------- .venv


def test_a_runner_outside_of_venv_goes_on_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[list[str]] = []
    monkeypatch.setattr(sys, "prefix", "/elsewhere")
    monkeypatch.setattr(sys, "argv", ["exercises", "check", "3.1"])
    monkeypatch.setattr(home, "works", lambda executable, code: True)
    monkeypatch.setattr(os, "execv", lambda path, arguments: gone.append(arguments))
    monkeypatch.setenv("PYTHONPATH", "")
    home.enter()
    assert gone == [[home.PYTHON, "-m", "exercises", "check", "3.1"]]


def test_a_missing_venv_is_made_with_what_the_runner_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[list[str]] = []

    def call(command: list[str]) -> int:
        done.append(command)
        return 0

    monkeypatch.setattr(home, "PYTHON", "not there yet")
    monkeypatch.setattr(home, "works", lambda executable, code: executable == sys.executable)
    monkeypatch.setattr(subprocess, "call", call)
    home.make()
    assert done[0] == [sys.executable, "-m", "venv", "--clear", home.VENV]
    assert done[-1][-1].startswith("rich==")


def test_without_network_the_runner_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "works", lambda executable, code: "rich" not in code)
    monkeypatch.setattr(subprocess, "call", lambda command: 1)
    with pytest.raises(SystemExit, match="needs the network this once"):
        home.make()


def test_progress_is_kept_outside_of_git() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "work/.progress.json"], cwd=ROOT, check=False)
    assert ignored.returncode == 0
    assert (ROOT / "work/AGENTS.md").exists()
