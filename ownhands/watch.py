"""What the engine knows of a handler: Turner, the protocol it keeps; Watch, its place; Caution, its class's record.

Refuses to know threads and who polls.
"""
import math
from typing import Any, Protocol

from .polling import READ, WRITE

FIRST_CAUTION, LAST_CAUTION = 64, 1024  # turns before which leadership is given away
SELDOM = 16  # quick turns to a slow one, from which on overtaking it costs less than giving way before each
TRIALS = 3  # slow turns in close succession that are more likely the handlers' doing than the system's
SUSPICION = 16  # turns of a connection, at most, that are expected to be as slow as the last, before it is tried again
SUSPECT_FOR = 8192  # turns after a slow one in which another of its connection doubles that
WARY_FOR = 128  # turns after a slow one in which another is overtaken early; beyond them, so many looks are wasted


class Turner(Protocol):
    """What is watched: a handler between two turns, or the listener."""

    close_connection: bool
    deadline: float
    wants_write: bool
    is_lingering: bool

    @property
    def needs_thread(self) -> bool: ...
    @property
    def is_paused(self) -> bool: ...
    @property
    def is_idle(self) -> bool: ...
    def take_turn(self) -> None: ...
    def expire(self) -> None: ...
    def refuse_turn(self) -> None: ...
    def abandon(self) -> None: ...


class Caution:
    """Whether a handler class is trusted to be quick. A late or lost update costs a hand-over, nothing else.

    Where slow turns are seldom, each is overtaken, and early. Where they are not, leadership is given away before the
    turns, at first 64 of them; then the class is tried again, and each time that fails at once doubles that.
    """

    def __init__(self, turns: float = 0) -> None:
        self.turns = turns  # before each of so many turns leadership is given away
        self._length = FIRST_CAUTION
        self._failed = 0  # in close succession
        self._trusted_since = -SELDOM  # on the engine's count of turns

    def fail(self, count: int) -> None:
        """A turn that was trusted to be quick was not; `count` is the engine's count of turns."""
        is_seldom = count - self._trusted_since >= SELDOM
        self._trusted_since = count
        self._failed = 1 if is_seldom else self._failed + 1
        if is_seldom:
            self._length = FIRST_CAUTION
        elif self._failed >= TRIALS:
            self._failed = 0
            self.turns = max(self.turns, self._length)
            self._length = min(2 * self._length, LAST_CAUTION)

    def spend(self, count: int) -> None:
        """A cautious turn; how long it took is not judged, for it has waited for other threads as well."""
        self.turns = max(self.turns - 1, 0)
        self._trusted_since = count


class Watch:
    """What the engine knows of one handler. Its leader's, but for `busy`, which changes under the engine's lock.

    `suspicion` is written by whoever has, or ends, its turn; a late or lost update costs a hand-over, nothing else.
    """

    __slots__ = ("_last_suspicion", "_slow_at", "busy", "caution", "events", "fd", "is_listener", "scheduled", "spared",
                 "suspicion", "turner")

    def __init__(self, fd: int, turner: Any, caution: Caution, is_listener: bool = False) -> None:
        self.fd, self.caution, self.is_listener = fd, caution, is_listener
        self.turner: Any = turner  # a Turner; None once it is closed
        self.busy = False  # in a turn that another thread than the leader runs
        self.suspicion = 0  # turns before which leadership is given away, since one was slow
        self._last_suspicion = 0  # what `suspicion` began with, after the last slow turn
        self._slow_at = -math.inf  # on the engine's count of turns
        self.events = 0  # what it is registered for
        self.scheduled = math.inf  # its first entry among the deadlines
        self.spared = 0.0  # the last deadline that passed without its expiry

    def suspect(self, count: int) -> None:
        """A turn was slow; `count` is the engine's count of turns. One alone may have been the system's doing."""
        is_again = count - self._slow_at < SUSPECT_FOR
        self.suspicion = self._last_suspicion = min(2 * self._last_suspicion, SUSPICION) if is_again else 1
        self._slow_at = count

    @property
    def wanted(self) -> int:
        """What it is to be registered for; nothing, for one that pauses until its deadline."""
        if self.turner.is_paused:
            return 0
        return WRITE if self.turner.wants_write else READ
