"""expected.json: what the real broker and its NameServer answer to each step of the script, as plain values.

Whoever has no Java can compare a broker with it: `python -m exercises conform` does. `python -m tests.interop
--record` makes it from the real ones; every other run of the oracle checks that it is still what they say.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.interop.report import Report
from tests.interop.script import Answer

FILE = Path(__file__).parent / "expected.json"
RECORDING = "MQ_INTEROP_RECORD"


def load() -> dict[str, Answer]:
    """Each step's answer, by the step's name."""
    told: dict[str, Answer] = json.loads(FILE.read_text("utf-8"))
    return told


def check(report: Report, name: str, answers: dict[str, Answer]) -> None:
    """The file says what was answered; or is made to, when that was asked for."""
    if os.environ.get(RECORDING):
        FILE.write_text(as_text(answers), "utf-8")
    told = load()
    different = [step for step in answers if told.get(step) != json.loads(json.dumps(answers[step]))]
    different += sorted(set(told) - set(answers))
    report.equal(name, f"expected.json holds its {len(answers)} answers", different, [])


def as_text(answers: dict[str, Answer]) -> str:
    """One step a line, in the script's order, so that a change shows which answers changed."""
    rows = [f"{_json(name)}: {_json(answer)}" for name, answer in answers.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
