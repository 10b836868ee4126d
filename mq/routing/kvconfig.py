"""KVConfig: a small table of namespaces, keys and values that a NameServer keeps · depth

What always holds: a change is on disk before it is answered. The table is this NameServer's own: whoever
wants every NameServer to know a value tells every one of them. Routes do not need it. One namespace has a
meaning, ORDER_TOPIC_CONFIG: `broker-a:4;broker-b:4` fixes the queues of a topic, whoever fails.

Real: org.apache.rocketmq.namesrv.kvconfig.KVConfigManager (equivalent; written with a sync, and bounded)
"""

from dataclasses import dataclass

from mq.routing.bodies import as_object, read_object, text_of, write_json
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.runtime.node import Node
from mq.wire.codes import RequestCode, ResponseCode
from mq.wire.rpc import Handler, Request

ORDER_TOPIC_CONFIG = "ORDER_TOPIC_CONFIG"
MAX_KV_CHARACTERS = 4 << 20  # ours, keys included: one namespace must fit into one answer


@dataclass(frozen=True)
class PutHeader:
    """100."""

    namespace: str
    key: str
    value: str


@dataclass(frozen=True)
class KeyHeader:
    """101 and 102."""

    namespace: str
    key: str


@dataclass(frozen=True)
class NamespaceHeader:
    """219."""

    namespace: str


class KVConfig(ConfigManager):
    """Codes 100, 101, 102 and 219, and the table behind them."""

    path = "namesrv/kvConfig.json"

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.table: dict[str, dict[str, str]] = {}
        self.characters = 0

    def processors(self) -> dict[int, Handler]:
        """Who answers what."""
        return {
            RequestCode.PUT_KV_CONFIG: self.answer_put,
            RequestCode.GET_KV_CONFIG: self.answer_get,
            RequestCode.DELETE_KV_CONFIG: self.answer_delete,
            RequestCode.GET_KVLIST_BY_NAMESPACE: self.answer_namespace,
        }

    def get(self, namespace: str, key: str) -> str | None:
        """A value, or None."""
        return self.table.get(namespace, {}).get(key)

    def put(self, namespace: str, key: str, value: str) -> None:
        """Set a value. Raises MQError when the table would become too large."""
        before = self.get(namespace, key)
        more = len(value) - len(before) if before is not None else len(namespace) + len(key) + len(value)
        if self.characters + more > MAX_KV_CHARACTERS:
            raise MQError(
                f"{namespace}/{key} has {more} characters more; all keys and values together have"
                f" {self.characters}, and at most {MAX_KV_CHARACTERS} are kept"
            )
        self.table.setdefault(namespace, {})[key] = value
        self.characters += more

    def delete(self, namespace: str, key: str) -> None:
        """Take a value away. The namespace stays, as in RocketMQ: asked for, it is empty and not unknown."""
        value = self.table.get(namespace, {}).pop(key, None)
        if value is not None:
            self.characters -= len(namespace) + len(key) + len(value)

    def namespace_body(self, namespace: str) -> bytes | None:
        """All of a namespace as RocketMQ's KVTable; None when nobody ever put anything there."""
        values = self.table.get(namespace)
        return write_json({"table": values}) if values is not None else None

    async def answer_put(self, request: Request) -> None:
        """100."""
        header = request.header(PutHeader)
        self.put(header.namespace, header.key, header.value)
        await self.persist()
        request.succeed()

    def answer_get(self, request: Request) -> None:
        """101."""
        header = request.header(KeyHeader)
        value = self.get(header.namespace, header.key)
        if value is None:
            raise _missing(f"Namespace: {header.namespace} Key: {header.key}")
        request.succeed({"value": value})

    async def answer_delete(self, request: Request) -> None:
        """102: what is not there is deleted already."""
        header = request.header(KeyHeader)
        self.delete(header.namespace, header.key)
        await self.persist()
        request.succeed()

    def answer_namespace(self, request: Request) -> None:
        """219."""
        namespace = request.header(NamespaceHeader).namespace
        body = self.namespace_body(namespace)
        if body is None:
            raise _missing(f"Namespace: {namespace}")
        request.succeed(body=body)

    def encode(self) -> str:
        return write_json({"configTable": self.table}).decode()

    def decode(self, text: str) -> None:
        told = as_object(read_object(text, self.path).get("configTable"), "configTable")
        table = {}
        for namespace in told:
            values = as_object(told[namespace], namespace)
            table[namespace] = {key: text_of(values, key) for key in values}
        sizes = [len(n) + len(k) + len(v) for n, values in table.items() for k, v in values.items()]
        self.table, self.characters = table, sum(sizes)


def _missing(what: str) -> MQError:
    return MQError(f"No config item, {what}", ResponseCode.QUERY_NOT_FOUND)
