"""A network of loopback alone: real servers listen on every address that there is, and shall reach nobody."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence

from tests.interop.install import CannotInstall, install


def go_inside(module: str, arguments: Sequence[str], mark: str) -> int:
    """Get everything from outside, then begin `module` again inside, with `mark` in its environment.

    Returns, with an exit status, only when that cannot be done.
    """
    name, started = module.rpartition(".")[2], time.monotonic()
    try:
        install()
    except CannotInstall as error:
        print(f"{name}: {error}")
        return 1
    print(f"{name}: clients and servers are there after {time.monotonic() - started:.0f} s")
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        print(f"{name}: unshare (util-linux) and ip (iproute2) are needed, for a network of loopback alone")
        return 1
    inner = 'ip link set lo up && exec "$@"'
    command = ["unshare", "--net", "sh", "-c", inner, "sh", sys.executable, "-m", module, *arguments]
    if os.geteuid() != 0:
        command.insert(1, "--map-root-user")
    sys.stdout.flush()
    os.execvpe(command[0], command, {**os.environ, mark: "1"})
