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
    """Sizes in bytes, times in ms, levels of the disk in percent; the defaults are those of 4.9.8."""

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
    file_reserved_time: int = 72  # hours
    delete_when: str = "04"  # hours of the day (UTC), with ";" between them
    clean_resource_interval: int = 10_000
    delete_commit_log_files_interval: int = 100
    clean_file_forcibly_enable: bool = True
    disk_max_used_space_ratio: int = 75
    disk_space_clean_forcibly_ratio: int = 85
    disk_space_warning_level_ratio: int = 90

    def __post_init__(self) -> None:
        size, body = self.mapped_file_size_commit_log, self.max_message_size
        if size < PAGE_BYTES:
            raise SettingsError(f"mappedFileSizeCommitLog = {size}: it must be at least {PAGE_BYTES}")
        if not 0 < body <= FRAME_MAX_LENGTH:  # recovery takes a longer record for garbage
            raise SettingsError(f"maxMessageSize = {body}: it must be 1 to {FRAME_MAX_LENGTH}")
        percent = self.disk_max_used_space_ratio
        if not 10 <= percent <= 95:  # RocketMQ's own bounds
            raise SettingsError(f"diskMaxUsedSpaceRatio = {percent}: it must be 10 to 95")
        if self.file_reserved_time < 0 or self.clean_resource_interval < 1:
            raise SettingsError("fileReservedTime must be at least 0, cleanResourceInterval at least 1")
        if not all(0 <= hour < 24 for hour in self.delete_hours):
            raise SettingsError(f"deleteWhen = {self.delete_when!r}: hours are 00 to 23")

    @property
    def delete_hours(self) -> list[int]:
        """The hours of `deleteWhen`. Raises SettingsError."""
        try:
            return [int(hour) for hour in self.delete_when.split(";")]
        except ValueError:
            what = "it must be hours with ; between them, such as 04;16"
            raise SettingsError(f"deleteWhen = {self.delete_when!r}: {what}") from None
