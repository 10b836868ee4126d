"""What the machine itself can do to a file: the limits beside which the other figures stand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.measuring import Case, Sample, Settings, rate
from tests.bench.servers import folder

PIECE_BYTES = 64 << 10  # about what a network read full of sends becomes
SPAN_PIECES = 1 << 10  # then from the start again: a figure of the page cache, not of the disk behind it


@contextmanager
def row(settings: Settings) -> Iterator[Sequence[Case]]:
    """The machine's own limits, one process"""
    with folder(settings.scratch) as made:
        how = "os.pwrite, os.pread, os.fdatasync on one file of the disk that is measured"
        yield [
            Case("pwrite to the page cache", "MB/s", f"{how}; pieces of 64 KiB", _on(made, _write)),
            Case("pread from the page cache", "MB/s", "the same", _on(made, _read)),
            Case(
                "fdatasync of one page", "syncs/s", "one page written before each", _on(made, _sync), pilot=20
            ),
        ]


def _on(made: Path, work: Callable[[int, int], Sample]) -> Callable[[int], Sample]:
    def run(amount: int) -> Sample:
        file = os.open(made / "file", os.O_RDWR | os.O_CREAT)
        try:
            os.posix_fallocate(file, 0, PIECE_BYTES * SPAN_PIECES)
            return work(file, amount)
        finally:
            os.close(file)

    return run


def _write(file: int, amount: int) -> Sample:
    data = bytes(PIECE_BYTES)
    began_s = time.perf_counter()
    for piece in range(amount):
        os.pwrite(file, data, piece % SPAN_PIECES * PIECE_BYTES)
    return _megabytes(amount, time.perf_counter() - began_s)


def _read(file: int, amount: int) -> Sample:
    got = 0
    began_s = time.perf_counter()
    for piece in range(amount):
        got += len(os.pread(file, PIECE_BYTES, piece % SPAN_PIECES * PIECE_BYTES))
    sample = _megabytes(amount, time.perf_counter() - began_s)
    assert got == amount * PIECE_BYTES, "a short read would flatter"
    return sample


def _sync(file: int, amount: int) -> Sample:
    began_s = time.perf_counter()
    for number in range(amount):
        os.pwrite(file, b"x" * 4096, number % 256 * 4096)
        os.fdatasync(file)
    return rate(amount, time.perf_counter() - began_s, "")


def _megabytes(pieces: int, seconds: float) -> Sample:
    return Sample(pieces * PIECE_BYTES / seconds / 1e6, pieces, seconds, "")
