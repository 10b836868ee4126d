"""What code on a floor may not do: reach the outside by itself, or act on its own death.

Doors: files, clocks, sockets, tasks and randomness are reached through the Node alone (mq/runtime/real.py
excepted), or a run in the simulator is no longer decided by its seed. Death: a crash must look like a crash,
so no code may catch it, write while it unwinds, or run when the garbage collector likes. Order: nothing may
depend on hash seeds or addresses.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.sourcetree import Fault, Module

THE_REAL_NODE = "mq/runtime/real.py"

# Module -> what a floor uses instead.
CLOSED_MODULES = {
    "time": "time comes from node.monotonic() and node.wall_ms()",
    "os": "files are reached through node.disk",
    "pathlib": "files are reached through node.disk",
    "shutil": "files are reached through node.disk",
    "tempfile": "files are reached through node.disk",
    "glob": "files are reached through node.disk",
    "mmap": "files are reached through node.disk",
    "fcntl": "files are reached through node.disk",
    "socket": "the network is reached through node.listen and node.connect",
    "ssl": "the network is reached through node.listen and node.connect",
    "select": "the network is reached through node.listen and node.connect",
    "selectors": "the network is reached through node.listen and node.connect",
    "threading": "a floor has one thread and the tasks of node.spawn",
    "_thread": "a floor has one thread and the tasks of node.spawn",
    "concurrent": "a floor has one thread and the tasks of node.spawn",
    "multiprocessing": "a floor has one thread and the tasks of node.spawn",
    "subprocess": "a floor starts no process",
    "signal": "only the top hears signals",
    "secrets": "randomness comes from node.random",
    "uuid": "randomness comes from node.random",
}
# The simulator may draw from random.Random(seed), but nothing real gets in there either.
CLOSED_TO_THE_SIMULATOR = (
    "time",
    "socket",
    "select",
    "selectors",
    "threading",
    "concurrent",
    "subprocess",
    "secrets",
    "uuid",
)

_TASKS = "tasks come from node.spawn"
_LOOP = "the running loop is no door: ask the node"
_ORDER = "it answers in an order that differs between runs"
_NETWORK = "the network is reached through node.listen and node.connect"
CLOSED_NAMES = {
    "asyncio.create_task": _TASKS,
    "asyncio.ensure_future": _TASKS,
    "asyncio.run": _TASKS,
    "asyncio.Runner": _TASKS,
    "asyncio.to_thread": "a floor has one thread and the tasks of node.spawn",
    "asyncio.run_coroutine_threadsafe": "a floor has one thread and the tasks of node.spawn",
    "asyncio.create_subprocess_exec": "a floor starts no process",
    "asyncio.create_subprocess_shell": "a floor starts no process",
    "asyncio.get_event_loop": _LOOP,
    "asyncio.get_running_loop": _LOOP,
    "asyncio.new_event_loop": _LOOP,
    "asyncio.set_event_loop": _LOOP,
    "asyncio.open_connection": _NETWORK,
    "asyncio.start_server": _NETWORK,
    "asyncio.open_unix_connection": _NETWORK,
    "asyncio.start_unix_server": _NETWORK,
    "asyncio.sleep": "time passes in node.sleep_ms",
    "asyncio.TaskGroup": _ORDER,
    "asyncio.as_completed": _ORDER,
    "asyncio.wait": _ORDER,
    "asyncio.all_tasks": _ORDER,
    "asyncio.wait_for": "asyncio.timeout does the same without a task of its own",
    "datetime.datetime.now": "time comes from node.wall_ms()",
    "datetime.datetime.utcnow": "time comes from node.wall_ms()",
    "datetime.datetime.today": "time comes from node.wall_ms()",
    "datetime.date.today": "time comes from node.wall_ms()",
    "io.open": "files are reached through node.disk",
    "codecs.open": "files are reached through node.disk",
}
CLOSED_CALLS = {
    "open": "files are reached through node.disk",
    "input": "only the top talks to a terminal",
    "print": "only the top talks to a terminal",
}
CLOSED_METHODS = {
    "run_in_executor": "a floor has one thread and the tasks of node.spawn",
    "call_soon_threadsafe": "a floor has one thread and the tasks of node.spawn",
    "get_loop": _LOOP,
}
WRITES = {"write_at", "sync", "sync_directory", "set_length", "persist"}
WRITES_OF_A_DISK = {"replace", "remove"}  # lists and strings have methods of these names too


def floor_faults(module: Module) -> list[Fault]:
    """Every rule of this file, for one module on a floor."""
    found = [*_death(module), *_sets(module)]
    if module.path != THE_REAL_NODE:
        found += [
            *_closed_imports(module, tuple(CLOSED_MODULES)),
            *_closed_uses(module),
            *_own_randomness(module),
        ]
    return found


def simulator_faults(module: Module) -> list[Fault]:
    """The simulator has its own loop and catches deaths, but no real clock, randomness or set order."""
    return [*_closed_imports(module, CLOSED_TO_THE_SIMULATOR), *_shared_randomness(module), *_sets(module)]


# ---------------------------------------------------------------- doors


def _closed_imports(module: Module, closed: tuple[str, ...]) -> Iterator[Fault]:
    for imported in module.imports:
        first = imported.name.split(".")[0]
        if first in closed:
            yield module.fault(imported.line, f"imports {first}, but {CLOSED_MODULES[first]}")


def _closed_uses(module: Module) -> Iterator[Fault]:
    for imported in module.imports:
        if imported.name in CLOSED_NAMES:
            yield module.fault(imported.line, f"imports {imported.name}, but {CLOSED_NAMES[imported.name]}")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            name = module.dotted(node)
            if name in CLOSED_NAMES:
                yield module.fault(node.lineno, f"uses {name}, but {CLOSED_NAMES[name]}")
            elif node.attr in CLOSED_METHODS:
                yield module.fault(node.lineno, f"uses .{node.attr}, but {CLOSED_METHODS[node.attr]}")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id not in module.aliases
        ):
            if node.func.id in CLOSED_CALLS:
                yield module.fault(node.lineno, f"calls {node.func.id}(), but {CLOSED_CALLS[node.func.id]}")


def _shared_randomness(module: Module) -> Iterator[Fault]:
    """`random.choice` and its like draw from one stream that no seed of ours decides."""
    for imported in module.imports:
        if imported.module == "random" and imported.name not in ("random", "random.Random"):
            yield module.fault(
                imported.line, f"imports {imported.name}, but randomness comes from node.random"
            )
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Attribute):
            continue
        name = module.dotted(node) or ""
        if name.startswith("random.") and not name.startswith("random.Random"):
            yield module.fault(node.lineno, f"uses {name}, but randomness comes from node.random")


def _own_randomness(module: Module) -> Iterator[Fault]:
    yield from _shared_randomness(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and module.dotted(node.func) == "random.Random":
            yield module.fault(node.lineno, "makes a random.Random, but randomness comes from node.random")


# ---------------------------------------------------------------- death


def _death(module: Module) -> Iterator[Fault]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and _catches_death(node.type):
            caught = "everything" if node.type is None else "BaseException"
            yield module.fault(node.lineno, f"catches {caught}, and a crash with it: catch what you mean")
        elif isinstance(node, ast.Call) and module.dotted(node.func) == "contextlib.suppress":
            if any(_catches_death(argument) for argument in node.args):
                yield module.fault(node.lineno, "suppresses BaseException, and a crash with it")
        elif isinstance(node, ast.Try | ast.TryStar):
            for name, line in _writes(node.finalbody):
                yield module.fault(
                    line, f"calls {name} in a finally block: an unwinding crash would still write"
                )
        elif isinstance(node, ast.AsyncFunctionDef) and any(_yields(part) for part in node.body):
            yield module.fault(
                node.lineno, f"{node.name} is an async generator: when it is closed differs between runs"
            )
        elif isinstance(node, ast.FunctionDef) and node.name == "__del__":
            yield module.fault(node.lineno, "has a __del__, which runs when the garbage collector likes")


def _catches_death(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_catches_death(part) for part in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id == "BaseException")


def _writes(body: list[ast.stmt]) -> Iterator[tuple[str, int]]:
    for node in (part for statement in body for part in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            method, owner = node.func.attr, ast.unparse(node.func.value)
            if method in WRITES or (method in WRITES_OF_A_DISK and owner.lower().endswith("disk")):
                yield f"{owner}.{method}", node.lineno


def _yields(node: ast.AST) -> bool:
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return True
    inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef)
    return not inner and any(_yields(child) for child in ast.iter_child_nodes(node))


# ---------------------------------------------------------------- order

_SET_TYPES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
_ANY_ORDER_WILL_DO = {"sorted", "any", "all", "sum", "min", "max", "len", "set", "frozenset"}
_KEEPS_ORDER = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "next"}


@dataclass
class _Scope:
    """What is known to be a set here: local names, and `self.x` of the class around."""

    names: set[str] = field(default_factory=set)


def _sets(module: Module) -> Iterator[Fault]:
    """Iterating a set: its order follows addresses and hash seeds. Sets of int keep one order and may be."""
    yield from _sets_in(module, module.tree, _Scope(_set_names(module.tree)))


def _sets_in(module: Module, owner: ast.AST, outer: _Scope) -> Iterator[Fault]:
    for node in _own_nodes(owner):
        if isinstance(node, ast.ClassDef):
            yield from _sets_in(module, node, _Scope(outer.names | _set_attributes(node)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _sets_in(module, node, _Scope(outer.names | _set_names(node)))
        else:
            for shown, line in _iterated(node, outer):
                yield module.fault(line, f"iterates the set {shown}, whose order differs between runs")


def _own_nodes(owner: ast.AST) -> Iterator[ast.AST]:
    """Everything inside `owner`, but not inside the functions and classes in it."""
    for child in ast.iter_child_nodes(owner):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _own_nodes(child)


def _iterated(node: ast.AST, scope: _Scope) -> Iterator[tuple[str, int]]:
    candidates: list[ast.expr] = []
    if isinstance(node, ast.For | ast.AsyncFor):
        candidates = [node.iter]
    elif isinstance(node, ast.ListComp | ast.DictComp):
        candidates = [part.iter for part in node.generators]
    elif isinstance(node, ast.Starred) and isinstance(node.ctx, ast.Load):
        candidates = [node.value]
    elif isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr == "pop" and not node.args:
            candidates = [function.value]
        elif isinstance(function, ast.Attribute) and function.attr == "join":
            candidates = node.args
        elif isinstance(function, ast.Name) and function.id in _KEEPS_ORDER:
            candidates = node.args
        if not (isinstance(function, ast.Name) and function.id in _ANY_ORDER_WILL_DO):
            generators = [part for part in node.args if isinstance(part, ast.GeneratorExp)]
            candidates = candidates + [part.iter for generator in generators for part in generator.generators]
    yield from ((ast.unparse(part), part.lineno) for part in candidates if _is_set(part, scope))


def _is_set(node: ast.expr, scope: _Scope) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name() | ast.Attribute():
            return ast.unparse(node) in scope.names
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return any(_is_set(side, scope) or _is_view(side) for side in (left, right))
    return False


def _is_view(node: ast.expr) -> bool:
    """`a.keys() & b.keys()` is a set although neither side is."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
    )


