"""Measured figures: all of them live in docs/measured.toml, with the command, the day and the machine.

    python -m tests.measure             measures everything again
    python -m tests.measure MODULE …    measures these modules again and keeps the other figures

A module under `chapters/` or `tests/` with a function `measure() -> dict[str, object]` (name with its unit ->
figure) is one table of the file. The book quotes figures from there and nowhere else.
"""

import datetime
import os
import platform
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.golden import ROOT, call, modules_with

MEASURED = ROOT / "docs" / "measured.toml"
HEADING = (
    "# Made by `make measure`. Every figure of the book that was measured, with how, when and on what.\n"
)


def machine() -> dict[str, object]:
    """What the figures depend on, and nothing that names the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": platform.system(),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def section(module: str) -> dict[str, object]:
    """One module's table: command, date and machine first, then what it measured."""
    figures = call(module, "measure")
    today = datetime.datetime.now(datetime.UTC).date()
    return {"command": f"python -m tests.measure {module}", "date": today, "machine": machine(), **figures}


def to_toml(tables: Mapping[str, object]) -> str:
    """The file's text: a table for each module, in the order of their names."""
    parts = [HEADING]
    for name in sorted(tables):
        table = tables[name]
        if not isinstance(table, Mapping):
            raise TypeError(f"{name}: a table is meant, not {table!r}")
        lines = "\n".join(f"{_key(key)} = {_value(value)}" for key, value in table.items())
        parts.append(f"[{_key(name)}]\n{lines}\n")
    return "\n".join(parts)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _value(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float() | datetime.date():
            return str(value)
        case str():
            return _text(value)
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():
            return f"{{ {', '.join(f'{_key(str(key))} = {_value(each)}' for key, each in value.items())} }}"
    raise TypeError(f"a figure is a number, a text, a list or a table, not {value!r}")


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'


def _asked(arguments: list[str]) -> Iterator[str]:
    there = [*modules_with("measure"), *modules_with("measure", folder="tests")]
    for module in arguments:
        if module not in there:
            raise SystemExit(f"measure: {module} has no measure(); these have: {', '.join(there) or 'none'}")
    yield from arguments or there


def main(arguments: list[str]) -> int:
    old = tomllib.loads(MEASURED.read_text("utf-8")) if MEASURED.exists() and arguments else {}
    tables: dict[str, object] = dict(old)
    for module in _asked(arguments):
        print(f"measure: {module}", flush=True)
        tables[module] = section(module)
    MEASURED.parent.mkdir(exist_ok=True)
    MEASURED.write_text(to_toml(tables), "utf-8")
    print(f"measure: {len(tables)} tables in {MEASURED.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
