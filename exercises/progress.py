"""Progress: what a learner has started, asked for and passed, in `work/.progress.json`, outside of git.

What always holds: the file is replaced in one step. One that cannot be read is set aside, never overwritten.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path

from exercises.catalogue import ROOT

WORK = ROOT / "work"
FILE = ".progress.json"


@dataclass
class State:
    """Of one exercise. Times are local, ISO 8601; empty when it has not happened."""

    started: str = ""
    passed: str = ""
    solved: str = ""  # our solution was shown before it was passed
    hints: int = 0
    checks: int = 0


@dataclass
class Progress:
    """All of it. `current` is the exercise that was touched last."""

    work: Path
    language: str = ""
    current: str = ""
    states: dict[str, State] = field(default_factory=dict)

    def of(self, id: str) -> State:
        """The state of an exercise; a fresh one if it was never touched."""
        return self.states.setdefault(id, State())

    def spoken(self) -> str:
        """The language that was chosen once, else the system's."""
        system = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
        return self.language or ("zh" if system.startswith("zh") else "en")

    def save(self) -> None:
        """Write it. Raises OSError."""
        self.work.mkdir(parents=True, exist_ok=True)
        states = {id: asdict(state) for id, state in sorted(self.states.items()) if state != State()}
        data = {"language": self.language, "current": self.current, "exercises": states}
        fresh = self.work / f"{FILE}.new"
        fresh.write_text(json.dumps(data, indent=1), "utf-8")
        os.replace(fresh, self.work / FILE)


def load(work: Path) -> Progress:
    """Read it; without a file everything is still to come."""
    path, progress = work / FILE, Progress(work)
    try:
        data = json.loads(path.read_text("utf-8"))
        known = {one.name for one in fields(State)}
        for id, state in data["exercises"].items():
            progress.states[id] = State(**{name: value for name, value in state.items() if name in known})
        progress.language, progress.current = str(data["language"]), str(data["current"])
    except FileNotFoundError:
        return progress
    except (ValueError, KeyError, TypeError, AttributeError):
        os.replace(path, path.with_name(f"{FILE}.unreadable"))
        return Progress(work)
    return progress


def now() -> str:
    """The local time, to the minute."""
    return datetime.now().isoformat(" ", "minutes")
