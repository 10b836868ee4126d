"""Which files belong to a sequence of segments? · depth

What always holds: after a clean end every file has the full length and begins where the one before it ended,
or the store does not open. A process or machine that died while it made or cut a file may have left that one
short, or a hole in the sequence that was never synced: what lies there was promised to nobody. So after an
unclean end a short file gets its zeros back, and the sequence stops before a hole.

Real: org.apache.rocketmq.store.MappedFileQueue.load (different: 4.9.8 refuses a short last file)
"""

from mq.commitlog.segments import Segments
from mq.runtime.errors import StoreError


def load_segments(segments: Segments, clean: bool) -> list[str]:
    """Find the files; returns the names of those that had to go. Raises StoreError."""
    names = segments.disk.list(segments.directory)
    strange = next((name for name in names if not (len(name) == 20 and name.isdecimal())), None)
    if strange is not None:
        raise StoreError(f"{segments.directory}/{strange} is not the name of a segment")
    for count, name in enumerate(names, start=1):
        follows = int(names[count]) if count < len(names) else None
        if not _fits(segments, int(name), clean, follows):
            return _drop(segments, names[count - 1 :])
        segments.starts.append(int(name))
    return []


def _fits(segments: Segments, start: int, clean: bool, follows: int | None) -> bool:
    """Whether the file belongs to the sequence; False ends it here."""
    path, full = segments.path(start), segments.segment_bytes
    length = segments.disk.stat(path).length_bytes
    if length == 0 and (follows is None or not clean):
        return False
    if segments.starts and start != segments.capacity_end:
        if clean:
            raise StoreError(f"{path} should begin at {segments.capacity_end}: a segment is missing")
        return False
    if length < full and not clean and follows in (None, start + full):
        _extend(segments, path)  # died while cutting: the rest is zeros again
    elif length != full:
        raise StoreError(f"{path} has {length} bytes; segments here have {full}")
    return True


def _extend(segments: Segments, path: str) -> None:
    file = segments.disk.open(path)
    file.set_length(segments.segment_bytes)
    file.close()


def _drop(segments: Segments, names: list[str]) -> list[str]:
    for name in reversed(names):
        segments.disk.remove(f"{segments.directory}/{name}")
    segments.directory_is_dirty = True
    return names
