"""Retention: the oldest segments go, by age, by the hour, and when the disk fills · depth

What always holds: segments go from the oldest on, one file at a time, and the last one never goes. What was
not dispatched yet does not go either (4.9.8 would skip it). Queues and index follow, so a reader of what is
gone is told where the log begins now, and never gets half a record.

* A segment is old when nothing was written to it for `fileReservedTime` hours by the wall clock; what is
  written last is the mark that ends it. Old ones go in the hours that `deleteWhen` names (UTC), and at any
  hour while the disk is fuller than `diskMaxUsedSpaceRatio`.
* Above `diskSpaceCleanForciblyRatio` age does not count any more: better the oldest messages than the broker.
* Above `diskSpaceWarningLevelRatio` nothing is taken (14), until the disk has room again. Reads go on.

The last two are system properties in 4.9.8, and keys of the store's settings since 5.0, as here.

Real: org.apache.rocketmq.store.DefaultMessageStore.CleanCommitLogService (equivalent)
"""

from datetime import UTC, datetime
from typing import NamedTuple

from mq.commitlog.config import MessageStoreConfig
from mq.commitlog.store import MessageStore
from mq.routing.periodic import Periodic
from mq.runtime.disk import DiskUsage
from mq.runtime.node import Node

CLEAN_FIRST_MS = 60_000  # RocketMQ's, as are the next three
DISK_CHECK_FIRST_MS, DISK_CHECK_PERIOD_MS = 1_000, 10_000
MAX_FILES_PER_PASS = 10
HOUR_MS = 3_600_000


class Cleaning(NamedTuple):
    """Why segments may go now, and whether they go whatever their age."""

    reason: str
    at_once: bool


class RetentionRules:
    """What the settings say about a time and a disk. Percentages are whole and rounded up, as in RocketMQ."""

    def __init__(self, config: MessageStoreConfig) -> None:
        self.config = config
        self.hours = frozenset(config.delete_hours)

    def refusal(self, used_percent: int) -> str:
        """Why nothing can be put with a disk as full as this; empty when it can."""
        most = self.config.disk_space_warning_level_ratio
        if used_percent <= most:
            return ""
        what = f"above {most} % (diskSpaceWarningLevelRatio) nothing is taken"
        return f"the disk is {used_percent} % full; {what}"

    def cleaning(self, now_ms: int, used_percent: int) -> Cleaning | None:
        """Whether it is time to clean: `now_ms` since 1970 by the wall clock."""
        config, hour = self.config, datetime.fromtimestamp(now_ms // 1000, UTC).hour
        at_once = config.clean_file_forcibly_enable and used_percent > config.disk_space_clean_forcibly_ratio
        if used_percent > config.disk_max_used_space_ratio:
            return Cleaning(f"the disk is {used_percent} % full", at_once)
        return Cleaning(f"it is {hour:02d} o'clock", at_once) if hour in self.hours else None

    def is_old(self, modified_ms: int, now_ms: int) -> bool:
        """Whether a file that was last written then has been kept for long enough."""
        return now_ms >= modified_ms + self.config.file_reserved_time * HOUR_MS


class Retention:
    """Looks after the age of one store and the fullness of its disk."""

    name = "retention"

    def __init__(self, node: Node, config: MessageStoreConfig, store: MessageStore) -> None:
        self.node = node
        self.config = config
        self.store = store
        self.rules = RetentionRules(config)
        self._refusal = ""  # what this one last said to the store
        self._followed_to = 0  # derived stores know that the log begins here, or behind it
        self._jobs = (
            Periodic(node, "check disk", DISK_CHECK_FIRST_MS, DISK_CHECK_PERIOD_MS, self.check_disk),
            Periodic(node, "clean", CLEAN_FIRST_MS, config.clean_resource_interval, self.clean),
        )

    async def start(self) -> None:
        """Look at the disk from now on."""
        for job in self._jobs:
            job.start()

    async def stop(self) -> None:
        """Look no more. What this one refused is not the store's own trouble: it may close cleanly."""
        for job in self._jobs:
            job.stop()
        self._refuse("")

    def check_disk(self) -> None:
        """Refuse puts while the disk is too full, and only then."""
        used_percent = self._used_percent()
        if used_percent is None:
            return
        refusal = self.rules.refusal(used_percent)
        if refusal and not self._refusal:
            self.node.journal.complain("disk too full", used_percent=used_percent)
        elif self._refusal and not refusal:
            self.node.journal.record("disk has room again", used_percent=used_percent)
        self._refuse(refusal)

    async def clean(self) -> None:
        """One pass: at most ten files, with a pause between two so that the disk can do other work."""
        used_percent = self._used_percent()
        if used_percent is None:
            return
        cleaning = self.rules.cleaning(self.node.wall_ms(), used_percent)
        if cleaning is None:
            return
        try:
            deleted = await self._delete_oldest(cleaning)
            self._let_the_others_follow()
        except OSError as error:
            self.node.journal.complain("not cleaned", error=str(error))
            return
        if deleted:
            tell = self.node.journal.complain if cleaning.at_once else self.node.journal.record
            tell("segments deleted", count=deleted, begins_at=self.store.log.min_offset, why=cleaning.reason)

    async def _delete_oldest(self, cleaning: Cleaning) -> int:
        deleted, segments = 0, self.store.log.segments
        while self._oldest_may_go(cleaning):
            segments.delete_first()
            deleted += 1
            if deleted == MAX_FILES_PER_PASS:
                break
            await self.node.sleep_ms(self.config.delete_commit_log_files_interval)
        return deleted

    def _oldest_may_go(self, cleaning: Cleaning) -> bool:
        """Never the last one, and none of which something is still to be shown."""
        segments = self.store.log.segments
        if len(segments.starts) < 2 or segments.starts[1] > self.store.reput.dispatched_to:
            return False
        modified_ms = self.node.disk.stat(segments.path(segments.first)).modified_ms
        return cleaning.at_once or self.rules.is_old(modified_ms, self.node.wall_ms())

    def _let_the_others_follow(self) -> None:
        """Queues and index let go of what the log no longer has. Raises OSError: then the next pass will."""
        begins_at = self.store.log.min_offset
        if begins_at > self._followed_to:
            for derived in self.store.dispatchers:
                derived.delete_before(begins_at)
            self._followed_to = begins_at

    def _refuse(self, refusal: str) -> None:
        """Say it to the store, unless the store has worse to say itself."""
        if self.store.refusal == self._refusal:
            self.store.refusal = refusal
        self._refusal = refusal

    def _used_percent(self) -> int | None:
        """How full the disk is; None when it does not say."""
        try:
            return percent_of(self.node.disk.usage())
        except OSError as error:
            self.node.journal.complain("disk not measured", error=str(error))
            return None


def percent_of(usage: DiskUsage) -> int:
    """Whole percent, rounded up: what the levels are compared with."""
    return -(-usage.used_bytes * 100 // usage.total_bytes) if usage.total_bytes else 0
