"""The README's first screen is true, and the check that says so can fail."""

import re
from pathlib import Path

import pytest

from chapters.breaks import main as breaks
from tests import readme

TEXT = readme.README.read_text("utf-8")
TOY = (readme.ROOT / "chapters" / "toy.py").read_text("utf-8")


def test_the_shown_lines_of_the_toy_are_what_it_prints() -> None:
    shown = dict(readme.transcripts(TEXT))["python3 -m chapters.toy"]
    assert len(shown) == 3
    assert readme.first_missing(shown, readme.run("python3 -m chapters.toy")) is None


def test_both_commands_of_a_newcomer_are_shown_with_three_lines_each() -> None:
    shown = {command: len(lines) for command, lines in readme.transcripts(TEXT) if lines}
    assert shown == {"python3 -m chapters.toy": 3, "make tour": 3}


def test_a_line_that_is_not_printed_is_found_out() -> None:
    assert readme.first_missing(["one", "three"], "one\ntwo\nthree\n") is None
    assert readme.first_missing(["three", "one"], "one\ntwo\nthree\n") == "one"
    assert readme.first_missing(["four"], "one\ntwo\nthree\n") == "four"


def test_the_heart_of_the_toy_is_the_toys_own_code() -> None:
    (excerpt,) = readme.blocks(TEXT, "python")
    assert readme.excerpt_is_true(excerpt, TOY)
    assert not readme.excerpt_is_true(excerpt.replace("append", "insert"), TOY)
    assert not readme.excerpt_is_true(excerpt.rpartition("\n    ")[0], TOY), "half a function is no excerpt"
    assert len(excerpt.splitlines()) <= 10


@pytest.mark.parametrize("number", range(12))
def test_the_figure_of_each_chapter_is_what_its_break_prints(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| {number} |")]
    breaks(["--break", str(number)])
    last = capsys.readouterr().out.splitlines()[-1]
    figure = last.split(": ")[1].split(". ")[0]
    assert figure in row or figure == "1", f"README says {row!r}, the break says {last!r}"


def test_every_file_that_the_readme_names_is_there() -> None:
    for name in re.findall(r"`((?:chapters|mq|tests|docs)/[\w./]+)`", TEXT):
        assert Path(readme.ROOT, name).exists(), f"README.md names {name}, which is not there"
