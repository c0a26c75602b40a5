"""Pace: how slow a client may be, as deadlines, and how much it has taken of what was sent.

Knows octets and seconds. Refuses to know what they are of, and who waits.
"""
import math
import socket
import sys
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FIRST_LOOK = 1 / 8  # of a timeout: what was under way has arrived by then, if the client takes anything


class Pace:
    """The slowest that a transfer may be, as a deadline: some progress every `timeout`, and a floor to the rate.

    Only the time in which the client is waited for counts, not what the handler takes to make or to use the content.
    """

    __slots__ = ("grace", "min_rate", "offset", "paused", "started", "timeout")

    def __init__(self, started: float, offset: int, timeout: float, min_rate: float, grace: float) -> None:
        """`started`, `timeout` and `grace` in seconds, `min_rate` in octets per second, `offset` octets had moved."""
        self.started, self.paused, self.offset, self.timeout = started, started, offset, timeout
        self.min_rate, self.grace = min_rate, grace

    def pause(self, now: float) -> None:
        """From here on it is the handler's time."""
        self.paused = now

    def resume(self, now: float) -> None:
        """From here on it is the client's time again."""
        self.started += now - self.paused
        self.paused = now

    def deadline(self, now: float, octets: int) -> float:
        """When to give up if nothing more moves, `octets` having moved by now."""
        return min(now + self.timeout, self.started + allowance(octets - self.offset, self.min_rate, self.grace))


class SendPace(Pace):
    """The pace at which a client takes what is sent.

    A socket can be written again when a good part of its buffer is free, which takes a slow client long. So what
    counts is what the client's system has acknowledged, where this one tells.
    """

    __slots__ = ("taken",)

    def wait(self, now: float, connection: Any, size: int) -> float:
        """Nothing more can be sent now, `size` octets have been: when to `look`, unless more can be sent before."""
        self.resume(now)
        self.taken: int | None = None
        until = self.deadline(now, size)
        return until if unacknowledged(connection) is None else min(until, now + FIRST_LOOK * self.timeout)

    def look(self, now: float, connection: Any, size: int) -> float:
        """When to look again; not after `now` if the client is too slow."""
        waiting = unacknowledged(connection)
        before, self.taken = self.taken, max(size + getattr(connection, "held", 0) - (waiting or 0),
                                              min(self.offset, 0))
        has_moved = waiting is not None and before is not None and self.taken > before
        return self.deadline(now if has_moved else self.paused, self.taken)


def allowance(octets: int, min_rate: float, grace: float) -> float:
    """Seconds that a transfer may have taken by now, `octets` having moved; without end if no rate is asked."""
    return grace + octets / min_rate if min_rate else math.inf


def taken(connection: Any, size: int, waiting: int | None) -> int:
    """Octets that the client has taken of `size` that were sent, `waiting` being `unacknowledged`.

    Less than none where earlier ones are under way.
    """
    size += getattr(connection, "held", 0)  # of which a part may be under way
    if getattr(connection, "family", None) == getattr(socket, "AF_UNIX", -1):
        return size  # there the system counts in what it needs itself, which may be far more
    return size - (waiting or 0)


def unacknowledged(connection: Any) -> int | None:
    """Octets sent that the client's system has not acknowledged; None where this one does not tell."""
    if fcntl is None or not hasattr(connection, "fileno"):
        return None
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
    except (OSError, ValueError):  # not of sockets, on this system; or it is closed
        return None
    return int.from_bytes(answer, sys.byteorder)
