"""HTTPServer: socketserver's threading TCP server over the engine. Its stages, from accepting to closing; no HTTP."""
import errno
import math
import socket
import sys
import threading
import time
from typing import Any

from .connection import ConnectionHandler, wait_until_ready
from .engine import Engine, EngineThread
from .handler import RequestHandler
from .knobs import check_handler, check_knob, handler_class, is_knob, with_attributes
from .lifecycle import LifeCycle
from .listener import client_address_of, without_waiting
from .logs import log


class HTTPServer(LifeCycle):
    """Serves connections with `handler`: a RequestHandler, or any class that socketserver takes.

    Making one opens no port and starts no thread. Every class attribute of the server and of the handler class that is
    a knob can be given by keyword. Stages, in order: serve, get_request, verify_request, process_request,
    process_request_thread, on_connect, finish_request, then the handler's.
    """

    def __init__(self, host: str = "", port: int = 8000, handler: Any = RequestHandler, **knobs: Any) -> None:
        """Raises TypeError for a keyword that is no knob, ValueError for a number that it cannot be.

        And OSError for certificate files that cannot be used.
        """
        if not isinstance(host, str):
            raise TypeError("host and port are two arguments: HTTPServer('127.0.0.1', 8000, Handler)")
        if not isinstance(port, int):
            raise TypeError(f"port is a number, and the handler the third argument; it is {port!r}")
        check_handler(handler)
        handler = self._take_knobs(handler, knobs)
        super().__init__((host, port), handler)
        self._serving_one: set[int] = set()  # threads that are in handle_request

    def _take_knobs(self, handler: Any, knobs: dict[str, Any]) -> Any:
        """Sets those of the server, and gives the handler class with its own."""
        for_handler = {}
        for name, value in knobs.items():
            both = type(self), handler_class(handler)
            owners = [owner for owner in both if is_knob(owner, name)]
            check_knob(name, value, owners, *both)
            if type(self) in owners:
                setattr(self, name, value)
            if owners[-1] is not type(self):
                for_handler[name] = value
        return with_attributes(handler, for_handler) if for_handler else handler

    def handle_request(self) -> None:
        """Serves one request on this thread, or calls handle_timeout where no client comes within `timeout` seconds.

        For a program that waits for one answer. A server that serves already has no need of it.
        """
        self.open()
        if not wait_until_ready(self.socket, False, math.inf if self.timeout is None else self.timeout):
            return self.handle_timeout()
        ident = threading.get_ident()
        self._serving_one.add(ident)
        try:
            self._handle_request_noblock()  # type: ignore[attr-defined]  # BaseServer's: its stages in their order
        finally:
            self._serving_one.discard(ident)

    # ---- stages -----------------------------------------------------------------------------------------------------

    def get_request(self) -> tuple[Any, Any]:
        """Accepts a connection. Raises OSError where there is none, or where the listener was closed meanwhile."""
        connection, address = self._accept()
        return connection, address if len(address) == 2 else client_address_of(address)  # two, of a listener for IPv4

    def _accept(self) -> tuple[Any, Any]:
        listener = self.socket
        if listener is None:
            raise OSError(errno.EBADF, "the listener is closed")
        if self._tls_context is None and not hasattr(listener, "context"):
            return listener.accept()
        from .tls import TLSConnection, accept
        connection, address = accept(listener, self._tls_context)
        return TLSConnection(connection) if self.serves_in_turns else connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection was accepted. ThreadingMixIn starts a thread here; the engine has one already."""
        self.process_request_thread(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """ThreadingMixIn's entry: on the thread that will serve, at least the first turn. Nothing is raised."""
        thread: Any = threading.current_thread()
        thread.connection = request  # for Stopping.report
        try:
            self.on_connect(request, client_address)
        except (Exception, SystemExit):
            try:
                self.handle_error(request, client_address)
            finally:
                self.shutdown_request(request)
        finally:
            thread.connection = None

    def on_connect(self, connection: Any, client_address: Any = None) -> None:
        """Serves a connection, anything with recv, send and close, on this thread until it is closed or watched."""
        if self.serves_in_turns:
            connection = without_waiting(connection)
        elif hasattr(connection, "settimeout"):
            connection.settimeout(connection.gettimeout())  # BSD and macOS let it inherit the listener's ways
        handler = self.finish_request(connection, client_address)
        if not isinstance(handler, ConnectionHandler):
            return self.shutdown_request(connection)  # a socketserver handler: its one turn is over
        if not self.serves_in_turns:  # a function has made the handler
            handler.connection = without_waiting(handler.connection)
        if self._serving_one and threading.get_ident() in self._serving_one:
            handler.max_requests = 1  # type: ignore[attr-defined]  # of an HTTP handler
        self._take_first_turn(handler)
        self._hand_over(handler)

    def _take_first_turn(self, handler: ConnectionHandler) -> None:
        """At once, unless the connection is better watched, and others accepted."""
        current = threading.current_thread()
        if isinstance(current, EngineThread):
            if self.serves_in_turns and current.engine.is_cautious:
                return
            current.connection = handler  # for Stopping.report
        elif current.ident == self._serving_thread:
            return  # no thread is free
        handler.take_turn()

    def finish_request(self, request: Any, client_address: Any) -> Any:
        """Makes the handler, and gives it, which BaseServer does not."""
        handler: Any = self.RequestHandlerClass
        return handler(request, client_address, self)

    def _hand_over(self, handler: ConnectionHandler) -> None:
        """Closes the connection, or watches it, or serves it here where there is nobody to watch it."""
        connection = handler.connection
        if handler.close_connection:
            self._end_connection(handler)
        elif (engine := self._engine_for(connection)) is None:
            self._serve_here(handler)
        elif not engine.watch(connection.fileno(), handler):
            handler.abandon()
            self._end_connection(handler)

    def _engine_for(self, connection: Any) -> Engine | None:
        """Who watches a connection: on an engine's own thread that one, though it may have ended meanwhile."""
        current, engines = threading.current_thread(), self._engines
        if not hasattr(connection, "fileno"):
            return None
        if isinstance(current, EngineThread) and (current.engine in engines or current.engine in self._last_engines):
            return current.engine
        if not engines and threading.get_ident() not in self._serving_one:
            engines = self._last_engines  # which watch nothing more: who waited beyond the end is not served on
        return min(engines, key=lambda each: each.connections, default=None)

    def _serve_here(self, handler: ConnectionHandler) -> None:
        connection = handler.connection
        while not handler.close_connection:
            left = handler.deadline - self.clock()
            if handler.is_paused:
                time.sleep(max(left, 0))
                handler.expire()
            elif hasattr(connection, "fileno") and not wait_until_ready(connection, handler.wants_write, left):
                handler.expire()
            else:
                handler.take_turn()
        self._end_connection(handler)

    def _end_connection(self, handler: ConnectionHandler) -> None:
        if handler.ends_in_reset:
            self.close_request(handler.connection)  # without the end that a client would see first
        else:
            self.shutdown_request(handler.connection)

    def shutdown_request(self, request: Any) -> None:
        """Ends a connection and closes it: a child process may hold it as well, and the client would see no end."""
        try:
            request.shutdown(socket.SHUT_WR)
        except (OSError, AttributeError):
            pass  # the client has gone; or it is a test's
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while an exception is handled that nothing else has dealt with: logs it."""
        if not (self.is_disowned and isinstance(sys.exc_info()[1], SystemExit)):  # so a forked child may end
            log.exception("error while serving %s", client_address)
