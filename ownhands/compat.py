"""http.server's classes on ownhands' engine: change one import, or call `patch()`, and a program stays as it is.

HTTPServer, ThreadingHTTPServer, BaseHTTPRequestHandler and SimpleHTTPRequestHandler keep the standard library's
signatures and documented behaviour. compat_rules says which overrides keep a class on socketserver's own path.
"""
import contextlib
import functools
import http.client
import http.server as stock
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from email.message import Message
from typing import Any

from . import compat_rules as rules
from .compat_exchange import Exchanges, claims
from .compat_server import Room, serve_connection
from .dates import encode_date
from .messages import Request

__all__ = ["BaseHTTPRequestHandler", "HTTPServer", "SimpleHTTPRequestHandler", "ThreadingHTTPServer", "patch"]
if sys.version_info >= (3, 14):
    __all__ += ["HTTPSServer", "ThreadingHTTPSServer"]


class OnDemand:
    """An attribute of a handler object that is made when the handler first asks for it, and may be assigned.

    Not there, as in http.server, where socketserver serves the class and http.server has not set it yet.
    """

    def __init__(self, make: Callable[[Any, Exchanges, Request], Any]) -> None:
        self.make, self.name, self.__doc__ = make, make.__name__, make.__doc__

    def __get__(self, handler: Any, owner: type) -> Any:
        if handler is None:
            return self
        exchange, request = handler._served_by, handler._served
        if exchange is None or (request is None and self.name not in ("connection", "request")):
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self.name!r}")
        value = self.make(handler, exchange, request)
        handler.__dict__[self.name] = value
        return value


class BaseHTTPRequestHandler(stock.BaseHTTPRequestHandler):
    """http.server's class. Under one of the servers here its `do_` methods answer requests that are read for it."""

    _headers_buffer: list[bytes]  # http.server's own
    _served_by: Exchanges | None = None  # where the engine serves the connection
    _served: Request | None = None  # the request that is being answered

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        exchange = getattr(claims, "exchange", None)
        if exchange is None or rules.handler_reasons(type(self)):
            return super().__init__(request, client_address, server)
        claims.exchange = None  # a handler object made in here is not for this connection
        self.client_address, self.server, self._served_by = client_address, server, exchange
        exchange.handler = self
        self.close_connection = True
        self.setup()

    def setup(self) -> None:
        if self._served_by is None:
            super().setup()

    def finish(self) -> None:
        if self._served_by is None:
            super().finish()

    def _serve_on(self) -> None:
        """A method has put files of its own in place, as of TLS in a tunnel: http.server's loop goes on with them."""
        self._served_by = None
        while not self.close_connection:
            self.handle_one_request()

    @OnDemand
    def headers(self, exchange: Exchanges, request: Request) -> Message:
        """The header fields as an http.client.HTTPMessage."""
        message_class: Any = getattr(self, "MessageClass", http.client.HTTPMessage)
        message: Message = message_class()
        for name, value in request.head.pairs:
            message.set_raw(name, value)
        message.set_payload("")
        return message

    @OnDemand
    def rfile(self, exchange: Exchanges, request: Request) -> Any:
        """The content; behind a request to change the protocol, what comes on the connection."""
        return exchange.open_content(request)

    @OnDemand
    def raw_requestline(self, exchange: Exchanges, request: Request) -> bytes:
        return self.requestline.encode("latin-1") + b"\r\n"

    @OnDemand
    def connection(self, exchange: Exchanges, request: Request) -> Any:
        """The socket, blocking while the handler has it; when it was used to answer, the connection closes after."""
        return exchange.lend()

    @OnDemand
    def request(self, exchange: Exchanges, request: Request) -> Any:
        return exchange.lend()

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begins a head, with Server and Date, and logs the request."""
        handler_class: Any = type(self)
        if self._served_by is None or not _sends_as_stock(handler_class) or not _SENDING.isdisjoint(vars(self)):
            return super().send_response(code, message)
        self.log_request(code)
        if message is None:
            message = self.responses[code][0] if code in self.responses else ""
        self._headers_buffer += (f"{self.protocol_version} {int(code)} {message}\r\n".encode("latin-1"),
                                 _encode_ours(self.version_string(), current_date()))

    def send_header(self, keyword: str, value: Any) -> None:
        """Adds a line to the head that is being written; a Connection line decides on `close_connection`, too."""
        if self._served_by is None:
            return super().send_header(keyword, value)
        self._headers_buffer.append(f"{keyword}: {value}\r\n".encode("latin-1"))
        if keyword.lower() == "connection":
            option = value.lower()
            if option == "close":
                self.close_connection = True
            elif option == "keep-alive":
                self.close_connection = False

    def date_time_string(self, timestamp: float | None = None) -> str:
        if timestamp is not None:
            return super().date_time_string(timestamp)
        return current_date()


_SENDING = frozenset(["send_header", "date_time_string", "send_response_only"])  # what send_response calls


@functools.lru_cache(maxsize=256)
def _sends_as_stock(handler_class: Any) -> bool:
    """Whether nothing that send_response calls is the class's own, but for what gives text."""
    return all(getattr(handler_class, name) is getattr(BaseHTTPRequestHandler, name) for name in _SENDING)


@functools.lru_cache(maxsize=8)
def _encode_ours(software: str, date: str) -> bytes:
    """What heads have in common for a second."""
    return f"Server: {software}\r\nDate: {date}\r\n".encode("latin-1")


class SimpleHTTPRequestHandler(stock.SimpleHTTPRequestHandler, BaseHTTPRequestHandler):
    """http.server's class."""


