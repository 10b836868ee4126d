"""Platter: what a machine's disk holds, from life to life: names, files, locks, and syncs under way · core

What always holds:
* Syncs are done one after the other, each takes `sync_ms` of virtual time, and each covers what was issued
  before it. A sync goes on when only the process dies.
* Names are kept by a journal, as ext4 and XFS do: unsynced creations, renamings and removals survive as a
  prefix of the order they were made in. Syncing a directory makes safe what happened in it and above it, and
  what those changes stand on; changes elsewhere stay unsafe (ext4 is kinder, POSIX is not).
* Every Disk call has a number, and a plan may say that the machine dies just before or after one of them.

Real: jbd2 of Linux (simplified)
"""

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from mq.runtime.disk import PAGE_BYTES
from mq.runtime.journal import Journal
from mq.sim.inode import Inode
from mq.sim.life import WORLD, Life
from mq.sim.loop import VirtualLoop

DEFAULT_SYNC_MS = 0.3
DEFAULT_TOTAL_BYTES = 64 << 30


class Directory:
    """Names. `entries` is what a listing sees, `safe_entries` what power loss cannot take."""

    def __init__(self, parent: "Directory | None") -> None:
        self.parent = parent
        self.entries: dict[str, Entry] = {}
        self.safe_entries: dict[str, Entry] = {}

    def above(self) -> "list[Directory]":
        """This directory and all above it."""
        return [self, *(self.parent.above() if self.parent else [])]


Entry = Inode | Directory
Change = tuple[Directory, str, Entry | None]


class Names:
    """The tree of names and the changes to it that are not safe yet, in order."""

    def __init__(self) -> None:
        self.root = Directory(None)
        self.pending: list[tuple[Change, ...]] = []  # one operation may change two directories at once

    def change(self, *changes: Change) -> None:
        """Make one operation visible; it becomes safe later."""
        for directory, name, entry in changes:
            _apply(directory.entries, name, entry)
        self.pending.append(changes)

    def make_safe(self, directory: Directory, operations: list[tuple[Change, ...]]) -> None:
        """Make safe those of `operations` that happened in `directory` or above, and what they stand on."""
        touched = directory.above()
        for operation in reversed(operations):
            if any(place in touched for place, _, _ in operation):
                touched += [above for place, _, _ in operation for above in place.above()]
        safe = [operation for operation in operations if any(place in touched for place, _, _ in operation)]
        self._settle([operation for operation in self.pending if any(operation is one for one in safe)])
        self.pending = [operation for operation in self.pending if not any(operation is one for one in safe)]

    def lose_power(self, draw: Random) -> tuple[int, int]:
        """Keep a prefix of the unsafe operations. Returns how many there were and how many survived."""
        kept, unsafe = draw.randrange(len(self.pending) + 1), len(self.pending)
        self._settle(self.pending[:kept])
        self.pending = []
        _fall_back(self.root)
        return unsafe, kept

    def keep_all(self) -> None:
        """Every unsafe operation is safe now."""
        self._settle(self.pending)
        self.pending = []

    def _settle(self, operations: list[tuple[Change, ...]]) -> None:
        for operation in operations:
            for directory, name, entry in operation:
                _apply(directory.safe_entries, name, entry)

    def inodes(self) -> list[Inode]:
        """Every file, in the order of names."""
        return _inodes(self.root)


def _apply(entries: dict[str, Entry], name: str, entry: Entry | None) -> None:
    if entry is None:
        entries.pop(name, None)
    else:
        entries[name] = entry


def _fall_back(directory: Directory) -> None:
    directory.entries = dict(directory.safe_entries)
    for entry in directory.entries.values():
        if isinstance(entry, Directory):
            entry.parent = directory
            _fall_back(entry)


def _inodes(directory: Directory) -> list[Inode]:
    found: list[Inode] = []
    for _, entry in sorted(directory.entries.items()):
        found += _inodes(entry) if isinstance(entry, Directory) else [entry]
    return found


