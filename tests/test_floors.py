"""The floors: mq/ keeps the order of its packages and its doors closed, and each rule catches its fault."""

from pathlib import Path

import pytest

from tests.architecture import MOST_CORE_LINES, core_lines, faults, table
from tests.sourcetree import load

# A small tree that keeps every rule and comes close to breaking each. The planted faults are laid over it.
GOOD = {
    "mq/__init__.py": '"""A message queue."""\n',
    "mq/runtime/__init__.py": '"""Chapter 00 · Runtime: the door."""\n',
    "mq/runtime/node.py": '"""The door · core"""\nimport random\n\nclass Node:\n    r: random.Random\n',
    "mq/runtime/real.py": '"""The real door · depth"""\nimport os\nimport time\n\nNOW = time.time()\n',
    "mq/wire/__init__.py": '"""Chapter 00 · Wire: frames."""\n',
    "mq/wire/frame.py": '"""Frames · core\n\nMore.\n"""\nimport struct\n\n'
    "from mq.runtime.node import Node\nif TYPE_CHECKING:\n    from mq.wire.rpc import Server\n",
    "mq/wire/rpc.py": '''"""Requests · depth"""
import asyncio

from mq.wire import frame


class Server:
    """Serves."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.ids: set[int] = set()
        self.names: set[str] = set()

    async def serve(self, disk) -> None:
        try:
            await asyncio.gather(*[self.one(i) for i in self.ids])
            handle = disk.open("a")
        except (OSError, Exception):
            raise
        finally:
            self.waiting.remove(1)
        for name in sorted(self.names | {"a"}):
            assert name in self.names and any(n == name for n in self.names)

    def text(self, name: str) -> str:
        def lines():
            yield name.replace("a", "b")

        return "".join(lines())
''',
    "mq/routing/__init__.py": '"""Chapter 01 · Routing."""\n',
    "mq/routing/namesrv.py": '"""The NameServer · core"""\nfrom mq.wire.frame import struct\n',
    "mq/sim/__init__.py": '"""The simulator."""\n',
    "mq/sim/loop.py": '"""Time."""\nimport random\nfrom mq.system import build\nR = random.Random(1)\n',
    "mq/system.py": '''"""The top."""
from mq.routing.namesrv import struct


def build():
    from mq.delay import levels
''',
}
CORE = '"""Codec · core"""\n' + "# a comment\n\nx = 1\n" * (MOST_CORE_LINES + 1)


