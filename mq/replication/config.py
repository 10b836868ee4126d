"""The settings of this floor, under RocketMQ's key names · depth

Real: org.apache.rocketmq.store.config.MessageStoreConfig (simplified: the keys that are obeyed here)
"""

from dataclasses import dataclass

from mq.replication.protocol import MAX_PUSH_BYTES
from mq.runtime.errors import SettingsError
from mq.runtime.settings import key

NEXT_PORT = -1


@dataclass(frozen=True)
class HaConfig:
    """Sizes in bytes, times in ms; the defaults are those of 4.9.8."""

    ha_listen_port: int = NEXT_PORT  # one above the broker's port, as 4.9.8 always has it; 0: a free one
    ha_send_heartbeat_interval: int = 5_000
    ha_housekeeping_interval: int = 20_000
    ha_transfer_batch_size: int = 32 << 10
    ha_master_address: str = ""  # empty: the NameServer tells a slave where its master is
    ha_slave_fallbehind_max: int = 256 << 20
    slave_timeout: int = 3_000  # how long a send to a SYNC_MASTER waits for a slave
    slave_read_enable: bool = False
    offset_check_in_slave: bool = False
    broker_ip2: str = key("brokerIP2", "")  # the host that slaves are told; empty: the one for clients

    def __post_init__(self) -> None:
        if not 1 <= self.ha_transfer_batch_size <= MAX_PUSH_BYTES:
            raise SettingsError(
                f"haTransferBatchSize = {self.ha_transfer_batch_size}: it must be at least 1, and at most "
                f"{MAX_PUSH_BYTES}, or no slave can take it"
            )
        if not 0 < self.ha_send_heartbeat_interval < self.ha_housekeeping_interval:
            raise SettingsError(
                f"haSendHeartbeatInterval = {self.ha_send_heartbeat_interval}: it must lie between 0 and "
                f"haHousekeepingInterval = {self.ha_housekeeping_interval}, or a healthy connection is closed"
            )
