"""Exchanges: the turns of a connection whose requests an http.server handler object answers.

Owns what lies between the engine's exchange and the handler's attributes. Refuses to know servers and patching.
"""
import contextlib
import contextvars
import functools
import io
import threading
from collections.abc import Callable
from typing import Any

from .answering import LAST_RESORT
from .compat_input import EndedEarly, Input, RawChunks, TooSlow
from .compat_output import Output, Written
from .connection import Interrupt, nothing, wait_until_ready, wait_until_taken
from .content import Decoder, Outgoing, send
from .exchange import ExchangeHandler
from .logs import log
from .messages import HTTPError, Request, Response
from .pace import allowance
from .parser import Control, ProtocolError

claims = threading.local()  # .exchange: whose handler object is being made on this thread


def socket_of(connection: Any) -> Any:
    """What programs know the connection as: over TLS, an ssl.SSLSocket."""
    return getattr(connection, "sslsocket", connection)


class Exchanges(ExchangeHandler):
    """Runs `do_<METHOD>` of the front server's handler class for each request, with what it writes as the answer.

    `server` is the room behind the front server. One handler object serves a connection, as in http.server; it is made
    for the first request. Content beyond `max_memory_size`, or chunked, is read by the handler as it comes.
    """

    max_content_size = 1 << 60  # octets; how much it takes is the handler's own matter, as in http.server
    max_target_size = 64 << 10  # octets, as in http.server, whose fields may be as long each
    max_head_size = 128 << 10  # octets
    _serves_any_url = True  # http.server does not look at the scheme

    def setup(self) -> None:
        super().setup()
        self.handler: Any = None
        self.output: Output | None = None
        self.is_lent = False  # whether the handler has taken the connection itself, which is in blocking mode then
        self.is_raw = False  # whether the handler has read from the connection beyond its request
        self.waited = 0.0  # seconds that the handler's thread has waited for the client, in this exchange
        self.moved = 0  # octets that it has waited for
        self.context = contextvars.Context()  # empty, as that of a thread for each connection would be
        if self.server.makes_opaque:
            self.in_context(self.make_opaque_handler)

    def in_context(self, step: Callable[[], None]) -> None:
        """Runs the program's code in a context that is this connection's own, as its thread's would be."""
        if self.server.is_serial:
            step()
        else:
            self.context.run(step)

    def take_turn(self) -> None:
        self.in_context(super().take_turn)

    def take_step(self, step: Callable[[], None]) -> None:
        self.in_context(functools.partial(super().take_step, step))

    # ---- the handler object -----------------------------------------------------------------------------------------

    def make_handler(self) -> Any:
        """Makes the handler object, which claims this exchange in its __init__; None if it did not."""
        claims.exchange = self
        try:
            self.server.front.RequestHandlerClass(self.connection, self.client_address, self.server.front)
        finally:
            claims.exchange = None
        return self.handler

    def make_opaque_handler(self) -> None:
        """A function makes the handler: one that stays on the classic path serves the whole connection in here."""
        self.connection.setblocking(True)
        if self.make_handler() is None:
            self.close_connection = True
            self.handle = nothing  # type: ignore[method-assign]  # its turn was that: only the end is left
        with contextlib.suppress(OSError):  # the handler may have closed it
            self.connection.setblocking(False)

    def _fail(self, error: BaseException) -> None:
        self.close_connection = True
        if isinstance(error, Interrupt) or (self.server.is_serial and not isinstance(error, Exception)):
            self.server.interrupt(error)
        else:
            self.report()

    def finish(self) -> None:
        super().finish()
        handler, self.handler = self.handler, None
        if handler is not None:
            try:
                handler.finish()
            except Exception:
                self.report()
        self.output = None  # it knows this object: a cycle that would wait for the collector

    def report(self) -> None:
        """Tells the front server of the exception that is being handled."""
        front = self.server.front
        try:
            front.handle_error(socket_of(self.connection), self.client_address)
        except Exception as error:
            if self.server.is_serial:
                raise Interrupt(error) from None
            log.exception("handle_error has failed")

    # ---- a request --------------------------------------------------------------------------------------------------

    def _ask_on_head(self, request: Request) -> Response | None:
        """Asks handle_expect_100 where the class has its own."""
        if not (request.head.control.expects_continue and self.server.asks_expect):
            return None
        try:
            handler = self.handler or self.make_handler()
            if handler is None or handler.protocol_version < "HTTP/1.1":
                return None
            output = self.begin(handler, request)
            self._expects_continue = False
            if not handler.handle_expect_100():
                return Written(output.end(), persistent=False)
            output.flush()
            return None
        except (Exception, SystemExit) as error:
            return self.fail(request, error)

    def begin(self, handler: Any, request: Request) -> Output:
        """Makes the handler object ready for a request, as parse_request does."""
        control, method, path = request.head.control, request.method, request.target
        if self.output is not None:  # not the first
            state = handler.__dict__
            state.pop("headers", None)
            state.pop("rfile", None)
            state.pop("raw_requestline", None)
        version = "HTTP/1.1" if control.minor == b"1" else "HTTP/1." + control.minor.decode()
        handler._served = request
        handler.command = method
        handler.requestline = f"{method} {path} {version}"
        handler.request_version = version
        handler.path = "/" + path.lstrip("/") if path.startswith("//") else path
        handler.close_connection = not control.persistent or handler.protocol_version < "HTTP/1.1"
        handler._headers_buffer = []
        self.waited, self.moved = 0.0, 0
        self.output = handler.wfile = output = Output(self, method)
        return output

    def _begin_none(self, handler: Any) -> None:
        """The same for what is no request: nothing of an earlier one is left, and the log shows what has come."""
        for name in ("headers", "rfile", "raw_requestline", "path"):
            handler.__dict__.pop(name, None)
        handler._served = handler.command = None
        handler.requestline, handler.request_version = self._refused_line, "HTTP/1.1"

    def _ask(self, request: Request, is_accepted: bool) -> Response:
        refusal = None if is_accepted else self._ask_on_head(request)
        return self._run_method(request) if refusal is None else refusal

    def _run_method(self, request: Request) -> Response:
        """Calls the handler's `do_<METHOD>`, on its own thread from when it takes long."""
        running = self.server.running
        try:
            handler = self.handler or self.make_handler()
            if handler is None:
                return Written(b"", persistent=False)
            running[self] = output = self.begin(handler, request)
            if self.server.flusher_sleeps:
                self.server.wake_flusher()
            method = getattr(handler, "do_" + request.method, None)
            if method is None:
                handler.send_error(501, f"Unsupported method ({request.method!r})")
            else:
                method()
            if handler.wfile is not output:
                handler.wfile.flush()
                if self.is_lent and (request.method == "CONNECT" or output.reader.status == 101):
                    handler._serve_on()
            octets = output.end()
        except BaseException as error:
            return self.fail(request, error)
        finally:
            running.pop(self, None)
            if self.is_lent:
                self.take_back()
        reader = output.reader
        if reader.dropped and request.method != "HEAD":
            log.warning("%s has written %d octets behind the end of its answer to %r; they are not sent",
                        type(handler).__name__, reader.dropped, request)
        return Written(octets, reader.complete and not (reader.closes or handler.close_connection or self.is_raw))

    def fail(self, request: Request, error: BaseException) -> Response:
        """The handler has raised something: it is reported as socketserver does, and answered where that can be.

        What ends the program, or the thread, leaves what was written to be sent; any other error a whole answer only.
        """
        output, self.output = self.output, None
        left = None if output is None else output.rescue(not isinstance(error, Exception))
        try:
            self._tell(error)
        except Interrupt:
            with contextlib.suppress(OSError):  # the client has gone, or takes nothing
                self.send_all(left or b"")
            raise
        if left is not None or self.server.is_disowned:  # whatever a forked child fails in, its parent answers
            return Written(left or b"", persistent=False)
        status, detail = (error.status, str(error)) if isinstance(error, (EndedEarly, TooSlow)) else (500, "")
        return self.error_page(request, status, detail)

    def _tell(self, error: BaseException) -> None:
        """Raises Interrupt where the error is to end serve_forever."""
        if self.server.is_serial and not isinstance(error, Exception):
            raise Interrupt(error) from None
        if isinstance(error, (TimeoutError, EndedEarly)) and self.handler is not None:
            self.handler.log_error("Request timed out: %r" if isinstance(error, TimeoutError) else "%s", error)
        elif not isinstance(error, SystemExit):
            self.report()

    def error_page(self, request: Request | None, status: int, detail: str) -> Response:
        """The answer that the handler's send_error gives; a plain one where its thread is busy with another."""
        if self.server.is_busy_elsewhere():
            return Response(f"{status} {detail}\n", status)
        try:
            handler = self.handler or self.make_handler()
            if handler is None:
                return Written(b"", persistent=False)
            if request is None:
                self._begin_none(handler)
            elif handler._served is not request:
                self.begin(handler, request)  # its content has not come, so that no method has been called
            handler._headers_buffer = []
            handler.wfile = output = Output(self, request.method if request is not None else "")
            handler.send_error(status, *([detail] if detail else []))
            handler.close_connection = True
            return Written(output.end(), persistent=False)
        except Exception:
            self.report()
            return Response(f"{status} {detail}\n", status)

    def on_error(self, request: Request | None, error: BaseException) -> Response:
        if isinstance(error, (HTTPError, ProtocolError)):
            return self.error_page(request, error.status, error.detail)
        return LAST_RESORT

    def log_exchange(self, request: Request | None, response: Response, size: int) -> None:
        """The handler has logged it: send_response does."""

    # ---- its content ------------------------------------------------------------------------------------------------

    def _begin_content(self, request: Request, control: Control) -> None:
        """Gathers a small content; any other is read by the handler."""
        length = control.content_length
        self.stream_content = length is None or length > self.max_memory_size
        super()._begin_content(request, control)

    def _decoder_for(self, length: int | None) -> Decoder:
        decoder = super()._decoder_for(length)
        return RawChunks(decoder) if length is None else decoder

    def open_content(self, request: Request) -> Any:
        """The rfile of a request, made when the handler asks for it."""
        stream = None if self._reception is None else self._reception.stream
        if stream is None and not request.content:
            self.is_raw = request.method == "CONNECT" or (
                b"upgrade" in request.head.section.lower() and "Upgrade" in request.fields)
        return io.BufferedReader(Input(io.BytesIO(request.content) if stream is None else stream, self))

    def _receive_content(self, size: int) -> bytes:
        """As octets come; only the time counts that was spent waiting for the client, not the handler's own."""
        if self._expects_continue and self.output is not None:
            self.output.send_continue()
        octets = self.wait_for(lambda: self.connection.recv(self.receive_size), False, self.content_timeout)
        self.moved += len(octets)
        if not octets:
            self._was_refused = True
            raise EndedEarly("the content ended early")
        return octets  # type: ignore[no-any-return]

    def receive_behind(self, size: int) -> bytes:
        """What comes behind the content of a request, at most `size` octets; the handler's thread waits for it.

        Only where the request may change the protocol, or the handler has begun its answer or taken the connection, and
        so waits for more, or to see the client leave. What is received is no request: the connection has left HTTP.
        """
        if not (self.is_raw or self.is_lent or (self.output is not None and self.output.has_begun)):
            return b""
        self.is_raw = True
        self.lend()
        if self._reception is not None and self._reception.stream is not None:
            stream = self._reception.stream
            self._unused, stream.rest = self._unused + stream.rest, b""
        received = self._unused or self.connection.recv(size)  # which over TLS may be more
        self._unused = received[size:]
        return received[:size]

    # ---- for Output, on any thread ----------------------------------------------------------------------------------

    def take_continue(self) -> bytes:
        if not self._expects_continue:
            return b""
        self._expects_continue = False
        return b"HTTP/1.1 100 Continue\r\n\r\n"

    def send_some(self, octets: bytes) -> int:
        if self._informational:  # comes first, see below
            return 0
        try:
            return send(self.connection, octets)
        except BlockingIOError:
            return 0

    def send_all(self, octets: bytes) -> None:
        if self._informational:
            octets, self._informational = self._informational + octets, b""
        rest = memoryview(octets)
        while rest:
            sent = self.wait_for(lambda: send(self.connection, rest), True, self.send_timeout)  # noqa: B023
            self.moved += sent
            rest = rest[sent:]

    def wait_for(self, act: Callable[[], Any], for_writing: bool, timeout: float) -> Any:
        """What `act` gives, once the connection is ready for it; raises TimeoutError."""
        while True:
            try:
                return act()
            except BlockingIOError:
                started = self._clock()
                allowed = min(timeout, allowance(self.moved, self.min_rate, self.rate_grace) - self.waited)
                is_ready = (wait_until_taken(self.connection, allowed) if for_writing else wait_until_ready(
                    self.connection, getattr(self.connection, "recv_wants_write", False), allowed))
                self.waited += self._clock() - started
                if not is_ready:
                    self._was_refused = True
                    raise TooSlow("the client was too slow") from None

    # ---- the connection itself --------------------------------------------------------------------------------------

    def lend_descriptor(self) -> int:
        self.lend()
        return self.connection.fileno()  # type: ignore[no-any-return]

    def lend_to_read(self) -> int:
        """The descriptor, for who reads behind the request himself."""
        if self._exchange is not None and self._exchange.head.control.has_content:
            raise io.UnsupportedOperation("the content is received apart, it has no descriptor")
        self.is_raw = True
        return self.lend_descriptor()

    def lend(self) -> Any:
        """Gives the socket to the handler, in blocking mode as in http.server. Its answer has been sent so far."""
        if self.output is not None:
            self.output.let_go()
        if not self.is_lent:
            self.is_lent = True
            self.connection.settimeout(self.server.handler_timeout)
        return socket_of(self.connection)

    def take_back(self) -> None:
        self.is_lent = False
        for name in ("connection", "request"):
            self.handler.__dict__.pop(name, None)
        try:
            self.connection.setblocking(False)
        except OSError:  # the handler has closed it
            self.is_raw = True

    # ---- sending ----------------------------------------------------------------------------------------------------

    def _send_answer(self, request: Request, response: Response) -> None:
        if type(response) is not Written:
            return super()._send_answer(request, response)
        octets = response.octets
        self._persistent = (response.persistent and not self.server.is_stopping and self._can_drop_unread()
                           and self._request_count != self.max_requests)
        if self._informational:
            return self._begin_sending(response, Outgoing(octets))
        if not octets:  # what was written has been flushed
            return self._end_exchange(response, 0)
        self._send_whole(response, octets)

    def _send_framed(self, response: Response, method: str, is_10: bool, persistent: bool,
                     is_error: bool = False) -> None:
        if type(response) is not Written:
            return super()._send_framed(response, method, is_10, persistent, is_error)
        self._persistent = False
        self._begin_sending(response, Outgoing(response.octets))

    def _linger(self) -> None:
        """Only where something may have come, or come still, that nobody reads: the client was told of the end."""
        if self._was_refused or self._unread is not None or self._unused:
            super()._linger()
        else:
            self.close_connection = True
