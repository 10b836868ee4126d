"""The settings of this floor, under RocketMQ's key names · depth

Real: org.apache.rocketmq.store.config.MessageStoreConfig (simplified: the keys that are obeyed here)
"""

from dataclasses import dataclass

from mq.commitlog.flush import FlushDiskType
from mq.commitlog.record import MAX_BODY_BYTES
from mq.runtime.disk import PAGE_BYTES
from mq.runtime.errors import SettingsError
from mq.runtime.settings import key
from mq.wire.frame import FRAME_MAX_LENGTH


@dataclass(frozen=True)
class MessageStoreConfig:
    """Sizes in bytes, times in ms; the defaults are those of 4.9.8."""

    mapped_file_size_commit_log: int = 1 << 30
    flush_disk_type: FlushDiskType = FlushDiskType.ASYNC_FLUSH
    flush_interval_commit_log: int = 500
    flush_commit_log_least_pages: int = 4
    flush_commit_log_thorough_interval: int = 10_000
    sync_flush_timeout: int = 5_000
    flush_interval_consume_queue: int = 1_000
    flush_consume_queue_thorough_interval: int = 60_000
    max_message_size: int = MAX_BODY_BYTES
    message_index_safe: bool = True  # 4.9.8: false, and older keys stay lost after an unclean end
    check_crc_on_recover: bool = key("checkCRCOnRecover", True)

    def __post_init__(self) -> None:
        size, body = self.mapped_file_size_commit_log, self.max_message_size
        if size < PAGE_BYTES:
            raise SettingsError(f"mappedFileSizeCommitLog = {size}: it must be at least {PAGE_BYTES}")
        if not 0 < body <= FRAME_MAX_LENGTH:  # recovery takes a longer record for garbage
            raise SettingsError(f"maxMessageSize = {body}: it must be 1 to {FRAME_MAX_LENGTH}")
