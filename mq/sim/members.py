"""Members of a cluster: what runs on a machine, and how it begins again in a new life · depth

What always holds: a member is opened once in each life of its machine, from its settings alone; what it had
in memory is gone. Its programs, which are given to a client, begin again as well.
"""

from collections.abc import Awaitable, Callable, Mapping

from mq.routing.broker import Broker
from mq.routing.client import ClientInstance
from mq.routing.namesrv import NameServer
from mq.sim.node import SimNode
from mq.system import LATEST, build_broker, build_namesrv

NAMESRV_PORT, BROKER_PORT = 9876, 10911
Alter = Callable[[Broker | NameServer], None]
Program = Callable[[ClientInstance], Awaitable[None]]


class Member:
    """Something that runs on the machine of its name."""

    kind = "member"

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address  # of the machine, without a port
        self.alter: list[Alter] = []  # called with what was built, before it starts: a test spoils it here
        self.is_open = False  # in the present life
        self.refusal = ""  # why the last life did not begin

    async def open(self, node: SimNode) -> None:
        """Begin in this life. Raises MQError."""
        raise NotImplementedError

    def closed(self) -> None:
        """The life is over."""
        self.is_open = False


class NameServerMember(Member):
    """A NameServer. `current` is that of the present life."""

    kind = "nameserver"

    def __init__(self, name: str, address: str, properties: Mapping[str, str]) -> None:
        super().__init__(name, address)
        self.properties = {"listenPort": str(NAMESRV_PORT), **properties}
        self.current: NameServer | None = None

    @property
    def port_address(self) -> str:
        """`host:port`."""
        return f"{self.address}:{self.properties['listenPort']}"

    async def open(self, node: SimNode) -> None:
        built = build_namesrv(node, self.properties)
        for alter in self.alter:
            alter(built)
        await built.start()
        self.current = built


class BrokerMember(Member):
    """A broker of some chapter: master or slave is a matter of its properties."""

    kind = "broker"

    def __init__(self, name: str, address: str, properties: Mapping[str, str], chapter: int = LATEST) -> None:
        super().__init__(name, address)
        self.properties = {"listenPort": str(BROKER_PORT), "brokerName": name, **properties}
        self.chapter = chapter
        self.current: Broker | None = None

    @property
    def group(self) -> str:
        """The broker name that master and slaves share."""
        return self.properties["brokerName"]

    @property
    def is_slave(self) -> bool:
        """Whether it copies another's log."""
        return self.properties.get("brokerRole") == "SLAVE"

    async def open(self, node: SimNode) -> None:
        built = build_broker(node, self.properties, self.chapter)
        for alter in self.alter:
            alter(built)
        await built.start()
        self.current = built


class ClientMember(Member):
    """A client process and its programs: producers, readers, whatever a test writes."""

    kind = "client"

    def __init__(self, name: str, address: str, namesrv_addr: str) -> None:
        super().__init__(name, address)
        self.namesrv_addr = namesrv_addr
        self.programs: dict[str, Program] = {}
        self.current: ClientInstance | None = None

    async def open(self, node: SimNode) -> None:
        instance = ClientInstance(node, self.namesrv_addr)
        await instance.start()
        self.current = instance
        for name, program in self.programs.items():
            self.run(node, name, program)

    def run(self, node: SimNode, name: str, program: Program) -> None:
        """Run it beside the others of this client, in this life."""
        assert self.current is not None
        node.spawn(_as_coroutine(program(self.current)), name)


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work
