"""Who is ready: select.epoll where the system has it, the same four methods over `selectors` where not.

Refuses to know what is watched and what for.
"""
import os
import select
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

READ, WRITE = 1, 4  # the values of EPOLLIN and EPOLLOUT
LONGEST_WAIT = 86_400.0  # seconds in one poll; systems refuse much more


class Poller(Protocol):
    """Level-triggered. `register` and `unregister` may be called by any thread while another is in `poll`."""

    def register(self, fd: int, events: int, /) -> None: ...
    def modify(self, fd: int, events: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, timeout: float | None, maxevents: int, /) -> list[tuple[int, int]]: ...
    def close(self) -> None: ...


class SelectorPoller:
    """For systems without epoll: kqueue on macOS, select on Windows."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._first = 0  # in the list of who is ready: the others have their turn, too

    def register(self, fd: int, events: int, /) -> None:
        try:
            self._selector.register(fd, _selector_events(events))
        except KeyError:  # of a socket that was closed behind our back, whose number is another's now
            self.unregister(fd)
            self._selector.register(fd, _selector_events(events))

    def modify(self, fd: int, events: int, /) -> None:
        try:
            self._selector.modify(fd, _selector_events(events))
        except KeyError:
            raise FileNotFoundError(fd) from None

    def unregister(self, fd: int, /) -> None:
        try:
            self._selector.unregister(fd)
        except KeyError:
            raise FileNotFoundError(fd) from None

    def poll(self, timeout: float | None, maxevents: int, /) -> list[tuple[int, int]]:
        try:
            found = [(key.fd, events) for key, events in self._selector.select(timeout)]
        except OSError:  # Windows: a socket was closed meanwhile
            self._drop_closed()
            return []
        self._first = (self._first + maxevents) % len(found) if len(found) > maxevents else 0
        return (found[self._first:] + found[:self._first])[:maxevents]

    def _drop_closed(self) -> None:
        """Those that nobody has unregistered would make each poll fail."""
        for fd in list(self._selector.get_map()):
            try:
                select.select([fd], [], [], 0)
            except (OSError, ValueError):
                self._selector.unregister(fd)

    def close(self) -> None:
        self._selector.close()


def _selector_events(events: int) -> int:
    return selectors.EVENT_WRITE if events & WRITE else selectors.EVENT_READ


make_poller: Callable[[], Poller] = getattr(select, "epoll", SelectorPoller)


def forget_all_but(poller: Any, registered: dict[int, int]) -> None:
    """Has an epoll start over: what was closed while a copy of it lives is registered still, and by no number."""
    if not hasattr(poller, "fileno"):
        return  # others find it no more
    with select.epoll() as fresh:
        for fd, events in registered.items():
            with suppress(OSError):
                fresh.register(fd, events)
        os.dup2(fresh.fileno(), poller.fileno(), inheritable=False)


class Waker:
    """Makes a poll return: a byte through a pair of sockets, the one way that works on every system."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        """From any thread, and from a signal handler. A full buffer will wake it as well."""
        try:
            self._writer.send(b"\0")
        except OSError:
            pass

    def clear(self) -> None:
        try:
            while self._reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        self._reader.close()
        self._writer.close()
