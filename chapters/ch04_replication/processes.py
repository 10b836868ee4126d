"""A NameServer, a master and slaves as real processes on loopback, to be measured and killed.

What always holds: whoever started here is ended here, by its own id, also when something goes wrong. A
process is ready when it has said so; nothing sleeps.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "LGA"
READY = b" ready at "


class Processes:
    """Processes by name. A broker that is started again has its store and its ports again."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], program: Sequence[str] = ("-m", "mq")
    ) -> None:
        self.folder = folder
        self.settings = dict(settings)
        self.program = program
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self.addresses: dict[str, str] = {}
        self.namesrv = ""

    async def start_namesrv(self) -> str:
        """The NameServer; returns its address."""
        listen = self.namesrv or "127.0.0.1:0"
        self.namesrv = await self._start("namesrv", ["namesrv", "--listen", listen])
        return self.namesrv

    async def start(self, name: str, role: str, broker_id: int | None = None, **settings: str) -> str:
        """A broker of the one broker name, in a role; returns its address."""
        if broker_id is None:
            broker_id = 1 if role == "SLAVE" else 0
        told = {"brokerRole": role, "brokerId": str(broker_id), **self.settings, **settings}
        if name not in self.addresses:
            self.addresses[name] = f"127.0.0.1:{two_free_ports()}"
        file = self.folder / f"{name}.conf"
        file.write_text("".join(f"{key} = {value}\n" for key, value in told.items()), "utf-8")
        await self._start(
            name,
            ["broker", "--name", NAME, "--listen", self.addresses[name], "--namesrv", self.namesrv,
             "--store", str(self.store(name)), "--config", str(file)],
        )  # fmt: skip
        return self.addresses[name]

    def ha_address(self, name: str) -> str:
        """Where a broker's slaves connect: one port above its own."""
        host, _, port = self.addresses[name].rpartition(":")
        return f"{host}:{int(port) + 1}"

    def store(self, name: str) -> Path:
        """Where a broker's files are."""
        return self.folder / name

    async def kill(self, name: str) -> None:
        """SIGKILL, by its own id."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def end(self, name: str) -> int:
        """SIGTERM, and wait; its exit status."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return await process.wait()

    async def stop(self) -> None:
        """End everybody."""
        for name in list(self.running):
            await self.kill(name)

    async def _start(self, name: str, command: Sequence[str]) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, *self.program, *command,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        self.running[name] = process
        assert process.stdout is not None
        line = await process.stdout.readline()
        assert READY in line, f"{name} said {line!r} in place of being ready"
        return line.split(READY)[1].split()[0].rstrip(b",").decode()


def two_free_ports() -> int:
    """A port that is free, and so is the one above it."""
    while True:
        with socket.socket() as one, socket.socket() as next_to_it:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                next_to_it.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port