def plant(root: Path, files: dict[str, str]) -> list[str]:
    """Lay `files` over the good tree and return what the rules say."""
    for path, source in {**GOOD, **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(source, "utf-8")
    return [str(fault) for fault in faults(root)]


def in_wire(body: str) -> dict[str, str]:
    """One more module on the floor `wire`; the body starts on line 2."""
    return {"mq/wire/x.py": f'"""One more · depth"""\n{body}'}


def test_mq_keeps_every_rule() -> None:
    broken = faults()
    assert not broken, "\n" + "\n".join(map(str, broken))


def test_a_tree_that_keeps_every_rule_is_not_blamed(tmp_path: Path) -> None:
    assert plant(tmp_path, {}) == []


KNOWING = {
    "a later chapter": (
        in_wire("from mq.routing.namesrv import NameServer\n"),
        "mq/wire/x.py:2 imports mq.routing.namesrv, but wire (chapter 0) may not know routing (chapter 1)",
    ),
    "a later chapter, named from its package": (
        in_wire("def f():\n    from mq.routing import namesrv\n"),
        "mq/wire/x.py:3 imports mq.routing.namesrv, but wire (chapter 0) may not know routing (chapter 1)",
    ),
    "a later chapter that is not there yet": (
        in_wire("import mq.isr.partition\n"),
        "mq/wire/x.py:2 imports mq.isr.partition, but wire (chapter 0) may not know isr (chapter 10)",
    ),
    "a later chapter, for types alone": (
        in_wire("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..routing import namesrv\n"),
        "mq/wire/x.py:4 imports mq.routing.namesrv, but wire (chapter 0) may not know routing (chapter 1)",
    ),
    "a later package of the same chapter": (
        {"mq/runtime/x.py": '"""X · depth"""\nfrom mq.wire import frame\n'},
        "mq/runtime/x.py:2 imports mq.wire.frame, "
        "but runtime may not know wire, which comes after it in chapter 0",
    ),
    "the simulator": (
        in_wire("from mq.sim import loop\n"),
        "mq/wire/x.py:2 imports mq.sim.loop, but no floor may know the simulator",
    ),
    "the top": (
        in_wire("from mq.system import build\n"),
        "mq/wire/x.py:2 imports mq.system, but a floor may not know the top",
    ),
    "a chapter": (
        in_wire("from chapters import story\n"),
        "mq/wire/x.py:2 imports chapters, but nothing in mq may know chapters, exercises or tests",
    ),
    "another project": (
        {"mq/sim/x.py": '"""X."""\nimport rich.console\n'},
        "mq/sim/x.py:2 imports rich.console, but mq uses the standard library alone",
    ),
    "anything, in an __init__": (
        {"mq/wire/__init__.py": '"""Chapter 00 · Wire."""\nfrom mq.wire.frame import struct\n'},
        "mq/wire/__init__.py:2 imports mq.wire.frame, but an __init__.py imports nothing: "
        "a floor is reached through its modules",
    ),
    "a floor before it is plugged": (
        {"mq/system.py": '"""The top."""\nfrom mq.delay.levels import LEVELS\n'},
        "mq/system.py:2 imports mq.delay.levels, but system.py imports a floor only when it plugs it, "
        "inside the function that does",
    ),
    "itself, by way of another": (
        {
            "mq/wire/a.py": '"""A · depth"""\nimport mq.wire.b\n',
            "mq/wire/b.py": '"""B · depth"""\nfrom . import a\n',
        },
        "mq/wire/a.py:2 imports mq.wire.b, which leads back here: mq.wire.a -> mq.wire.b -> mq.wire.a",
    ),
}
NAMING = {
    "a package that is no floor": (
        {"mq/extra/x.py": '"""X · core"""\n'},
        "mq/extra/x.py:1 belongs to no floor: mq/extra is not in the list of tests/architecture.py",
    ),
    "a module beside the top": (
        {"mq/common.py": '"""X."""\n'},
        "mq/common.py:1 belongs to no floor: mq.common is not in the list of tests/architecture.py",
    ),
    "a module called utils": (
        {"mq/wire/utils.py": '"""X · core"""\n'},
        "mq/wire/utils.py:1 is called utils: name it after the idea that it holds",
    ),
    "no docstring": (
        {"mq/wire/x.py": "import struct\n"},
        "mq/wire/x.py:1 has no docstring: the first line says what this module is",
    ),
    "neither core nor depth": (
        {"mq/wire/x.py": '"""Bytes.\n\nEnds late · core\n"""\n'},
        "mq/wire/x.py:1 opens with 'Bytes.': the first line ends in '· core' or '· depth'",
    ),
    "the wrong chapter": (
        {"mq/routing/__init__.py": '"""Chapter 02 · Routing."""\n'},
        "mq/routing/__init__.py:1 opens with 'Chapter 02 · Routing.': "
        "a floor opens with 'Chapter 01 · Topic'",
    ),
    "too large a core": (
        {"mq/wire/big.py": CORE},
        "mq/wire/big.py:1 is the largest core module of chapter 0, whose core has 445 lines of code: "
        "a page can teach 440, so mark some of it depth",
    ),
}
DOORS = {
    "a clock": ("import time\n", "2 imports time, but time comes from node.monotonic() and node.wall_ms()"),
    "a part of os": ("import os.path\n", "2 imports os, but files are reached through node.disk"),
    "a socket": (
        "from socket import socket\n",
        "2 imports socket, but the network is reached through node.listen and node.connect",
    ),
    "a thread": (
        "import threading\n",
        "2 imports threading, but a floor has one thread and the tasks of node.spawn",
    ),
    "a file": ('f = open("a")\n', "2 calls open(), but files are reached through node.disk"),
    "a printed line": ('print("a")\n', "2 calls print(), but only the top talks to a terminal"),
    "today": (
        "from datetime import datetime as d\nd.now()\n",
        "3 uses datetime.datetime.now, but time comes from node.wall_ms()",
    ),
    "shared randomness": (
        "import random as r\nr.choice([1])\n",
        "3 uses random.choice, but randomness comes from node.random",
    ),
    "imported randomness": (
        "from random import choice\n",
        "2 imports random.choice, but randomness comes from node.random",
    ),
    "randomness of its own": (
        "from random import Random\nr = Random()\n",
        "3 makes a random.Random, but randomness comes from node.random",
    ),
    "a task": (
        "import asyncio\nasyncio.create_task(f())\n",
        "3 uses asyncio.create_task, but tasks come from node.spawn",
    ),
    "a nap": ("from asyncio import sleep\n", "2 imports asyncio.sleep, but time passes in node.sleep_ms"),
    "the running loop": (
        "import asyncio\nloop = asyncio.get_running_loop()\n",
        "3 uses asyncio.get_running_loop, but the running loop is no door: ask the node",
    ),
    "a task group": (
        "import asyncio\nTG = asyncio.TaskGroup\n",
        "3 uses asyncio.TaskGroup, but it answers in an order that differs between runs",
    ),
    "an executor": (
        "def f(loop):\n    loop.run_in_executor(None, f)\n",
        "3 uses .run_in_executor, but a floor has one thread and the tasks of node.spawn",
    ),
}
DEATH = {
    "a bare except": (
        "try:\n    f()\nexcept:  # planted\n    pass\n",
        "4 catches everything, and a crash with it: catch what you mean",
    ),
    "BaseException among others": (
        "try:\n    f()\nexcept (OSError, BaseException):\n    pass\n",
        "4 catches BaseException, and a crash with it: catch what you mean",
    ),
    "suppressing everything": (
        "import contextlib\nwith contextlib.suppress(BaseException):\n    f()\n",
        "3 suppresses BaseException, and a crash with it",
    ),
    "a write while unwinding": (
        "try:\n    f()\nfinally:\n    if x:\n        file.write_at(0, b'')\n",
        "6 calls file.write_at in a finally block: an unwinding crash would still write",
    ),
    "a removal while unwinding": (
        "try:\n    f()\nfinally:\n    self.disk.remove('a')\n",
        "5 calls self.disk.remove in a finally block: an unwinding crash would still write",
    ),
    "an async generator": (
        "async def f():\n    for x in [1]:\n        yield x\n",
        "2 f is an async generator: when it is closed differs between runs",
    ),
    "a finaliser": (
        "class A:\n    def __del__(self):\n        pass\n",
        "3 has a __del__, which runs when the garbage collector likes",
    ),
}
ORDER = {
    "a set written out": (
        "for x in {a, b}:\n    f(x)\n",
        "2 iterates the set {a, b}, whose order differs between runs",
    ),
    "a variable": (
        "def f():\n    live = set()\n    return [x for x in live]\n",
        "4 iterates the set live, whose order differs between runs",
    ),
    "a parameter": (
        "def f(live: set[str]):\n    return list(live)\n",
        "3 iterates the set live, whose order differs between runs",
    ),
    "a field": (
        "class A:\n    live: set[str]\n    def f(self):\n        g(x for x in self.live)\n",
        "5 iterates the set self.live, whose order differs between runs",
    ),
    "an attribute, popped": (
        "class A:\n    def f(self):\n        self.live = set()\n        self.live.pop()\n",
        "5 iterates the set self.live, whose order differs between runs",
    ),
    "a difference of keys": (
        "for x in old.keys() - new.keys():\n    f(x)\n",
        "2 iterates the set old.keys() - new.keys(), whose order differs between runs",
    ),
    "arguments": ("f(*set(a))\n", "2 iterates the set set(a), whose order differs between runs"),
}


TREES = {**KNOWING, **NAMING}


@pytest.mark.parametrize(("files", "sentence"), list(TREES.values()), ids=list(TREES))
def test_a_module_that_knows_or_names_too_much_is_blamed(
    tmp_path: Path, files: dict[str, str], sentence: str
) -> None:
    assert plant(tmp_path, files) == [sentence]


BODIES = {**DOORS, **DEATH, **ORDER}


@pytest.mark.parametrize(("body", "sentence"), list(BODIES.values()), ids=list(BODIES))
def test_a_floor_that_goes_past_the_node_is_blamed(tmp_path: Path, body: str, sentence: str) -> None:
    assert plant(tmp_path, in_wire(body)) == [f"mq/wire/x.py:{sentence}"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("import time\n", "2 imports time, but time comes from node.monotonic() and node.wall_ms()"),
        ("import random\nrandom.random()\n", "3 uses random.random, but randomness comes from node.random"),
        ("for x in {a, b}:\n    f(x)\n", "2 iterates the set {a, b}, whose order differs between runs"),
    ],
)
def test_nothing_real_gets_into_the_simulator(tmp_path: Path, body: str, sentence: str) -> None:
    assert plant(tmp_path, {"mq/sim/x.py": f'"""X."""\n{body}'}) == [f"mq/sim/x.py:{sentence}"]


def test_only_the_lines_with_code_on_them_count_as_core(tmp_path: Path) -> None:
    source = '"""Codec · core\n\nMore.\n"""\n\n# why\nx = """\na\n"""\n\n\n'
    source += 'def f():\n    """Doc."""\n    return (\n        1\n    )\n'
    plant(tmp_path, {"mq/commitlog/codec.py": source, "mq/commitlog/odd.py": '"""Odd · depth"""\nx = 1\n'})
    assert core_lines(load(tmp_path))[2] == {"mq/commitlog/codec.py": 7}
    assert "02 commitlog, clients                  7      1" in table(load(tmp_path))
