"""The order of the floors, as rules that a tree of source files keeps or breaks.

    python -m tests.architecture      the core of every chapter in lines of code, then every broken rule

The list FLOORS is the order of imports: a package may import those before it, never one after it. Here are
the rules about what a floor may know; `tests/doors.py` has those about what it may do.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import doors
from tests.sourcetree import Fault, Import, Module, load

ROOT = Path(__file__).resolve().parent.parent
FLOORS: dict[str, int] = {
    "runtime": 0,
    "wire": 0,
    "routing": 1,
    "commitlog": 2,
    "clients": 2,
    "consumequeue": 3,
    "replication": 4,
    "longpolling": 5,
    "ordering": 6,
    "transactions": 7,
    "delay": 8,
    "filtering": 9,
    "isr": 10,
    "coordination": 11,
}
ORDER = list(FLOORS)
TOP = {"cli", "commands", "completion", "inspect", "operate", "system", "__main__"}
OUTSIDE = {"chapters", "exercises", "tests"}
ALWAYS_PLUGGED = {"runtime", "wire", "routing"}  # what system.py needs before it plugs the first floor
MOST_CORE_LINES = 440


def faults(root: Path = ROOT) -> list[Fault]:
    """Every broken rule of the tree `root/mq`, sorted by path and line."""
    modules = load(root)
    found: list[Fault] = []
    for module in modules:
        found += _place(module)
        found += _imports(module, {other.name for other in modules})
        found += _docstring(module)
        if module.folder in FLOORS:
            found += doors.floor_faults(module)
        elif module.folder == "sim":
            found += doors.simulator_faults(module)
    return sorted({*found, *_cycles(modules), *_core_size(modules)})


# ---------------------------------------------------------------- what a module may know


def _place(module: Module) -> Iterator[Fault]:
    """A package that is not in the list would be judged by no rule, so it is a fault itself."""
    known = module.folder in FLOORS or module.folder == "sim"
    if not module.folder:
        known = module.name == "mq" or module.name.removeprefix("mq.") in TOP
    if not known:
        place = f"mq/{module.folder}" if module.folder else module.name
        yield module.fault(1, f"belongs to no floor: {place} is not in the list of tests/architecture.py")
    if module.name.endswith(".utils"):
        yield module.fault(1, "is called utils: name it after the idea that it holds")


def _imports(module: Module, known: set[str]) -> Iterator[Fault]:
    for imported in module.imports:
        reason = _why_not(module, imported)
        if reason:
            yield module.fault(imported.line, f"imports {_target(imported, known)}, but {reason}")


def _why_not(module: Module, imported: Import) -> str | None:
    first, _, rest = imported.name.partition(".")
    if module.is_package:
        return "an __init__.py imports nothing: a floor is reached through its modules"
    if first in OUTSIDE:
        return "nothing in mq may know chapters, exercises or tests"
    if first != "mq":
        return None if first in sys.stdlib_module_names else "mq uses the standard library alone"
    package = rest.split(".")[0]
    if module.folder in FLOORS:
        return _why_not_below(module.folder, package)
    eager = imported.at_top and package in FLOORS and package not in ALWAYS_PLUGGED
    if module.name == "mq.system" and eager:
        return "system.py imports a floor only when it plugs it, inside the function that does"
    return None


def _why_not_below(floor: str, package: str) -> str | None:
    if package in TOP:
        return "a floor may not know the top"
    if package == "sim":
        return "no floor may know the simulator"
    if package not in FLOORS or ORDER.index(package) <= ORDER.index(floor):
        return None
    if FLOORS[package] == FLOORS[floor]:
        return f"{floor} may not know {package}, which comes after it in chapter {FLOORS[floor]}"
    return f"{floor} (chapter {FLOORS[floor]}) may not know {package} (chapter {FLOORS[package]})"


def _target(imported: Import, known: set[str]) -> str:
    return imported.name if imported.name in known else imported.module


def _cycles(modules: Sequence[Module]) -> Iterator[Fault]:
    """One fault per import that closes a circle of modules, with the way back. Names for types close none."""
    known = {module.name for module in modules}
    edges: dict[str, dict[str, int]] = {module.name: {} for module in modules}
    for module in modules:
        for imported in module.imports:
            target = _target(imported, known)
            if target in known and not imported.for_types:
                edges[module.name].setdefault(target, imported.line)
    reported: set[frozenset[str]] = set()
    for module in modules:
        for target, line in sorted(edges[module.name].items()):
            way = _way(edges, target, module.name)
            if way and frozenset(way) not in reported:
                reported.add(frozenset(way))
                back = " -> ".join([module.name, *way])
                yield module.fault(line, f"imports {target}, which leads back here: {back}")


def _way(edges: dict[str, dict[str, int]], start: str, goal: str) -> list[str] | None:
    """The shortest way along imports from `start` to `goal`, both included; None when there is none."""
    ways = [[start]]
    seen = {start}
    for way in ways:
        if way[-1] == goal:
            return way
        for target in sorted(edges[way[-1]]):
            if target not in seen:
                seen.add(target)
                ways.append([*way, target])
    return None


# ---------------------------------------------------------------- what a module says of itself


def _docstring(module: Module) -> Iterator[Fault]:
    first_line = module.docstring.split("\n")[0]
    if not first_line:
        yield module.fault(1, "has no docstring: the first line says what this module is")
    elif module.folder in FLOORS and module.is_package and module.name.count(".") == 1:
        opening = f"Chapter {FLOORS[module.folder]:02} · "
        if not re.match(rf"{opening}\S", first_line):
            yield module.fault(1, f"opens with {first_line!r}: a floor opens with '{opening}Topic'")
    elif module.folder in FLOORS and not module.is_package and mark(module) is None:
        yield module.fault(1, f"opens with {first_line!r}: the first line ends in '· core' or '· depth'")


def mark(module: Module) -> str | None:
    """'core' or 'depth', as the first line of the docstring says; None when it says neither."""
    found = re.search(r" · (core|depth)$", module.docstring.split("\n")[0])
    return found[1] if found else None


# ---------------------------------------------------------------- how much is core


def core_lines(modules: Sequence[Module]) -> dict[int, dict[str, int]]:
    """Chapter -> {path of a core module: its lines of code}. `runtime` does not count."""
    table: dict[int, dict[str, int]] = {number: {} for number in FLOORS.values()}
    for module in modules:
        if module.folder in FLOORS and module.folder != "runtime" and mark(module) == "core":
            table[FLOORS[module.folder]][module.path] = module.code_lines
    return table


def _core_size(modules: Sequence[Module]) -> Iterator[Fault]:
    for number, paths in core_lines(modules).items():
        total = sum(paths.values())
        if total > MOST_CORE_LINES:
            largest = max(paths, key=lambda path: paths[path])
            sentence = (
                f"is the largest core module of chapter {number}, whose core has {total} lines of code: "
            )
            yield Fault(largest, 1, f"{sentence}a page can teach {MOST_CORE_LINES}, so mark some of it depth")


def table(modules: Sequence[Module]) -> str:
    """The core of every chapter and, behind it, everything else on its floors, in lines of code."""
    rows = [f"{'chapter':<34}{'core':>6}{'depth':>7}"]
    core = core_lines(modules)
    for number in sorted(core):
        floors = [floor for floor in ORDER if FLOORS[floor] == number]
        every = sum(
            module.code_lines for module in modules if module.folder in floors and module.folder != "runtime"
        )
        inside = sum(core[number].values())
        shown = ", ".join(floor for floor in floors if floor != "runtime")
        rows.append(f"{number:02} {shown:<31}{inside:>6}{every - inside:>7}")
    for folder in ("runtime", "sim", ""):
        every = sum(module.code_lines for module in modules if module.folder == folder)
        rows.append(f"{'   ' + (folder or 'the top'):<34}{'':>6}{every:>7}")
    return "\n".join(rows)


def main() -> int:
    print(table(load(ROOT)))
    broken = faults(ROOT)
    print("\n".join(["", *map(str, broken)]) if broken else "\nevery rule holds")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
