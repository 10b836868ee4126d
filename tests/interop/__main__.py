"""`make interop`: get the clients, put up servers, run every check, print the table; status 1 when one fails.

    python -m tests.interop [PART …]      parts (default: all)
    python -m tests.interop --record      what the real broker answers, into expected.json

Everything after the installation runs in a network namespace of its own, where nothing but loopback exists:
the real servers listen on every address that there is.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.interop import admin, ali_ons, cpp, expected, java, oracle, replication
from tests.interop.loopback import go_inside
from tests.interop.processes import BUILD
from tests.interop.report import Report

PARTS: dict[str, Callable[[Report, Path], None]] = {
    "cpp": cpp.run,
    "ali-ons": ali_ons.run,
    "java": java.run,
    "oracle": oracle.run,
    "admin": admin.run,
    "replication": replication.run,
}
INSIDE = "MQ_INTEROP_INSIDE"


def main(wanted: list[str]) -> int:
    """Install outside, then go inside and run the parts."""
    if "--record" in wanted:
        os.environ[expected.RECORDING] = "1"
        wanted = ["oracle"]
    unknown = set(wanted) - set(PARTS)
    if unknown:
        print(f"interop: no such part: {', '.join(sorted(unknown))}; there are: {', '.join(PARTS)}")
        return 2
    if os.environ.get(INSIDE) is None:
        return go_inside("tests.interop", wanted, INSIDE)
    started, report = time.monotonic(), Report()
    scratch = Path(tempfile.mkdtemp(prefix="stores-", dir=BUILD))
    try:
        for name in wanted or PARTS:
            PARTS[name](report, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"\n{report.table()}\n")
    bad = len(report.failed)
    print(f"interop: {len(report.rows)} checks, {bad} failed, {time.monotonic() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
