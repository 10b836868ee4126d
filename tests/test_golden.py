"""Golden files are what the code prints today, and a drift is shown line by line."""

from pathlib import Path

import pytest

from tests.golden import complaints, expected, found, modules_with, produce, write


def test_every_golden_file_is_what_its_code_prints() -> None:
    said = complaints(expected(), found())
    assert not said, "\n".join(said)


def test_a_changed_line_is_shown_as_a_difference(tmp_path: Path) -> None:
    write({"chapters/ch01/golden/run.txt": "one\ntwo\n"}, tmp_path)
    (said,) = complaints({"chapters/ch01/golden/run.txt": "one\n2\n"}, found(tmp_path))
    assert said.startswith("chapters/ch01/golden/run.txt is no longer what the code prints")
    assert "-two\n+2" in said


def test_a_changed_line_end_is_a_difference(tmp_path: Path) -> None:
    write({"chapters/ch01/golden/run.txt": "one\n"}, tmp_path)
    (said,) = complaints({"chapters/ch01/golden/run.txt": "one"}, found(tmp_path))
    assert "line ends only" in said


def test_a_missing_file_and_a_file_that_nobody_makes_are_named(tmp_path: Path) -> None:
    write({"chapters/ch01/golden/old.txt": "one\n"}, tmp_path)
    assert complaints({"chapters/ch01/golden/new.txt": "one\n"}, found(tmp_path)) == [
        "chapters/ch01/golden/old.txt is made by no golden(): remove it, or write the function that makes it",
        "chapters/ch01/golden/new.txt is missing: `make golden` makes it",
    ]


def test_a_remade_file_is_right(tmp_path: Path) -> None:
    wanted = {"chapters/ch01/golden/run.txt": "ünï · one\n"}
    write(wanted, tmp_path)
    assert complaints(wanted, found(tmp_path)) == []


@pytest.fixture
def producer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A book outside the project, with one demo that makes two files; returns the demo's module name."""
    folder = tmp_path / "planted_book" / "ch99_end"
    folder.mkdir(parents=True)
    (folder / "demo.py").write_text("def golden():\n    return {'run.txt': 'one\\n', '../x': ''}\n")
    (folder / "silent.py").write_text("raise RuntimeError('nobody asked')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "planted_book.ch99_end.demo"


def test_only_a_module_that_defines_the_function_is_a_producer(producer: str, tmp_path: Path) -> None:
    assert list(modules_with("golden", tmp_path, "planted_book")) == [producer]


def test_a_producer_may_not_write_outside_its_folder(producer: str) -> None:
    with pytest.raises(ValueError, match=r"names a file '\.\./x': a plain file name is meant"):
        produce(producer)