def _set_names(owner: ast.AST) -> set[str]:
    """Local names that are annotated as sets or are given a set."""
    found: set[str] = set()
    if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef):
        every = [*owner.args.posonlyargs, *owner.args.args, *owner.args.kwonlyargs]
        found |= {part.arg for part in every if part.annotation and _set_type(part.annotation)}
    for node in _own_nodes(owner):
        found |= {name for name in _given_a_set(node) if "." not in name}
    return found


def _set_attributes(owner: ast.ClassDef) -> set[str]:
    """`self.x` for every field of the class that is annotated as a set or is given one."""
    found = {f"self.{name}" for node in _own_nodes(owner) for name in _given_a_set(node) if "." not in name}
    for node in ast.walk(owner):
        found |= {name for name in _given_a_set(node) if name.startswith("self.")}
    return found


def _given_a_set(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.AnnAssign) and _set_type(node.annotation):
        yield ast.unparse(node.target)
    elif isinstance(node, ast.Assign) and _is_set(node.value, _Scope()):
        yield from (ast.unparse(target) for target in node.targets)


def _set_type(annotation: ast.expr) -> bool:
    """True for `set`, `set[str]`, `frozenset[...]`; False for a set of int, which keeps one order."""
    if isinstance(annotation, ast.Subscript):
        of_int = isinstance(annotation.slice, ast.Name) and annotation.slice.id == "int"
        return not of_int and _set_type(annotation.value)
    name = annotation.attr if isinstance(annotation, ast.Attribute) else getattr(annotation, "id", "")
    return name in _SET_TYPES
