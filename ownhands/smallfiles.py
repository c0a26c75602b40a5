"""SmallFiles: the content of small files in memory, used only while a look at the file finds nothing changed.

Refuses to know which files may be served: what is put here was opened with care, and is the same file or not used.
"""
import os
import stat
import threading
import time
from collections.abc import Callable

MAX_SIZE = 2 << 20  # octets kept, in all
SETTLED = 2.0  # seconds; the clocks of all file systems tick in that time, so that a later write shows
TICK = 0.02  # seconds in which the clock of those ticks that keep more than whole seconds
# A path, the root that it begins with, whether links in it are followed anywhere, whether hidden files are served.
Key = tuple[bytes, bytes, bool, bool]


class SmallFiles:
    """Remembers files that have not changed lately. From any thread: entries are values, replaced whole.

    Four system calls less for each request. A path is followed anew each time: if any folder on the way is another one
    by now it leads to another file, which is told by its numbers, and a link may lead anywhere, even to the same file.
    What another process writes through a map of the file is not always seen: systems date such writes late, or never.
    """

    def __init__(self, max_size: int = MAX_SIZE, clock: Callable[[], float] = time.time) -> None:
        self.max_size, self.clock = max_size, clock
        self.size = 0
        self._lock = threading.Lock()  # for changes; a look-up is one atomic step
        self._entries: dict[Key, tuple[os.stat_result, bytes]] = {}

    def get(self, key: Key) -> tuple[bytes, os.stat_result] | None:
        """The octets and what the system said of the file; None if they are not known, or not any more."""
        found = self._entries.get(key)
        if found is None:
            return None
        known, octets = found
        return (octets, known) if _is_same(key, known) else None

    def put(self, key: Key, status: os.stat_result, octets: bytes) -> None:
        """Remembers a file that was read; `status` is from before that. Not one that may still be being written.

        Nor one that a link led to, unless links are followed anywhere: it would not be found.
        """
        if not 0 <= max(status.st_mtime, status.st_ctime) <= self.clock() - SETTLED or not _is_same(key, status):
            return
        with self._lock:
            self._drop(key)
            self._entries[key] = status, octets
            self.size += _cost(key, octets)
            while self.size > self.max_size:
                self._drop(next(iter(self._entries)))  # the one that was put first

    def _drop(self, key: Key) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self.size -= _cost(key, found[1])


def is_settled(status: os.stat_result, now: float) -> bool:
    """Whether a write from now on would show in the time of the last modification."""
    tick = TICK if status.st_mtime_ns % 10**9 else SETTLED
    return not 0 <= now - status.st_mtime < tick


def _is_same(key: Key, known: os.stat_result) -> bool:
    """Whether the path still leads to a file that was opened by it, and nothing in that has changed."""
    path, root, follows_links, _ = key
    try:
        if not follows_links and _passes_link(path, len(root) + 1):
            return False
        now = os.stat(path, follow_symlinks=follows_links)  # noqa: PTH116  octets
    except OSError:
        return False
    # A write, a replacement, a change of permissions: each changes one of them at least.
    return identity_of(now) == identity_of(known)


def _passes_link(path: bytes, begin: int) -> bool:
    """Whether a folder on the way, of those that end behind `begin`, is a link. Raises OSError."""
    while (begin := path.find(b"/", begin) + 1):
        if stat.S_ISLNK(os.lstat(path[:begin - 1]).st_mode):
            return True
    return False


def _cost(key: Key, octets: bytes) -> int:
    return len(key[0]) + len(octets) + 800  # with the status


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """What stays the same only while the file does, and all in it."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size
