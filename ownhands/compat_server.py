"""The room behind an http.server server: its listener on the engine, with the life cycle that socketserver promises.

Wires the front server, the engine and Exchanges. Refuses to know what is said on a connection.
"""
import atexit
import errno
import math
import os
import socket as sockets
import socketserver
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from . import compat_rules as rules
from .compat_exchange import Exchanges, socket_of
from .compat_output import Output
from .connection import Interrupt
from .engine import Engine
from .knobs import handler_class
from .lifecycle import all_servers
from .listener import max_descriptors, prepare
from .logs import log
from .monitor import Monitor
from .server import HTTPServer as EngineServer
from .watch import Watch

FLUSH_TICK = 0.005  # seconds between looks; what a handler has written that is at the same answer at two is sent
MAX_THREADS = 10_000  # as good as the thread for each connection that ThreadingMixIn would start
LAST_WORDS = 0.1  # seconds that handlers which are about to answer have when serve_forever ends
QUIET_TICKS = 40  # ticks without a request after which the flusher sleeps
TIMEOUTS = ("head_timeout", "content_timeout", "send_timeout", "idle_timeout")  # for all of which http.server has one
STOCK_CLOSING = (socketserver.TCPServer.shutdown_request, socketserver.TCPServer.close_request)


class LaneOfOne(Engine):
    """An engine whose one thread is the caller's of `run`. What ends the program ends it, and is kept in `raised`."""

    survives = ()
    raised: BaseException | None = None

    def run(self) -> None:
        """Until `stop` or `interrupt`. Raises KeyboardInterrupt and what `interrupt` was given."""
        self._crew.threads += 1
        try:
            self._run()
        except BaseException:
            self.cut()
            raise
        if self.raised is not None:
            raise self.raised

    def wind_up(self) -> None:
        """Closes what is left, where something has ended `run`; behind the monitor, which may have stood in."""
        if not self.has_ended:
            self._tend(self.clock())

    def interrupt(self, error: BaseException) -> None:
        """Makes `run` end and raise the error."""
        self.raised = error
        self.cut()

    def _fail(self, watch: Watch, error: BaseException) -> None:
        if isinstance(watch.turner, ServiceActions) or not isinstance(error, Exception):
            return self.interrupt(error)
        super()._fail(watch, error)


class ServiceActions:
    """Calls the front server's service_actions every `interval` seconds, as a turner whose deadline passes."""

    close_connection = False
    wants_write = is_lingering = is_paused = False
    is_idle = needs_thread = True

    def __init__(self, room: "Room", interval: float) -> None:
        self.room, self.interval = room, interval
        self.connection, self._writer = sockets.socketpair()
        self.deadline = room.clock() + interval

    def expire(self) -> None:
        self.deadline = self.room.clock() + self.interval
        if not self.room.is_busy_elsewhere():  # as in socketserver, where a request holds them up
            self.room.front.service_actions()

    take_turn = refuse_turn = expire

    def abandon(self) -> None:
        self.close_connection = True
        self._writer.close()