class HTTPServer(stock.HTTPServer):
    """http.server's class: one request at a time, on the thread of serve_forever, and idle connections beside it."""

    request_queue_size = 1024  # connections in the backlog

    _room: Room | None = None
    _serving_thread: int | None = None  # serve_forever's, while it serves on the engine
    _stop_wanted = False
    _BaseServer__is_shut_down: threading.Event  # socketserver's own

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until `shutdown`; raises what socketserver would, KeyboardInterrupt and a handler's SystemExit."""
        if is_classic(self):
            return super().serve_forever(poll_interval)
        self._BaseServer__is_shut_down.clear()
        self._serving_thread = threading.get_ident()
        self._room = room = Room(self, not rules.is_threading(type(self)))
        try:
            if not self._stop_wanted:
                room.run(poll_interval)
        finally:
            self._serving_thread, self._stop_wanted = None, False
            self._BaseServer__is_shut_down.set()

    def shutdown(self) -> None:
        """Makes serve_forever return, and waits for that. Requests that have begun are answered."""
        if self._serving_thread == threading.get_ident():
            self._BaseServer__shutdown_request = True  # a handler's on the one thread, which must not wait for itself
        else:
            super().shutdown()

    @property
    def _BaseServer__shutdown_request(self) -> bool:
        """What socketserver's loop looks at: private, but set by programs that stop a server from one of its handlers.

        `shutdown`, which waits, cannot be called there.
        """
        return self._stop_wanted

    @_BaseServer__shutdown_request.setter
    def _BaseServer__shutdown_request(self, value: bool) -> None:
        self._stop_wanted = value
        if value and self._serving_thread is not None and self._room is not None:
            self._room.begin_stop()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """For handle_request: one connection, on the calling thread."""
        if is_classic(self):
            return super().finish_request(request, client_address)
        serve_connection(self, request, client_address)

    def server_close(self) -> None:
        """Closes the listener; a threading server that asks for it waits for its last requests."""
        super().server_close()
        waits = isinstance(self, socketserver.ThreadingMixIn) and self.block_on_close and not self.daemon_threads
        if waits and self._room is not None:
            self._room.begin_stop()  # where it was not shut down
            self._room.wait()


class ThreadingHTTPServer(stock.ThreadingHTTPServer, HTTPServer):
    """http.server's class: requests of several connections beside each other."""

    daemon_threads = True


if sys.version_info >= (3, 14):
    class HTTPSServer(stock.HTTPSServer, HTTPServer):
        """http.server's class: HTTPServer over TLS, which no client's handshake holds up."""

    class ThreadingHTTPSServer(stock.ThreadingHTTPSServer, HTTPSServer):
        """http.server's class: ThreadingHTTPServer over TLS."""

        daemon_threads = True


def is_classic(server: HTTPServer) -> bool:
    """Whether socketserver's own path serves it: what its classes override decides, and the object itself.

    As it does where gevent has put its own in the place of threads: the engine waits for the system's.
    """
    gevent = sys.modules.get("gevent.monkey")
    return bool((gevent is not None and gevent.is_module_patched("threading"))
                or rules.server_reasons(type(server)) or vars(server).keys() & rules.CLASSIC_SERVER.keys()
                or rules.handler_reasons(server.RequestHandlerClass))


def current_date() -> str:
    """The Date of now."""
    return _date_of(int(time.time()))


_date_of = functools.lru_cache(maxsize=2)(encode_date)  # handlers say it often in a second


# ---- patching -------------------------------------------------------------------------------------------------------

STANDARD = {name: getattr(stock, name) for name in __all__ if name != "patch"}


def replaced(value: Any) -> Any:
    """Our class for one of the standard library's, anything else as it is."""
    return next((REPLACEMENTS[name] for name, standard in STANDARD.items() if standard is value), value)


class patch(contextlib.ContextDecorator):
    """Puts the classes of this module under the standard names, from the call until `undo` or the end of a `with`.

    Classes of the standard library that were imported before and build on them are moved too; a program's own have to
    be imported after the call. Classes made meanwhile stay as they are made.
    """

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []
        for name, ours in REPLACEMENTS.items():
            self._set(ours, "__module__", stock.__name__)
            self._set(stock, name, ours)
        runner: Any = vars(stock)["test"]  # what `python -m` programs call; it has the classes as its defaults
        self._set(runner, "__defaults__", tuple(map(replaced, runner.__defaults__)))
        for module_name, rebased in REBASED.items():
            module = sys.modules.get(module_name)
            for name in rebased if module is not None else ():
                self._rebase(getattr(module, name))
            for name in REPLACEMENTS if module is not None else ():
                if getattr(module, name, None) is STANDARD[name]:
                    self._set(module, name, REPLACEMENTS[name])

    def _set(self, owner: Any, name: str, value: Any) -> None:
        previous = getattr(owner, name)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, previous))

    def _rebase(self, found: Any) -> None:
        previous = found.__bases__
        found.__bases__ = tuple(map(replaced, previous))
        self._undo.append(lambda: setattr(found, "__bases__", previous))

    def undo(self) -> None:
        """Puts everything back. More than once does no harm."""
        while self._undo:
            self._undo.pop()()

    def __enter__(self) -> "patch":
        return self

    def __exit__(self, *_: object) -> None:
        self.undo()


REPLACEMENTS: dict[str, Any] = {name: globals()[name] for name in STANDARD}
REBASED = {"wsgiref.simple_server": ("WSGIServer", "WSGIRequestHandler"),  # modules, and their classes built on ours
           "xmlrpc.server": ("SimpleXMLRPCRequestHandler",)}
