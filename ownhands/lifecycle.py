"""A server's life: opening, serving until it is told to stop, ending, any number of times.

Owns the engines and the listener. Refuses to know what becomes of a connection: server.py does.
"""
import math
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from socketserver import BaseServer, TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self

from .connection import ConnectionHandler
from .engine import Engine, EngineThread
from .knobs import handler_class
from .listener import Acceptor, Listener, bind, describe_url, max_descriptors, prepare, raise_descriptor_limit
from .logs import log
from .monitor import Monitor
from .program import Latch, go_on, handling_signals, put_back, switching_threads_after
from .stopping import Stopping
from .watch import Caution

THREADS_A_LANE = 8  # fewer would all be held by a few slow handlers, and the lane's connections wait for them


class LifeCycle(ThreadingMixIn, TCPServer):
    """The half of HTTPServer that owns the engines: see there."""

    max_threads = 64  # that run handlers; past it requests wait
    max_wait = 10.0  # seconds that a request waits for a thread; then it is refused
    max_connections = 10_000  # past it new ones wait in the backlog
    shutdown_timeout = 30.0  # seconds that requests may go on when the server stops
    switch_interval: float | None = 0.0001  # seconds of computing after which `serve` lets another thread go on
    request_queue_size = 1024  # connections in the backlog
    allow_reuse_address = os.name == "posix"  # on Windows it would let two servers share a port
    daemon_threads = True
    tls: Any = None  # an ssl.SSLContext, or the files (certificate, key)
    lanes: int | None = None  # engines, which share the threads out; by default one, more where there is no GIL
    clock: Callable[[], float] = staticmethod(time.monotonic)

    if TYPE_CHECKING:
        _end_connection: Callable[[ConnectionHandler], None]

    def __init__(self, server_address: tuple[str, int], RequestHandlerClass: Any) -> None:
        BaseServer.__init__(self, server_address, RequestHandlerClass)
        _servers[id(self)] = self
        self.is_stopping = False
        self.is_disowned = False  # whether this is a child process, and what was served here the parent's
        self.socket: socket.socket | None = None  # type: ignore[assignment]  # the listener, once it is open
        self._bound: socket.socket | None = None  # the last one that `open` has asked server_bind for
        self._was_given = False  # whether the last one was the program's own
        self._unix_path = ""
        found = handler_class(RequestHandlerClass)
        self.serves_in_turns = isinstance(found, type) and issubclass(found, ConnectionHandler)
        self._engines: list[Engine] = []
        self._last_engines: list[Engine] = []  # of the last time: threads of theirs may still be in a turn
        self._monitor: Monitor | None = None
        self._lock = threading.Lock()  # for `_over` and `_listening`
        self._starting = threading.RLock()  # whoever else calls `start` finds the server open; a signal handler may
        self._over = Latch()  # of serving; each time has its own
        self._over.set()
        self._begun = Latch()  # that serving has begun; each time has its own
        self._serving_thread: int | None = None
        self._was_cut = False
        self._listening = 0  # engines that have not let go of the listener
        self._tls_context: Any = None
        if self.tls is not None:
            self.reload_tls()

    def open(self) -> None:
        """Opens the port; `url` is known then. Raises OSError.

        A listening `socket` that was set before, plain or wrapped in TLS, is taken as it is. It is closed when serving
        ends; RuntimeError if another one is not set for the next time.
        """
        if self.socket is None:
            if self._was_given:
                raise RuntimeError("the listener that was set as `socket` is closed: set another one to serve again")
            self.server_bind()
            self._bound = self.socket
        assert self.socket is not None
        prepare(self.socket)
        address = self.socket.getsockname()
        self._unix_path = ""
        if not isinstance(address, tuple):
            self._unix_path = os.fsdecode(address).replace("\0", "@")  # which is how abstract ones are written
        elif address[1] != self.server_address[1]:
            self.server_address = address[:2]

    def server_bind(self) -> None:
        """Makes `socket` and listens. `server_address` becomes what it was bound to."""
        host, port = self.server_address[:2]
        try:
            self.socket = bind(str(host), int(port), self.request_queue_size, self.allow_reuse_address)
        except OSError as error:
            error.add_note(f"The server was to listen on {str(host) or '*'}:{port}.")
            raise
        self.server_address = (host, self.socket.getsockname()[1])

    @property
    def setup_may_wait(self) -> bool:
        """Whether to make a handler may take as long as its client does."""
        return not self.serves_in_turns

    @property
    def url(self) -> str:
        """Where the server is, with the real port once it is open; unix:PATH on a Unix socket."""
        if self._unix_path:
            return f"unix:{self._unix_path}"
        is_tls = self.tls is not None or hasattr(self.socket, "context")
        host, port = self.server_address[:2]
        return describe_url("https" if is_tls else "http", str(host), int(port))

    def serve(self) -> None:
        """Listens and serves until SIGINT, SIGTERM or `stop`: the whole of a program. The second SIGINT ends at once.

        Raises SystemExit: with one line where the port cannot be opened, with 1 where a request had to be cut.
        """
        try:
            self.open()
        except (OSError, OverflowError, UnicodeError) as error:  # no such port; nor can this be a host's name
            host, port = map(str, self.server_address[:2])
            reason = getattr(error, "strerror", None) or error
            raise SystemExit(f"ownhands: cannot listen on {host or '*'}:{port}: {reason}") from None
        raise_descriptor_limit(2 * self.max_connections + self.max_threads)  # a file to send, or to receive into, each
        renew = self._renew_tls if isinstance(self.tls, (tuple, list)) else None
        with handling_signals(self.stop, renew), switching_threads_after(self.switch_interval):
            if not self.is_stopping:  # `stop` was called before
                self.announce()
            self.serve_forever()
        if self._was_cut:
            raise SystemExit(1)

    def reload_tls(self) -> None:
        """Reads the certificate files again, for connections from now on. Raises OSError, and then keeps the old ones.

        From any thread. `serve` calls it on SIGHUP, where the system has it, if `tls` names files.
        """
        from .tls import make_context  # ssl takes longer to import than all the rest
        self._tls_context = make_context(self.tls)

    def announce(self) -> None:
        """Called by `serve` once the port is open: says where."""
        print(f"Serving on {self.url} (Ctrl-C stops)", flush=True)

    def _renew_tls(self) -> None:
        try:
            self.reload_tls()
            log.info("the certificate was read again")
        except OSError as error:
            log.error("the certificate could not be read again, the old one stays: %s", error)

    def start(self) -> None:
        """Opens the port and serves on a thread of its own, until `stop`; nothing if it serves. Raises OSError."""
        with self._starting:
            if not self._claim(forgets_stop=True):
                return
            try:
                self._prepare()
                begun, failures = self._begun, list[BaseException]()
                threading.Thread(target=self._serve_beside, args=(begun, failures), name="ownhands-monitor",
                                 daemon=True).start()
            except BaseException:
                self._end()
                raise
            begun.wait()
        if failures:
            raise failures[0]

    def _serve_beside(self, begun: Latch, failures: list[BaseException]) -> None:
        """Serves for `start`, which waits for the beginning, and raises what has failed until then."""
        try:
            self._serve()
        except BaseException as error:
            if begun.is_set():
                raise
            failures.append(error)
        finally:
            begun.set()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves on this thread until `stop`, or waits for the end if another thread serves. Nothing is polled."""
        if not self._claim():
            self._over.wait()
            return
        try:
            if not self.is_stopping:
                self._prepare()
        except BaseException:
            self._end()
            raise
        self._serve()

    def _claim(self, forgets_stop: bool = False) -> bool:
        """Whether the caller is the one who may serve."""
        with self._lock:
            if not self._over.is_set():
                return False
            if forgets_stop:
                self.is_stopping = False  # before `_over` is another: see `stop`
            if self.is_disowned:
                self.is_disowned = False
                del self._end_connection, self.shutdown_request
            self._serving_thread = threading.get_ident()  # first: a signal handler on it must not wait for its end
            self._over, self._begun = Latch(), Latch()
            return True

    def _serve(self) -> None:
        self._serving_thread = threading.get_ident()
        try:
            self._run()
        finally:
            self._end()

    def _end(self) -> None:
        try:
            if self.socket is not None:  # where nothing was served; else the last engine has closed it
                self.server_close()
        except Exception:
            log.exception("server_close has failed")
        for engine in self._engines:
            engine.close()
        self.is_stopping, self._last_engines, self._engines, self._monitor = False, self._engines, [], None
        with self._lock:  # against who begins anew
            self._over.set()  # first: a signal handler on this thread must not wait for it
            self._serving_thread = None

    def _prepare(self) -> None:
        """Opens the port and makes the engines, so that `on_connect` may have connections watched."""
        self.open()
        self._was_cut, self._listening = False, 0
        lanes = self.lane_count
        descriptors = max_descriptors()
        connections = min(self.max_connections, max(descriptors - self.max_threads, descriptors // 2))
        self._engines = [Engine(self._close_turner, max(self.max_threads // lanes, 1), max(connections // lanes, 1),
                                self.max_wait, self.daemon_threads, self.clock,
                                Caution(0 if self.serves_in_turns else math.inf)) for _ in range(lanes)]
        self._monitor = Monitor(self._engines)

    def _run(self) -> None:
        engines, monitor, listener = self._engines, self._monitor, self.socket
        if monitor is None or listener is None:
            return  # stop was called before
        found = handler_class(self.RequestHandlerClass)
        name = getattr(found, "__name__", type(found).__name__)
        stopping = Stopping(engines, name, self.shutdown_timeout, self.clock)
        try:
            for engine in engines:
                self._listen(engine)
            for engine in engines:
                engine.start()
            self._begun.set()
            if self.is_stopping:  # stop was called meanwhile
                self._stop_engines()
            monitor.run(lambda: stopping.is_over(self.is_stopping))
        finally:
            stopping.cut()  # where one could not be started, the others are not needed
            self._was_cut = stopping.report()

    def _listen(self, engine: Engine) -> None:
        """Before any engine is started, since the last one to let go of the listener closes it."""
        assert self.socket is not None
        self._listening += 1
        acceptor = Acceptor(self, self.clock, engine.give_way, engine.has_room, self._over, lambda: [
            each.has_leader and each.has_room() for each in self._engines if each is not engine])
        engine.watch(self.socket.fileno(), acceptor, is_listener=True)

    @property
    def lane_count(self) -> int:
        """One where there is a GIL: more leaders would contend. Each has its share of threads and connections."""
        if self.lanes is not None:
            return max(min(self.lanes, self.max_threads, self.max_connections), 1)
        has_gil: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
        cores = 1 if has_gil() else os.cpu_count() or 1
        return max(min(cores, self.max_threads // THREADS_A_LANE, self.max_connections), 1)

    def stop(self) -> None:
        """Ends serving: idle connections at once, others when they have been answered.

        From any thread or signal handler, any number of times; before `serve` or `serve_forever`, it makes that return
        at once. Waits for the end, unless it is called by a thread that the end depends on.
        """
        over = self._over  # first: of a server that is started meanwhile nobody has asked to stop
        self.is_stopping = True
        self._stop_engines()
        current = threading.current_thread()
        is_needed = isinstance(current, EngineThread) and current.engine in self._engines
        if current.ident != self._serving_thread and not is_needed:
            over.wait()

    def wait(self) -> None:
        """Until serving has ended, at once where nothing is served. Not for a handler: serving would wait for it."""
        self._over.wait()

    def _stop_engines(self) -> None:
        engines, monitor = self._engines, self._monitor
        for engine in engines:
            engine.stop()
        if monitor is not None:
            monitor.wake()

    shutdown = stop

    def server_close(self) -> None:
        """Closes the listener."""
        listener, self.socket = self.socket, None
        if listener is not None:
            self._was_given = listener is not self._bound and not isinstance(listener, Listener)
            with suppress(OSError):  # somebody has closed it behind our back
                listener.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _disown(self) -> bool:
        """In a child that was forked while this serves: the parent goes on, with all that the child has copies of.

        False where nothing is served yet, or the child has the thread that will serve, and so serves as well.
        """
        if not self._engines and (self._over.is_set() or self._serving_thread == threading.get_ident()):
            return False
        self._lock, self._starting = threading.Lock(), threading.RLock()  # the parent's threads may have held them
        self.is_disowned = True
        vars(self).update(_end_connection=lambda handler: _leave(handler.connection), shutdown_request=_leave)
        for engine in self._engines:
            engine.disown()
        self._over.set()
        return True

    def _close_turner(self, turner: Any) -> None:
        if isinstance(turner, Acceptor):
            if turner.life is not self._over:
                return None  # it serves anew, and has another listener
            with self._lock:
                self._listening -= 1
                is_last = not self._listening
            return self.server_close() if is_last else None
        try:
            self._end_connection(turner)
        except Exception:
            self.handle_error(turner.connection, turner.client_address)


def _leave(connection: Any) -> None:
    """Closes a child's copy of a connection: the client is told nothing, in TLS neither."""
    getattr(connection, "sslsocket", connection).close()


_servers: "weakref.WeakValueDictionary[int, LifeCycle]" = weakref.WeakValueDictionary()  # a program's may have no hash


def all_servers() -> list[LifeCycle]:
    """Also while other threads make some."""
    return [server for reference in _servers.valuerefs() if (server := reference()) is not None]


def _begin_as_child() -> None:
    try:
        served = [server._disown() for server in all_servers()]
        if any(served):
            put_back()
    finally:
        go_on(is_child=True)


if hasattr(os, "register_at_fork"):  # for good, so once: what is registered there cannot be taken back
    os.register_at_fork(after_in_child=_begin_as_child)
