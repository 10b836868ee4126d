"""Inode: one file's pages, which of them are safe, and what a loss of power leaves of them · core

What always holds:
* Synced content survives. A process's death takes nothing at all.
* Of the unsynced pages (4 KiB) each survives or not by a draw, in any order, in any version it went through
  (the system writes pages back when it likes); one of them may be torn between sectors of 512 bytes.
* When a tear is asked for, nothing is drawn: all has survived but the second half of what the last page was
  about to get.
* An unsynced length may be the old one or any since. So a tail of zeros is possible, and a short file is too.

Real: the page cache of Linux (simplified)
"""

from dataclasses import dataclass
from random import Random

from mq.runtime.disk import PAGE_BYTES

SECTOR_BYTES = 512
ZEROS = bytes(PAGE_BYTES)
MAX_VERSIONS = 4  # older unsynced versions of a page or a length are forgotten


class Inode:
    """A file's content. `pages` and `length`: what a read sees. `safe_*`: what power loss cannot take."""

    def __init__(self, modified_ms: int) -> None:
        self.pages: dict[int, bytes] = {}
        self.length = 0
        self.modified_ms = modified_ms
        self.safe_pages: dict[int, bytes] = {}
        self.safe_length = 0
        self.dirty: dict[int, list[tuple[int, bytes]]] = {}  # page -> (number of the write, content)
        self.lengths: list[tuple[int, int]] = []  # (number of the write, length after it)
        self.given_up: set[int] = set()  # pages of a failed sync: clean to the system, not on the disk
        self._writes = 0

    def read(self, position: int, length: int) -> bytes:
        """Up to `length` bytes from `position`; holes are zeros."""
        end = min(position + length, self.length)
        if end <= position:
            return b""
        first, last = position // PAGE_BYTES, (end - 1) // PAGE_BYTES
        whole = b"".join([self.pages.get(page, ZEROS) for page in range(first, last + 1)])
        start = position - first * PAGE_BYTES
        return whole[start : start + end - position]

    def write(self, position: int, data: bytes, now_ms: int) -> None:
        """Put `data` into the page cache."""
        self._writes += 1
        self.modified_ms = now_ms
        end, done = position + len(data), 0
        while done < len(data):
            page, start = divmod(position + done, PAGE_BYTES)
            piece = data[done : done + PAGE_BYTES - start]
            old = self.pages.get(page, ZEROS)
            self._put(page, old[:start] + piece + old[start + len(piece) :])
            done += len(piece)
        if data and end > self.length:
            self._note_length(end)

    def set_length(self, length: int, now_ms: int) -> None:
        """Cut, or extend by a hole."""
        self._writes += 1
        self.modified_ms = now_ms
        if length < self.length:
            for page in sorted(page for page in self.pages if (page + 1) * PAGE_BYTES > length):
                kept = self.pages[page][: max(0, length - page * PAGE_BYTES)]
                self._put(page, kept.ljust(PAGE_BYTES, b"\0"))
                if page * PAGE_BYTES >= length:
                    del self.pages[page]
        self._note_length(length)

    def _put(self, page: int, content: bytes) -> None:
        self.pages[page] = content
        versions = self.dirty.setdefault(page, [])
        versions.append((self._writes, content))
        del versions[:-MAX_VERSIONS]
        self.given_up.discard(page)

    def _note_length(self, length: int) -> None:
        self.length = length
        self.lengths.append((self._writes, length))
        del self.lengths[:-MAX_VERSIONS]

    def snapshot(self) -> "Snapshot":
        """What a sync that starts now covers."""
        pages = {page: versions[-1][1] for page, versions in self.dirty.items() if page not in self.given_up}
        return Snapshot(self._writes, pages, self.length)

    def make_safe(self, covered: "Snapshot") -> None:
        """The sync has ended: what it covered is safe, later writes are not."""
        for page, content in covered.pages.items():
            self.safe_pages[page] = content
            later = [version for version in self.dirty.get(page, []) if version[0] > covered.writes]
            if later:
                self.dirty[page] = later
            else:
                self.dirty.pop(page, None)
        self.safe_length = covered.length
        self.lengths = [version for version in self.lengths if version[0] > covered.writes]

    def give_up(self) -> None:
        """A sync has failed: Linux calls the pages clean, so that no later sync writes them either."""
        self.given_up.update(self.dirty)

    def lose_power(self, draw: Random) -> tuple[int, int]:
        """Fall back to what the surface holds. Returns the number of unsynced pages, and of the survivors."""
        chance = draw.choice((0.0, 0.3, 0.7, 1.0))
        unsynced, pages, kept = sorted(self.dirty), dict(self.safe_pages), 0
        for page in unsynced:
            if draw.random() < chance:
                pages[page] = draw.choice(self.dirty[page])[1]
                kept += 1
        if unsynced and 0 < chance < 1 and draw.random() < 0.5:
            torn = draw.choice(unsynced)
            pages[torn] = _torn(self.safe_pages.get(torn, ZEROS), self.dirty[torn][-1][1], draw)
        length = self.safe_length
        if self.lengths and draw.random() < chance:
            length = draw.choice(self.lengths)[1]
        self._restore(pages, length)
        return len(unsynced), kept

    def tear(self) -> int:
        """The power goes in the middle of the last unsynced write. Returns how many pages tore: 0 or 1.

        The lower half of the sectors that differ on the last page is new, the other half is as it was.
        """
        unsynced, pages = sorted(self.dirty), dict(self.safe_pages)
        for page in unsynced:
            pages[page] = self.dirty[page][-1][1]
        torn = 0
        if unsynced:
            old = self.safe_pages.get(unsynced[-1], ZEROS)
            new = pages[unsynced[-1]]
            sectors = range(0, PAGE_BYTES, SECTOR_BYTES)
            under_way = [at for at in sectors if old[at : at + SECTOR_BYTES] != new[at : at + SECTOR_BYTES]]
            if len(under_way) > 1:
                edge, torn = under_way[len(under_way) // 2], 1
                pages[unsynced[-1]] = new[:edge] + old[edge:]
        self._restore(pages, self.length)
        return torn

    def _restore(self, pages: dict[int, bytes], length: int) -> None:
        self.pages = {}
        for page, content in pages.items():
            if (inside := length - page * PAGE_BYTES) > 0:
                self.pages[page] = content[:inside].ljust(PAGE_BYTES, b"\0")
        self.length = self.safe_length = length
        self.safe_pages = dict(self.pages)
        self.dirty, self.lengths, self.given_up = {}, [], set()


def _torn(old: bytes, new: bytes, draw: Random) -> bytes:
    sectors = range(0, PAGE_BYTES, SECTOR_BYTES)
    return b"".join([(new if draw.random() < 0.5 else old)[at : at + SECTOR_BYTES] for at in sectors])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The pages and the length that one sync covers; `writes` is the number of the last write in it."""

    writes: int
    pages: dict[int, bytes]
    length: int
