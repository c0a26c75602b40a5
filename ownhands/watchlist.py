"""Watchlist: who is open, what for each of them the poller looks out for, and until when.

Refuses to know threads and turns: the engine says who may call what, see the docstrings.
"""
import heapq
import math

from .polling import LONGEST_WAIT, READ, Poller, forget_all_but
from .watch import Watch

MIN_ENTRIES = 1024  # deadlines that are never tidied


class Deadlines:
    """A heap of the times at which watches are due. The leader's.

    A watch has one entry in force, at `watch.scheduled`. A deadline that moves back is entered again when the entry
    comes up; one that moves forward gets a new entry, and the other is dropped when it comes up.
    """

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Watch]] = []
        self._sequence = 0  # so that no two entries compare by their watches
        self._tidy_at = MIN_ENTRIES

    def __len__(self) -> int:
        return len(self._entries)

    def enter(self, watch: Watch) -> None:
        """Notes the deadline, unless an earlier one is noted."""
        deadline = watch.turner.deadline
        if deadline < watch.scheduled:
            watch.scheduled = deadline
            self._sequence += 1
            heapq.heappush(self._entries, (deadline, self._sequence, watch))
            if len(self._entries) > self._tidy_at:
                self._tidy()

    def pop(self, now: float) -> Watch | None:
        """A watch with an entry that is due by now, which is no longer in force then; None if there is none."""
        while self._entries and self._entries[0][0] <= now:
            when, _, watch = heapq.heappop(self._entries)
            if when == watch.scheduled:
                watch.scheduled = math.inf
                return watch
        return None

    def wait(self, now: float) -> float | None:
        """Seconds until the first entry; None for ever."""
        return min(max(self._entries[0][0] - now, 0), LONGEST_WAIT) if self._entries else None

    def _tidy(self) -> None:
        """Drops the entries of connections that have closed: many short ones would leave many."""
        self._entries = [entry for entry in self._entries
                         if entry[2].turner is not None and entry[0] == entry[2].scheduled]
        heapq.heapify(self._entries)
        self._tidy_at = max(2 * len(self._entries), MIN_ENTRIES)


class Watchlist:
    """Every open connection that has been watched once, and what it is registered for.

    `mute` and `remove` may be called by the thread that has a watch's turn; all else is the leader's.
    """

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.watches: dict[int, Watch] = {}  # by descriptor, until it is closed
        self.deadlines = Deadlines()
        self.lost: set[int] = set()  # descriptors that could not be unregistered

    def admit(self, watch: Watch) -> None:
        """Registers what a connection waits for, and its deadline. Raises OSError or ValueError if it cannot be."""
        wanted = watch.wanted
        if not wanted:
            self.mute(watch)
            self.watches[watch.fd] = watch
        elif not watch.events:
            self.poller.register(watch.fd, wanted)
            self.watches[watch.fd] = watch
        elif wanted != watch.events:
            self.poller.modify(watch.fd, wanted)
        watch.events = wanted
        self.deadlines.enter(watch)

    def mute(self, watch: Watch) -> None:
        """Takes a connection out of the poller's sight; it stays open."""
        if watch.events:
            watch.events = 0
            self.unregister(watch.fd)

    def remove(self, watch: Watch) -> None:
        """Before a connection is closed: its number may be given out again at once."""
        if self.watches.get(watch.fd) is watch:  # or somebody has closed it behind our back
            self.mute(watch)
            del self.watches[watch.fd]

    def unregister(self, fd: int) -> None:
        try:
            self.poller.unregister(fd)
        except (OSError, ValueError):
            self.lost.add(fd)  # somebody has closed it behind our back, and so ended its registration, as a rule

    def start_over(self, waker: int) -> None:
        """Where one that is lost is still found ready. The leader's, under the lock. Raises OSError."""
        watches = self.watches.items()
        forget_all_but(self.poller, {fd: watch.events for fd, watch in watches if watch.events and not watch.busy} | {
            waker: READ})
        self.lost.clear()
        for _, watch in watches:
            if watch.busy:
                watch.events = 0  # its turn's end registers it, where it has not closed the socket, too
