"""The top: the floors in order, and the one place that puts them together.

What always holds: chapter N is exactly the floors up to N. A floor above it is not imported, and its
requests are answered with "request code not supported". A setting that no floor knows is refused.

Real: org.apache.rocketmq.broker.BrokerStartup (simplified)
"""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from types import ModuleType

from mq.routing.broker import Broker
from mq.routing.config import NamesrvConfig
from mq.routing.namesrv import NameServer
from mq.runtime.errors import SettingsError
from mq.runtime.node import Node
from mq.runtime.settings import check_keys, fill, keys_of
from mq.wire.server import RpcServer

FLOORS: list[tuple[int, str]] = [
    (0, "wire"),
    (1, "routing"),
    (2, "commitlog"),
    (2, "clients"),
    (3, "consumequeue"),
    (4, "replication"),
]
"""Chapter and package. From chapter 1 on, a floor's `broker.py` has `plug(broker)` and may have SETTINGS."""

LATEST = FLOORS[-1][0]
WIRE_PORT = 10911


class BareServer:
    """Chapter 0: a port that understands frames, and answers 3 to every request."""

    def __init__(self, node: Node, listen_port: int = WIRE_PORT) -> None:
        self.node = node
        self.listen_port = listen_port
        self.server = RpcServer(node)

    @property
    def address(self) -> str:
        """Where it listens: `host:port`."""
        return f"{self.node.address}:{self.server.port or self.listen_port}"

    async def start(self) -> None:
        """Listen."""
        await self.server.start(self.listen_port)

    async def stop(self) -> None:
        """Answer what has come, then close every connection."""
        await self.server.drain()


def build_broker(node: Node, properties: Mapping[str, str] | None = None, chapter: int = LATEST) -> Broker:
    """A broker with the floors up to `chapter`, not started. Raises SettingsError."""
    properties = properties or {}
    if not 1 <= chapter <= LATEST:
        raise SettingsError(f"chapter {chapter} has no broker; 1 to {LATEST} have (0 is BareServer)")
    floors = [_floor(name) for number, name in FLOORS if 1 <= number <= chapter]
    _check(properties, floors)
    broker = Broker(node, properties)
    for floor in floors:
        floor.plug(broker)
    return broker


def build_namesrv(node: Node, properties: Mapping[str, str] | None = None) -> NameServer:
    """A NameServer, not started. Raises SettingsError."""
    properties = properties or {}
    check_keys(properties, [NamesrvConfig])
    return NameServer(node, fill(NamesrvConfig, properties))


def _floor(name: str) -> ModuleType:
    return importlib.import_module(f"mq.{name}.broker")


def _check(properties: Mapping[str, str], floors: list[ModuleType]) -> None:
    """One file serves every chapter: a key of a later floor is known, though that floor is not plugged."""
    known = {key for kind in _settings(floors) for key in keys_of(kind)}
    if not set(properties) <= known:
        check_keys(properties, _settings(_floor(name) for number, name in FLOORS if number))


def _settings(floors: Iterable[ModuleType]) -> list[type]:
    return [kind for floor in floors for kind in getattr(floor, "SETTINGS", ())]
