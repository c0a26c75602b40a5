"""A connection's life in turns, for any protocol: ConnectionHandler, over socketserver's BaseRequestHandler.

Refuses to know HTTP, who polls, and which thread lends itself for a turn.
"""
import math
import selectors
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from socketserver import BaseRequestHandler
from typing import Any

from .logs import log
from .pace import FIRST_LOOK, unacknowledged
from .polling import LONGEST_WAIT

LINGER_NOT = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # a struct linger: what is unsent is dropped
# Of those a system has, one that waits without a descriptor of its own: there may be none left.
WAIT_SELECTOR = getattr(selectors, "PollSelector", selectors.SelectSelector)


class Interrupt(BaseException):
    """Carries what a handler has raised to end serving past whoever deals with exceptions."""


INTERRUPTS = (KeyboardInterrupt, Interrupt)  # what is raised for the program, and not for a request


class ConnectionHandler(BaseRequestHandler):
    """socketserver's handler, with a life in turns: setup once, handle once a turn, finish once.

    A turn runs when the connection is ready, on any thread, one thread at a time; it must not wait for the client.
    As in socketserver the first turn is the last, unless a subclass clears `close_connection`.
    """

    server: Any  # an HTTPServer, or what has its `clock`, `is_stopping` and `handle_error`
    is_paused = False  # whether only its deadline is waited for; set with `wants_write`, so that the engine looks
    ends_in_reset = False  # whether the end is one that no client takes for the end of a content

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self.request = self.connection = request
        self.client_address = client_address
        self.server = server
        # None of these has a default in the class: what stands in both places takes several times as long to find.
        self.close_connection: bool = getattr(type(self), "close_connection", True)  # a subclass may have its own
        self.deadline = math.inf  # seconds on the server's clock: when `expire` is called if no turn has come before
        self.wants_write = False  # whether the next turn waits until octets can be sent, rather than received
        self.is_lingering = False  # whether all is said, and only the client is not done with sending and reading
        self.setup()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.client_address}>"

    def take_turn(self) -> None:
        """One turn, on the thread that calls it: `handle`, and behind the last one `finish`.

        Raises nothing: what either raises goes to server.handle_error, for the thread is only lent.
        """
        try:
            self.handle()
        except BaseException as error:
            self._fail(error)
        if self.close_connection:
            self._finish()

    def take_step(self, step: Callable[[], None]) -> None:
        """A turn with another step in place of `handle`. Raises nothing."""
        try:
            step()
        except BaseException as error:
            self._fail(error)
        if self.close_connection:
            self._finish()

    def _finish(self) -> None:
        try:
            self.finish()
        except BaseException as error:
            self._fail(error)

    def client_has_gone(self, error: OSError) -> None:
        """For `handle`: receiving or sending has failed, so the connection is over; that is a debug line, no error."""
        log.debug("%s has gone: %s", self.client_address, error)
        self.close_connection = True

    def _fail(self, error: BaseException) -> None:
        self.close_connection = True
        try:
            self.server.handle_error(self.request, self.client_address)
        except Exception:
            log.exception("handle_error has failed")
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise error  # somebody at the keyboard means the program, not the connection

    def expire(self) -> None:
        """The deadline has passed without a turn. Called in place of a turn; the default abandons the connection."""
        self.abandon()

    def refuse_turn(self) -> None:
        """No thread was free for too long. Called in place of a turn; the default abandons the connection."""
        self.abandon()

    def abandon(self) -> None:
        """Ends the connection, whatever it was doing; the server closes it then. Raises nothing."""
        self.close_connection = True
        self.take_step(nothing)

    def cut(self) -> None:
        """Ends the connection under a turn that goes on. Called by another thread, as the server has to end."""
        cut_off(self.connection)

    def _end_in_reset(self) -> None:
        """Has the connection end in a reset."""
        self.ends_in_reset = True
        if getattr(self.server, "is_disowned", False):
            return  # in a forked child: the socket is its parent's as well, whose answer goes on
        with suppress(AttributeError, OSError):  # a test's; or the client has gone
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)

    @property
    def needs_thread(self) -> bool:
        """Whether the next turn may take long. One that does not is taken also while no thread is free."""
        return True

    @property
    def is_idle(self) -> bool:
        """Whether nothing is owed either way, so that a server that stops may close at once."""
        return True


def nothing() -> None:
    """The step of a turn in which nothing is left to do."""


def cut_off(connection: Any) -> None:
    """Ends a connection that is in a turn, from another thread; the client may have gone, nothing is raised.

    Below TLS, whose state is the turn's thread's: what that sends meanwhile would go out in clear. Nor is the client
    told of an end (close_notify) that was none.
    """
    below = getattr(connection, "sslsocket", connection)
    with suppress(AttributeError, OSError):
        if isinstance(below, socket.socket):
            socket.socket.shutdown(below, socket.SHUT_RDWR)
        else:
            below.shutdown(socket.SHUT_RDWR)


def receive(connection: Any, size: int, deadline: float, clock: Callable[[], float]) -> bytes | None:
    """At most `size` octets, b"" at the end, None if none came until `deadline`; the calling thread waits for them."""
    while True:
        try:
            octets: bytes = connection.recv(size)
            return octets
        except BlockingIOError:
            if not wait_until_ready(connection, getattr(connection, "recv_wants_write", False), deadline - clock()):
                return None


def wait_until_taken(connection: Any, timeout: float) -> bool:
    """Waits on the calling thread until the client has taken something; False if it has not in `timeout` seconds.

    That need not mean that more can be sent already: try, and wait again for as long as the client may still take.
    """
    for_writing = not getattr(connection, "send_wants_read", False)
    if wait_until_ready(connection, for_writing, timeout * FIRST_LOOK):
        return True
    before = unacknowledged(connection)
    if wait_until_ready(connection, for_writing, timeout * (1 - FIRST_LOOK)):
        return True
    after = unacknowledged(connection)
    return before is not None and after is not None and after < before


def wait_until_ready(connection: Any, for_writing: bool, timeout: float) -> bool:
    """Waits on the calling thread until the connection can be read or written, for at most `timeout` seconds.

    One without a descriptor, as in a test, will never be ready: at once, False.
    """
    if not hasattr(connection, "fileno"):
        return False
    with WAIT_SELECTOR() as selector:
        selector.register(connection, selectors.EVENT_WRITE if for_writing else selectors.EVENT_READ)
        return bool(selector.select(None if timeout == math.inf else max(min(timeout, LONGEST_WAIT), 0)))
