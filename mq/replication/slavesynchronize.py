"""SlaveSynchronize: the tables that are not in the log, copied each 10 s · depth

What always holds: every config table with a `sync_code` is shown under that code, and a slave takes its
master's table whole, in place of its own. So a slave's tables are up to 10 s old, and what a consumer told a
slave is forgotten when the master's table comes. When the NameServer knows no master, nothing is asked.

Real: org.apache.rocketmq.broker.slave.SlaveSynchronize (simplified: one rule for every table)
"""

from collections.abc import Callable

from mq.routing.bodies import read_object, write_json
from mq.routing.broker import Broker
from mq.routing.periodic import Periodic
from mq.runtime.config import ConfigManager
from mq.runtime.errors import MQError
from mq.wire.command import RemotingCommand
from mq.wire.rpc import Request, expect_success

FIRST_SYNC_MS, SYNC_PERIOD_MS = 3_000, 10_000
SYNC_TIMEOUT_MS = 3_000


class SlaveSynchronize:
    """Of one broker; at rest while it is a master."""

    name = "slave tables"

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.master_address = ""  # of its RPC port; empty: none is known
        self._periodic = Periodic(broker.node, "copy tables", FIRST_SYNC_MS, SYNC_PERIOD_MS, self.sync_all)

    async def start(self) -> None:
        """Show our tables, those of later floors too, and begin to copy."""
        for config in self.broker.configs:
            code = config.sync_code
            if code is not None and code not in self.broker.server.processors:
                self.broker.server.processors[code] = shown(config)
        self._periodic.start()

    async def stop(self) -> None:
        """No more copies."""
        self._periodic.stop()

    def learn(self, fields: dict[str, str]) -> None:
        """What a NameServer answered to our registration: a master that has gone is asked no more."""
        self.master_address = fields.get("masterAddr", "")

    async def sync_all(self) -> None:
        """Copy every table. One that cannot be had stays as it is."""
        if self.broker.is_master or self.master_address in ("", self.broker.address):
            return
        for config in self.broker.configs:
            if config.sync_code is not None:
                await self._sync(config, config.sync_code)

    async def _sync(self, config: ConfigManager, code: int) -> None:
        journal = self.broker.node.journal
        try:
            asked = self.broker.outer.invoke(self.master_address, RemotingCommand(code), SYNC_TIMEOUT_MS)
            text = expect_success(await asked).body.decode()
            if self.broker.is_master or not text:
                return
            config.decode(text)
        except MQError as error:
            journal.record("table not copied", error.remark, path=config.path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            journal.complain("table not copied", f"{type(error).__name__}: {error}", path=config.path)
        else:
            config.persist()


def shown(config: ConfigManager) -> Callable[[Request], None]:
    """The processor that answers with a table as it is now."""

    def process(request: Request) -> None:
        request.succeed(body=write_json(read_object(config.encode(), config.path)))

    return process
