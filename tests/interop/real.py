"""The real NameServer and broker, on loopback, with a store in a scratch folder.

They are 4.9.7: the newest of this line whose servers can be had as packages. Both look for their logging
in $ROCKETMQ_HOME/conf, so that a file there says: nothing below an error.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.processes import BUILD, Server, running

VERSION = "4.9.7"
NAMESRV, BROKER = "127.0.0.1:9876", "127.0.0.1:10911"
HEAP = ["-Xms64m", "-Xmx256m", "-XX:MaxDirectMemorySize=256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_EXPORTED = ("java.base/sun.nio.ch", "java.base/jdk.internal.ref")
_OPENED = ("java.base/java.nio", *_EXPORTED)
DOORS = [  # it reaches into the JDK to unmap files
    *[word for name in _EXPORTED for word in ("--add-exports", f"{name}=ALL-UNNAMED")],
    *[word for name in _OPENED for word in ("--add-opens", f"{name}=ALL-UNNAMED")],
]
QUIET = "<configuration><root level='OFF'/></configuration>\n"


def _home() -> Path:
    home = BUILD / "home"
    (home / "conf").mkdir(parents=True, exist_ok=True)
    for name in ("namesrv", "broker", "tools"):
        (home / "conf" / f"logback_{name}.xml").write_text(QUIET)
    return home


def _command(main: str, *words: str) -> list[str]:
    jars = f"{BUILD / 'server' / 'lib'}/*"
    return ["java", *HEAP, *DOORS, f"-Duser.home={_home()}", "-cp", jars, main, *words]


@contextmanager
def namesrv() -> Iterator[str]:
    """The real NameServer at its usual port; gives its address."""
    home = _home()
    shutil.rmtree(home / "namesrv", ignore_errors=True)  # the one table that it keeps for ever
    main = "org.apache.rocketmq.namesrv.NamesrvStartup"
    with running("real NameServer", _command(main), "boot success", home, {"ROCKETMQ_HOME": str(home)}):
        yield NAMESRV


@contextmanager
def broker(store: Path, namesrv_address: str = NAMESRV, **settings: str) -> Iterator[Server]:
    """The real broker at its usual port, with segments of 1 MiB; gives its process."""
    home = _home()
    properties = {
        "brokerName": "broker-a", "brokerIP1": "127.0.0.1", "brokerIP2": "127.0.0.1", "listenPort": "10911",
        "namesrvAddr": namesrv_address, "storePathRootDir": str(store),
        "storePathCommitLog": str(store / "commitlog"), "mappedFileSizeCommitLog": "1048576",
        "maxHashSlotNum": "5000000", "flushDiskType": "ASYNC_FLUSH", **settings,
    }  # fmt: skip
    store.mkdir(parents=True, exist_ok=True)
    file = store.parent / f"{store.name}.conf"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
    command = _command("org.apache.rocketmq.broker.BrokerStartup", "-c", str(file))
    env = {"ROCKETMQ_HOME": str(home), "NAMESRV_ADDR": namesrv_address}
    with running("real broker", command, "boot success", home, env) as (server, _):
        yield server
