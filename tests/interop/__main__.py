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
from tests.interop.install import CannotInstall, install
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
        return go_inside(wanted)
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


def go_inside(wanted: list[str]) -> int:
    """Get everything, then begin again in a namespace that has loopback alone."""
    started = time.monotonic()
    try:
        install()
    except CannotInstall as error:
        print(f"interop: {error}")
        return 1
    print(f"interop: clients are there after {time.monotonic() - started:.0f} s", flush=True)
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        print("interop: unshare (util-linux) and ip (iproute2) are needed, for a network of loopback alone")
        return 1
    inner = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--net", "sh", "-c", inner, "sh", sys.executable, "-m", "tests.interop", *wanted]
    if os.geteuid() != 0:
        command.insert(1, "--map-root-user")
    sys.stdout.flush()
    os.execvpe(command[0], command, {**os.environ, INSIDE: "1"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
