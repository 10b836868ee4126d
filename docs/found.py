"""The page of what hunts have found, made from what keeps it repaired: nothing on it is written twice.

`tests/found.toml` has what sweeps of seeds and enumerated crashes found, with the scenario or the command
that showed it. What the fuzzer and foreign peers found are tests of their own: a test's name says what holds
now, and its docstring why.
"""

import ast
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

HUNTS = {  # file of tests -> heading, and what the hunt is
    "test_fuzz_found.py": (
        "## Damaged inputs {#fuzz}",
        "`make fuzz` damages frames, records, files and answers, and nobody may be surprised.",
    ),
    "test_interop_found.py": (
        "## Foreign peers {#peers}",
        "Official clients and the real broker, in `make interop`, do what ours never do.",
    ),
}


class Found(NamedTuple):
    """A row of found.toml. `replay`: the command that shows it; `test`: what keeps it, if not the replay."""

    replay: str
    seen: str
    wrong: str
    where: str
    test: str = ""


def rows(root: Path, kind: str) -> list[Found]:
    """Of a kind: "found" by sweeps in brokers, "judged" by them in their judge, "crash" by enumeration."""
    data: dict[str, Any] = tomllib.loads((root / "tests" / "found.toml").read_text("utf-8"))
    return [
        Found(
            one.get("scenario") or one["command"],
            one["seen"],
            one["wrong"],
            one["where"],
            one.get("test", ""),
        )
        for one in data[kind]
    ]


def kept(root: Path, name: str) -> list[tuple[str, str]]:
    """Each test of a file as a sentence, and what its docstring says."""
    tree = ast.parse((root / "tests" / name).read_text("utf-8"))
    tests = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    return [(_sentence(node.name), " ".join((ast.get_docstring(node) or "").split())) for node in tests]


def page(root: Path) -> str:
    """What stands below the page's own words."""
    parts = [
        "## Faults that a seed drew {#sweeps}",
        'Replay one with `python -m mq.sim run "…"`. Each is what was left when every fault that did not '
        "matter had been dropped.",
        _table("scenario", rows(root, "found")),
        "## The judge, judged {#judge}",
        "Some alarms were false. A checker that forbids too much is wrong, too, and found in the same way.",
        _table("scenario", rows(root, "judged")),
        "## A crash at every disk call {#crashes}",
        _table("command", rows(root, "crash")),
    ]
    for name, (heading, about) in HUNTS.items():
        parts += [heading, about, _tests(kept(root, name))]
    return "\n\n".join(parts)


def _table(head: str, found: list[Found]) -> str:
    lines = [f"| {head} | what was seen | what was wrong |", "|---|---|---|"]
    lines += [f"| {words(one.replay)} | {one.seen} | {one.wrong} ({one.where}) |" for one in found]
    return "\n".join(lines)


def words(replay: str) -> str:
    """A command with each word as code: so it can be broken between them, and is copied whole."""
    return " ".join(f"`{word}`" for word in replay.split())


def _tests(found: list[tuple[str, str]]) -> str:
    lines = ["| what holds now | why |", "|---|---|"]
    lines += [f"| {_cell(holds)} | {_cell(before)} |" for holds, before in found]
    return "\n".join(lines)


def _sentence(test: str) -> str:
    return test.removeprefix("test_").replace("_", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
