"""What the rows run: children with one job each, and servers that are stopped by their own handles.

What always holds: a server listens on loopback, or, the real ones, in a network that has loopback alone; each
store is a fresh folder on the disk that is measured, and is removed. Both brokers have their default
settings, segments of 1 GiB among them.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.inside import Job as InsideJob
from tests.bench.lab import Job as LabJob
from tests.bench.load import Job as LoadJob
from tests.bench.measuring import BenchFailed
from tests.bench.own import Job as OwnJob
from tests.interop import real
from tests.interop.processes import BUILD, ROOT, ProgramFailed, Server, running

JOB_S = 300
# As its own start script has them, with a heap for this machine. The interop suite's are for a quick start.
REAL_JVM = ["-server", "-Xms2g", "-Xmx2g", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=2g"]
JOIN_S = 30
MODULES = {
    LoadJob: "tests.bench.load", OwnJob: "tests.bench.own", InsideJob: "tests.bench.inside",
    LabJob: "tests.bench.lab",
}  # fmt: skip
_numbers = itertools.count()


def child(job: LoadJob | OwnJob | InsideJob | LabJob) -> dict[str, Any]:
    """Run a job in a process of its own; returns what it told. Raises BenchFailed."""
    command = [sys.executable, "-m", MODULES[type(job)], json.dumps(asdict(job))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=JOB_S, check=False)
    if done.returncode:
        raise BenchFailed((done.stderr.strip().splitlines() or ["a child ended without a word"])[-1])
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@contextmanager
def folder(scratch: Path) -> Iterator[Path]:
    """A fresh folder, removed at the end."""
    made = Path(tempfile.mkdtemp(prefix=f"store-{next(_numbers)}-", dir=scratch))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def echo() -> Iterator[str]:
    """The echo; gives its address."""
    with _running("echo", ["tests.bench.echo"], r"^echo ready at (\S+)$") as address:
        yield address


@contextmanager
def our_namesrv() -> Iterator[str]:
    """Our NameServer at a free port; gives its address."""
    words = ["mq", "namesrv", "--listen", "127.0.0.1:0"]
    with _running("our NameServer", words, r"^namesrv ready at (\S+)$") as address:
        yield address


@contextmanager
def our_broker(scratch: Path, namesrv: str, *settings: str) -> Iterator[str]:
    """Our broker at a free port, its store in a fresh folder; gives its address."""
    with folder(scratch) as store:
        words = ["mq", "broker", "--listen", "127.0.0.1:0", "--store", str(store), "--namesrv", namesrv]
        words += [word for setting in settings for word in ("--set", setting)]
        with _running("our broker", words, r" ready at ([^\s,]+)") as address:
            yield address


@contextmanager
def our_pair(scratch: Path, namesrv: str, role: str) -> Iterator[tuple[str, str]]:
    """A master in a role, and its slave, which has joined and has everything; gives both addresses."""
    name = f"brokerName={role}"
    with ExitStack() as stack:
        master = stack.enter_context(our_broker(scratch, namesrv, name, f"brokerRole={role}"))
        slave = stack.enter_context(our_broker(scratch, namesrv, name, "brokerRole=SLAVE", "brokerId=1"))
        deadline_s = time.monotonic() + JOIN_S
        while True:
            try:
                child(LoadJob(master, 64, slave=slave))
                break
            except BenchFailed as failure:  # a SYNC_MASTER refuses to promise before its slave has joined
                if "code 11" not in str(failure) or time.monotonic() > deadline_s:
                    raise
        yield master, slave


@contextmanager
def _running(name: str, words: list[str], ready: str) -> Iterator[str]:
    with _quiet(name, [sys.executable, "-m", *words], ready) as (server, address):
        yield address
    said = [line for line in server.lines if "handler failed" in line or "Traceback" in line]
    if said:
        raise ProgramFailed(f"{name} complained:\n" + "\n".join(said))


@contextmanager
def _quiet(
    name: str, command: list[str], ready: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Server, str]]:
    """A server, stopped at the end, and its output closed."""
    with running(name, command, ready, cwd, env) as (server, address):
        try:
            yield server, address
        finally:
            server.stop()
            assert server.process.stdout is not None
            server.process.stdout.close()


@contextmanager
def real_broker(scratch: Path) -> Iterator[str]:
    """The real NameServer and broker, with the JVM's better compiler and a store in a fresh folder."""
    home = BUILD / "home"
    with folder(scratch) as store, real.namesrv() as namesrv:
        properties = {
            "brokerIP1": "127.0.0.1", "listenPort": real.BROKER.rpartition(":")[2], "namesrvAddr": namesrv,
            "storePathRootDir": str(store), "storePathCommitLog": str(store / "commitlog"),
        }  # fmt: skip
        file = store.parent / f"{store.name}.conf"
        file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        jars = f"{BUILD / 'server' / 'lib'}/*"
        main = ["-cp", jars, "org.apache.rocketmq.broker.BrokerStartup", "-c", str(file)]
        command = ["java", *REAL_JVM, *real.DOORS, f"-Duser.home={home}", *main]
        with _quiet("real broker", command, "boot success", home, {"ROCKETMQ_HOME": str(home)}):
            yield real.BROKER