class Room(EngineServer):
    """Serves a front server's connections in turns. `is_serial`: one request at a time, on the caller's thread."""

    max_wait = shutdown_timeout = math.inf  # seconds; socketserver refuses nobody, and cuts nobody off

    def __init__(self, front: Any, is_serial: bool) -> None:
        found = handler_class(front.RequestHandlerClass)
        self.max_threads = min(MAX_THREADS, max_descriptors())
        timeout = getattr(found, "timeout", None)
        # It is the program's own, and all that socketserver knows: no rate besides.
        knobs = {} if timeout is None else {**dict.fromkeys(TIMEOUTS, timeout), "rate_grace": math.inf}
        self.front, self.is_serial, self.handler_timeout = front, is_serial, timeout
        super().__init__(handler=Exchanges, **knobs)
        self.daemon_threads = True
        own_expect = getattr(found, "handle_expect_100", None)
        self.asks_expect = getattr(own_expect, "__module__", "") != "http.server"
        closing = function_of(front, "shutdown_request"), function_of(front, "close_request")
        self.closes_itself = closing != STOCK_CLOSING
        self.closes = True
        self.accepts_no_more = threading.Event()
        self._accepting = threading.Lock()  # whoever accepts must not find that the listener waits again
        self.running: dict[Exchanges, Output] = {}  # the answers that handlers are at
        self.flusher_sleeps = False
        self._flusher_alarm = threading.Event()
        self._ended = False
        self.interruption: BaseException | None = None  # of serve_connection

    @property
    def socket(self) -> Any:
        """The listener is the front server's, which may wrap it by an SSLContext at any time."""
        return self.front.socket

    @socket.setter
    def socket(self, value: Any) -> None:
        pass

    @property
    def makes_opaque(self) -> bool:
        """Whether what makes handlers has to be called to know how it serves; or was changed for a classic class."""
        found = handler_class(self.front.RequestHandlerClass)
        return not isinstance(found, type) or bool(rules.handler_reasons(found))

    @property
    def setup_may_wait(self) -> bool:
        """Whether all of a connection may be served there, or a serial server calls what is its thread's."""
        return self.makes_opaque or (
            self.is_serial and function_of(self.front, "verify_request") is not socketserver.BaseServer.verify_request)

    # ---- life cycle -------------------------------------------------------------------------------------------------

    def run(self, poll_interval: float) -> None:
        """Serves until `begin_stop`; in what a handler raises to end the program, and on KeyboardInterrupt, too."""
        listener, process = self.front.socket, os.getpid()
        blocking = listener.gettimeout()
        prepare(listener)
        try:
            self.start_flusher()
            if self.is_serial:
                self._run_here(poll_interval)
            else:
                self._run_beside(poll_interval)
        except Interrupt as interrupt:
            raise original(interrupt) from None
        finally:
            self.begin_stop()
            listener = self.front.socket
            with self._accepting:
                self.accepts_no_more.set()
                if listener.fileno() >= 0 and process == os.getpid():  # a forked child's is its parent's, who goes on
                    listener.settimeout(blocking)
                    if hasattr(os, "fork"):  # other processes may accept from it, and must not come to wait
                        os.set_blocking(listener.fileno(), False)
            self._send_last()

    def _send_last(self) -> None:
        """Before the program may end, and its threads with it: sends what handlers have written so far."""
        self.send_written()
        if not self.is_serial:
            self._over.wait(LAST_WORDS)  # for handlers that are through, and whose answer is on its way

    def send_written(self) -> None:
        """From any thread: what handlers have written so far goes out, as far as their clients take it now."""
        for output in self.running.copy().values():
            output.flush_late()

    def begin_stop(self) -> None:
        """From any thread: no connection is accepted any more, idle ones are closed."""
        self.is_stopping = True
        self._stop_engines()
        self._flusher_alarm.set()

    def _run_here(self, poll_interval: float) -> None:
        connections = max(min(self.max_connections, max_descriptors()), 1)
        engine = LaneOfOne(self._close_turner, 1, connections, math.inf, True, self.clock)
        self._listen(engine)
        if has_service_actions(self.front):
            service = ServiceActions(self, poll_interval)
            engine.watch(service.connection.fileno(), service)
        self._engines, self._monitor = [engine], Monitor([engine])
        monitor = threading.Thread(target=self._monitor.run, args=(lambda: self._ended,), name="ownhands-monitor",
                                   daemon=True)
        try:
            monitor.start()
            self._serving_thread = monitor.ident  # so that no handler runs on it
            if self.is_stopping:
                engine.stop()
            engine.run()
        finally:
            self._ended = True
            self._monitor.wake()
            if monitor.ident is not None:
                monitor.join()
            try:
                engine.wind_up()
            finally:
                self._engines = []
                engine.close()

    def interrupt(self, error: BaseException) -> None:
        """A handler has raised what is to end serve_forever."""
        if self._engines and isinstance(engine := self._engines[0], LaneOfOne):
            engine.interrupt(error)
        else:
            self.interruption = error

    def is_busy_elsewhere(self) -> bool:
        """Whether the caller is the monitor of a serial room, which stands in while the one thread is in a turn."""
        return self.is_serial and threading.get_ident() == self._serving_thread

    def _run_beside(self, poll_interval: float) -> None:
        self._claim()
        try:
            self._prepare()
            self._serving_thread = None
            if not self.front.daemon_threads:
                atexit.register(self._end_with_program)
            threading.Thread(target=self._serve, name="ownhands-monitor", daemon=True).start()
        except BaseException:
            self._ended = True
            atexit.unregister(self._end_with_program)
            self._end()
            raise
        try:
            # As often as in socketserver: a signal just before an endless wait would be seen at its end only.
            while not self.accepts_no_more.wait(poll_interval):
                self.front.service_actions()
        finally:
            self.begin_stop()

    def _end_with_program(self) -> None:
        """Before the interpreter exits. The threads are daemons all the same, for those without a request never end."""
        self.begin_stop()
        self.wait()

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._ended = True
            atexit.unregister(self._end_with_program)
            self._flusher_alarm.set()
            self.accepts_no_more.set()

    def _disown(self) -> bool:
        if self._engines:
            atexit.unregister(self._end_with_program)
            for output in self.running.values():
                output.disown()
            self.running.clear()
            self._accepting = threading.Lock()  # the parent's threads may have held it, and those of the events
            self.accepts_no_more, self._flusher_alarm = threading.Event(), threading.Event()
            self.accepts_no_more.set()
            self.front._BaseServer__is_shut_down.set()
        return super()._disown()

    def server_close(self) -> None:
        """The listener stays the front server's: closing it is up to the program."""
        self.accepts_no_more.set()

    def _close_turner(self, turner: Any) -> None:
        if isinstance(turner, ServiceActions):
            turner.connection.close()
        else:
            super()._close_turner(turner)

    # ---- stages: the front server's ---------------------------------------------------------------------------------

    def get_request(self) -> tuple[Any, Any]:
        with self._accepting:
            if self.accepts_no_more.is_set():
                raise OSError(errno.EBADF, "the server has stopped")
            return self._accept()  # with the address as it is

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self.front.verify_request(socket_of(request), client_address)  # type: ignore[no-any-return]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if self.is_serial and error is not None and not isinstance(error, Exception):  # as by a signal handler
            return self.interrupt(original(error))
        self.front.handle_error(socket_of(request), client_address)

    def shutdown_request(self, request: Any) -> None:
        if not self.closes:
            return
        if not self.closes_itself:
            return super().shutdown_request(request)
        if hasattr(request, "say_goodbye"):
            request.say_goodbye()
        try:
            self.front.shutdown_request(socket_of(request))
        except Exception:
            log.exception("shutdown_request has failed")
        with suppress(AttributeError, OSError):  # a test's; or it is closed, as most are
            request.settimeout(self.handler_timeout)  # the program goes on with it; not before, for nobody leads here

    # ---- what handlers have written and not flushed -----------------------------------------------------------------

    def start_flusher(self) -> None:
        threading.Thread(target=self._flush, name="ownhands-flusher", daemon=True).start()

    def wake_flusher(self) -> None:
        """A request has begun while the flusher sleeps. From any thread."""
        self.flusher_sleeps = False
        self._flusher_alarm.set()

    def _flush(self) -> None:
        """Sends what a handler has written and not flushed, if it goes on; asleep while there are no requests."""
        seen: dict[Exchanges, Output] = {}
        quiet = 0
        while not self._ended:
            running = self.running.copy()
            for exchange, output in running.items():
                if seen.get(exchange) is output:
                    output.flush_late()
            seen = running
            quiet = 0 if running else quiet + 1
            if quiet < QUIET_TICKS:
                time.sleep(FLUSH_TICK)
                continue
            self._flusher_alarm.clear()
            self.flusher_sleeps = True
            if not self.running and not self._ended:
                self._flusher_alarm.wait()
            quiet = 0


def original(error: BaseException) -> BaseException:
    """What the handler has raised."""
    found: BaseException = error.args[0] if isinstance(error, Interrupt) else error
    return found


def function_of(front: Any, name: str) -> Any:
    """What a method is made of, be it of the class or of the object."""
    method = getattr(front, name)
    return getattr(method, "__func__", method)


def has_service_actions(front: Any) -> bool:
    return function_of(front, "service_actions") is not socketserver.BaseServer.service_actions


def serve_connection(front: Any, request: Any, client_address: Any) -> None:
    """Serves one connection on the calling thread to its end; it is the caller's to close."""
    room = Room(front, is_serial=not rules.is_threading(type(front)))
    room.closes = False
    if hasattr(request, "fileno"):
        room.start_flusher()
    try:
        room.on_connect(request, client_address)
    finally:
        room._ended = True
        room._flusher_alarm.set()
    if room.interruption is not None:
        raise original(room.interruption)


def _before_fork() -> None:
    """As in http.server what was written has been sent by then, and is not the child's to send, too."""
    for server in all_servers():
        if isinstance(server, Room):
            server.send_written()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