@dataclass
class CrashPlan:
    """Die at Disk call `call`, `when` = 'before' or 'after' it. `what` is filled in when it has happened."""

    call: int
    when: str
    die: Callable[[], None]
    what: str = ""


class Platter:
    """The disk that stays in the machine from life to life."""

    def __init__(self, loop: VirtualLoop, draw: Random, journal: Journal, wall_ms: Callable[[], int]) -> None:
        self.loop = loop
        self.journal = journal
        self.wall_ms = wall_ms
        self.names = Names()
        self.locks: dict[Inode, tuple[Life, object]] = {}
        self.sync_ms = DEFAULT_SYNC_MS
        self.total_bytes = DEFAULT_TOTAL_BYTES
        self.calls = 0
        self.changing_calls: list[int] = []  # numbers of the calls that change what the platter holds
        self.plan: CrashPlan | None = None
        self._draw = draw
        self._free_at_s = 0.0
        self._boot = 0

    def queue_sync(self, commit: Callable[[], None], path: str) -> "asyncio.Future[None]":
        """Do `commit` when all syncs asked for before are done and `sync_ms` more have passed."""
        future = self.loop.create_future()
        self._free_at_s = max(self._free_at_s, self.loop.time()) + self.sync_ms / 1000
        boot = self._boot

        def synced() -> None:
            if boot != self._boot:
                return  # the power went while it was on its way
            commit()
            self.journal.record("synced", path=path or "/")
            if not future.done():
                future.set_result(None)

        self.loop.call_at(self._free_at_s, synced, context=WORLD.context)
        return future

    def lose_power(self, is_torn: bool = False) -> None:
        """Keep what was safe and, of the rest, what the draw leaves; or tear the last page of each file."""
        self._boot += 1
        self._free_at_s = 0.0
        if is_torn:
            self._tear()
            return
        inodes = {id(inode): inode for inode in self.names.inodes()}
        operations, operations_kept = self.names.lose_power(self._draw)
        inodes.update({id(inode): inode for inode in self.names.inodes()})
        lost = [inode.lose_power(self._draw) for inode in inodes.values()]
        self.journal.record(
            "power lost",
            pages_unsynced=sum(each[0] for each in lost),
            pages_kept=sum(each[1] for each in lost),
            names_unsynced=operations,
            names_kept=operations_kept,
        )

    def _tear(self) -> None:
        """All names stay."""
        self.names.keep_all()
        pages = sum(inode.tear() for inode in self.names.inodes())
        self.journal.record("power lost", "in the middle of a write", pages_torn=pages)

    def find(self, path: str) -> Entry | None:
        """What is at `path`, or None."""
        entry: Entry | None = self.names.root
        for part in parts_of(path):
            if not isinstance(entry, Directory):
                return None
            entry = entry.entries.get(part)
        return entry

    def parent(self, path: str, create: bool = False) -> tuple[Directory, str]:
        """The directory that holds `path`, made if asked, and the last part of the name."""
        *above, name = parts_of(path)
        directory = self.names.root
        for part in above:
            entry = directory.entries.get(part)
            if entry is None and create:
                entry = Directory(directory)
                self.names.change((directory, part, entry))
            if entry is None:
                raise os_error(errno.ENOENT, path)
            if not isinstance(entry, Directory):
                raise os_error(errno.ENOTDIR, path)
            directory = entry
        return directory, name

    def used_bytes(self) -> int:
        """Pages that hold something; holes take no space."""
        return PAGE_BYTES * sum(len(inode.pages) for inode in self.names.inodes())


def parts_of(path: str) -> list[str]:
    """The names in a path."""
    return [part for part in path.split("/") if part]


def os_error(code: int, path: str) -> OSError:
    """The error that the real system would raise."""
    return OSError(code, os.strerror(code), path)
