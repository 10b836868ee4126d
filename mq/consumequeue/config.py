"""The settings of this floor, under RocketMQ's key names · depth

Real: org.apache.rocketmq.store.config.MessageStoreConfig (simplified: the keys that are obeyed here)
"""

from dataclasses import dataclass

from mq.consumequeue.queue import ENTRY_BYTES, FILE_BYTES
from mq.runtime.errors import SettingsError


@dataclass(frozen=True)
class ConsumeQueueConfig:
    """Sizes in bytes, times in ms; the defaults are those of 4.9.8, where it has the key."""

    mapped_file_size_consume_queue: int = FILE_BYTES
    flush_consume_queue_least_pages: int = 2
    max_transfer_bytes_on_message_in_memory: int = 262_144
    max_transfer_count_on_message_in_memory: int = 32
    max_transfer_bytes_on_message_in_disk: int = 65_536
    max_transfer_count_on_message_in_disk: int = 8
    access_message_in_memory_max_ratio: int = 40
    physical_memory_bytes: int = 8 << 30  # ours: 4.9.8 asks the machine
    message_index_enable: bool = True
    max_hash_slot_num: int = 5_000_000
    max_index_num: int = 20_000_000
    max_msgs_num_batch: int = 64
    default_query_max_num: int = 32
    flush_consumer_offset_interval: int = 5_000

    def __post_init__(self) -> None:
        file_bytes = self.mapped_file_size_consume_queue
        if file_bytes < ENTRY_BYTES or file_bytes % ENTRY_BYTES:
            raise SettingsError(
                f"mappedFileSizeConsumeQueue = {file_bytes}: it must be a multiple of {ENTRY_BYTES}"
            )
        for key, value in (
            ("maxHashSlotNum", self.max_hash_slot_num),
            ("maxIndexNum", self.max_index_num - 1),
        ):
            if value < 1:
                raise SettingsError(f"{key} is too small: there would be no room for one key")

    @property
    def memory_bytes(self) -> int:
        """How far behind the log's end a record may lie and still be thought to be in memory."""
        return self.physical_memory_bytes * self.access_message_in_memory_max_ratio // 100
