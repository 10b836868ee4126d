"""Programs that are started here, and stopped by their own handles: ours, the real ones, and the clients.

A server is ready when it has said so. Whatever happens, leaving the `with` block ends it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "interop"
READY_S = 60
STOP_S = 20
CLIENT_S = 120


class ProgramFailed(Exception):
    """A program did not do what it was started for; the message holds what it printed."""


class Server:
    """One running program and all lines that it printed."""

    def __init__(self, name: str, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            list(command), cwd=cwd, env={**os.environ, **env}, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, pattern: str) -> str:
        """The first group of the first line that matches. Raises ProgramFailed after a minute."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found[1] if found.groups() else found[0]
            if self.process.poll() is not None and not self._reader.is_alive():
                break
            time.sleep(0.05)
        raise ProgramFailed(f"{self.name} never said {pattern!r}:\n" + "\n".join(self.lines[-30:]))

    def stop(self) -> int:
        """Ask it to end, wait, and end it when it does not; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        return self.process.returncode


@contextmanager
def running(
    name: str, command: Sequence[str], ready: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Server, str]]:
    """A program that has said that it is ready, and what its ready line says in its first group."""
    server = Server(name, command, cwd, env or {})
    try:
        yield server, server.wait_for(ready)
    finally:
        server.stop()


@contextmanager
def our_servers(store: Path) -> Iterator[str]:
    """Our NameServer and our broker; gives the NameServer's address."""
    python = [sys.executable, "-m", "mq"]
    namesrv = [*python, "namesrv", "--listen", "127.0.0.1:0", "--store", f"{store}-namesrv"]
    server = running("our NameServer", namesrv, r"^namesrv ready at (\S+)$")
    with server as (_, address), our_broker(store, address):
        yield address


@contextmanager
def our_broker(store: Path, namesrv: str, *options: str, port: int = 0) -> Iterator[str]:
    """Our broker; gives its address."""
    command = [
        sys.executable, "-m", "mq", "broker", "--namesrv", namesrv, "--store", str(store),
        "--listen", f"127.0.0.1:{port}", "--set", "mappedFileSizeCommitLog=1048576", *options,
    ]  # fmt: skip
    with running("our broker", command, r" ready at ([^\s,]+)") as (server, address):
        yield address
    said = [line for line in server.lines if "handler failed" in line or "Traceback" in line]
    if said:
        raise ProgramFailed("our broker complained:\n" + "\n".join(said))


def talk(command: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a client. Its answer is the JSON object in its last line. Raises ProgramFailed."""
    done = subprocess.run(
        list(command), cwd=cwd, env={**os.environ, **(env or {})}, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=CLIENT_S,
        check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        shown = "\n".join(done.stdout.splitlines()[-40:])
        raise ProgramFailed(f"{command[0]} ended with {done.returncode}:\n{shown}")
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
