"""HTTP on one connection: octets received become requests, answers become octets sent, a turn at a time.

Owns all state of one connection. Refuses to know what a request is for: it asks the hooks, see handler.py.
"""
import io
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .connection import ConnectionHandler, log, receive, reset_on_close
from .content import ChunkedDecoder, ContentStream, Decoder, Gathering, LengthDecoder, Outgoing
from .fields import FieldArgument, Fields
from .framing import CLOSE, KEEP_ALIVE, NO_CONTENT, SMALL_SIZE, encode_small, frame
from .limits import Limits
from .messages import HTTPError, Request, Response, as_response
from .pace import Pace, SendPace
from .parser import (
    Control,
    HeadLimits,
    ProtocolError,
    RequestHead,
    encode_status_line,
    parse_request_head,
    skip_empty_lines,
)

SPECIAL = frozenset(["HEAD", "CONNECT"])  # methods whose answers are framed in their own way
access_log = logging.getLogger("ownhands.access")
KEPT_HEAD_SIZE = 4 << 10  # octets of a head that are kept, for the next one may be the same
REFUSED_SIZE = 256  # octets of a refused line that are logged
LAST_RESORT = Response("500 Internal Server Error\n", 500)  # where on_error fails too


class ExchangeHandler(Limits, ConnectionHandler):
    """The turns of an HTTP/1.1 connection. Users subclass RequestHandler, which adds the hooks."""

    if TYPE_CHECKING:  # the hooks, see handler.py
        on_head: Callable[[Request], Any]
        on_request: Callable[[Request], Any]
        on_error: Callable[[Request | None, BaseException], Any]
        log_exchange: Callable[[Request | None, Response, int], None]

    def setup(self) -> None:
        self.close_connection = False
        self._head_limits = HeadLimits(self.max_target_size, self.max_head_size, self.max_fields)
        self._clock = self.server.clock
        self._unused = b""  # octets not used yet
        self._request_count = 0
        self._last_head: RequestHead | None = None  # of the last request, unless it was long
        self._exchange: Request | None = None  # the request to which an answer is owed
        self._gathering: Gathering | None = None  # its content
        self._content_stream: ContentStream | None = None  # its content, where the handler reads it as it comes
        self._stream_limit: int | None = None  # octets of it, where it is read so
        self._expects_continue = False  # whether the client waits for a 100 before it sends the content
        self._unread: Decoder | None = None  # content that is dropped as it comes
        self._content_pace: Pace | None = None
        self._send_pace: SendPace | None = None  # of the answer
        self._answer_begun: Response | None = None
        self._outgoing: Outgoing | None = None  # the answer, while the client has not taken all of it
        self._informational = b""  # informational responses that the client has not taken
        self._persistent = True  # whether the connection goes on after the answer
        self._was_refused = False  # whether more may come that nobody reads
        self._refused_line = ""  # the first line of what was no request, for the log
        self._lingering = False  # all is said, the client may still be sending and reading
        self._logs_exchanges = access_log.isEnabledFor(logging.INFO)
        is_secret = hasattr(self.connection, "getpeercert")
        self.deadline = self._clock() + (self.handshake_timeout if is_secret else self.head_timeout)

    def __repr__(self) -> str:
        request = "" if self._exchange is None else f" at {self._exchange}"
        return f"<{type(self).__name__} of {self.client_address}{request}>"

    # ---- a turn -----------------------------------------------------------------------------------------------------

    def handle(self) -> None:
        """One turn: sends what is left to send, or receives; then answers every complete request, in order."""
        try:
            if self._outgoing is not None:
                self._send_outgoing(self._outgoing)
                if self._outgoing is None:
                    self._proceed()
                return
            octets = self.connection.recv(self.receive_size)
            if not octets:
                return self._end_of_octets()
            if self._lingering:
                return
            if not self._unused:
                self._unused = octets
                return self._proceed()
            is_new = not self._unused.strip(b"\r\n")
            self._unused += octets
            if is_new or b"\n" in octets or len(self._unused) >= self.max_head_size:  # else no head is whole now
                self._proceed(is_new)
        except BlockingIOError:
            self.wants_write = self._outgoing is not None or getattr(self.connection, "wants_write", False)
        except ProtocolError as error:
            self._refuse_request(error)
        except OSError as error:
            self.client_has_gone(error)

    def _proceed(self, is_new: bool = True) -> None:
        """Goes on with what has been received: heads, contents, answers, until more octets are needed."""
        while self._unused and self._outgoing is None and not self.close_connection and not self._lingering:
            if self._unread is not None:
                self._drop_content(self._unread)
            elif self._gathering is not None:
                self._take_content(self._gathering)
            elif not self._take_head():
                return self._await_head(is_new)
            is_new = True

    def _await_head(self, is_new: bool) -> None:
        """More octets are needed: the deadline counts from the first, further ones do not renew it."""
        self._unused = self._unused[skip_empty_lines(self._unused):]  # or a dribble would be read again and again
        if is_new and self._request_count and self._unused.strip(b"\r\n"):
            self.deadline = self._clock() + self.head_timeout

    def _end_of_octets(self) -> None:
        """The client sends no more. A request that is not complete is not processed (RFC 9112 8)."""
        if self._gathering is not None:
            return self._refuse_request(ProtocolError(400, "the content ended early"))
        if self._unused and self._unread is None:
            try:
                parse_request_head(self._unused, self._head_limits)  # the last octets may not have been looked at
            except ProtocolError as error:
                return self._refuse_request(error)
        self.close_connection = True

    def expire(self) -> None:
        """The client was too slow: an answer where a request has begun, else nothing is said."""
        if self._outgoing is not None and self._send_pace is not None:
            self.deadline = self._send_pace.look(self._clock(), self.connection, self._outgoing.size)
            if self.deadline > self._clock():
                return None
            log.info("%s took %d octets of an answer and then no more", self.client_address, self._outgoing.size)
        elif self._gathering is not None or self._unused.strip(b"\r\n"):
            return self.take_turn(lambda: self._refuse_request(ProtocolError(408, "the request came too slowly")))
        self.abandon()

    def refuse_turn(self) -> None:
        """All threads are busy, and were for too long: 503, unless an answer is on its way already."""
        if self._outgoing is None:
            self.take_turn(self.handle if self._lingering else self._refuse_busy)

    def _refuse_busy(self) -> None:
        try:
            octets = self.connection.recv(self.receive_size)
            if not octets:
                return self._end_of_octets()
            self._unused += octets
            self._refuse_request(HTTPError(503, "too busy, try again later", retry_after=10))
        except BlockingIOError:  # a handshake that goes on: it was not the client that let time pass
            self.deadline = max(self.deadline, self._clock() + self.handshake_timeout)
            self.wants_write = getattr(self.connection, "wants_write", False)
        except OSError as error:
            self.client_has_gone(error)

    def finish(self) -> None:
        """Releases what an exchange has held. Called once, also after an error."""
        if self._outgoing is not None and self._answer_begun is not None and self._logs_exchanges:
            self._note_exchange(self._exchange, self._answer_begun, self._outgoing.size)  # an answer that was cut
        if self._outgoing is not None and self._outgoing.until_close:
            reset_on_close(self.connection)  # or it would look whole
        for held in (self._outgoing, self._gathering, self._exchange):
            if held is not None:
                held.close()
        self._outgoing = self._gathering = self._exchange = self._content_stream = None

    @property
    def is_idle(self) -> bool:
        return self._exchange is None and self._outgoing is None and not self._lingering

    # ---- receiving --------------------------------------------------------------------------------------------------

    def _take_head(self) -> bool:
        """Takes a head from what was received, and answers if no content follows; False if the head is not whole."""
        head = parse_request_head(self._unused, self._head_limits, self._last_head)
        if head is None:
            return False
        self._unused = self._unused[head.end:]
        self._request_count += 1
        self._last_head = head if head.end <= KEPT_HEAD_SIZE else None
        self._exchange = request = Request(head, self.client_address, self.connection)
        if head.control.has_content:
            self._begin_content(request, head.control)
            return True
        refusal = self._ask_on_head(request)
        self._send_answer(request, self._ask_on_request(request) if refusal is None else refusal)
        return True

    def _begin_content(self, request: Request, control: Control) -> None:
        """The head of a request with content: asks `on_head`, then takes the content, or begins to receive it."""
        length = control.content_length
        self._expects_continue = control.expects_continue and not self._unused
        self._stream_limit = self.max_content_size if self.stream_content else None
        refusal = self._ask_on_head(request)
        limit = self.max_content_size if self._stream_limit is None else self._stream_limit
        if refusal is None and length is not None:
            if length > limit:
                raise ProtocolError(413, "the content is too large")
            if self._stream_limit is None and length <= min(len(self._unused), self.max_memory_size):  # as most
                content, self._unused = self._unused[:length], self._unused[length:]
                request.set_content(content)
                return self._send_answer(request, self._ask_on_request(request))
        self._begin_receiving(request, length, limit, refusal)

    def _begin_receiving(self, request: Request, length: int | None, limit: int, refusal: Response | None) -> None:
        """A content that has not come, or not by its end; `length` and `limit` in octets."""
        decoder: Decoder = (ChunkedDecoder(self.max_chunk_line_size, self.max_trailer_size) if length is None
                            else LengthDecoder(length))
        self._content_pace = Pace(self._clock(), 0, self.content_timeout, self.min_rate, self.rate_grace)
        if refusal is not None:
            self._unread = decoder
            try:
                self._drop_content(decoder)
            except ProtocolError:
                self._was_refused = True  # twice; the first time it was told why
            self._send_answer(request, refusal)
        elif self._stream_limit is not None:
            self._content_stream, self._unused = ContentStream(decoder, self._unused, self._receive_content, limit), b""
            request.set_content(io.BufferedReader(self._content_stream), decoder)
            answer = self._ask_on_request(request)
            if type(answer.content) is bytes:
                self._end_stream(self._content_stream)  # no more will be read, and the answer can tell what that means
            self._send_answer(request, answer)
        else:
            self._gathering = Gathering(decoder, self.max_content_size, self.max_memory_size)
            self._take_content(self._gathering)

    def stream_this(self, max_size: int) -> None:
        """For `on_head`: the content of this request is read from `request.stream` as it comes, `max_size` octets."""
        self._stream_limit = max_size

    def _take_content(self, gathering: Gathering) -> None:
        """Gathers what has come, and answers when that is all."""
        request, pace = self._exchange, self._content_pace
        assert request is not None and pace is not None
        try:
            self._unused = gathering.take(self._unused)
            content = gathering.result() if gathering.decoder.complete else b""
        except OSError as error:  # no room for a temporary file
            return self._refuse_request(error)
        if not gathering.decoder.complete:
            if self._expects_continue:
                self._expects_continue = False
                self.send_informational(100)
            self.deadline = pace.deadline(self._clock(), gathering.size)
            return
        request.set_content(content, gathering.decoder)
        self._gathering = None
        self._send_answer(request, self._ask_on_request(request))

    def _drop_content(self, decoder: Decoder) -> None:
        _, self._unused = decoder.decode(self._unused)
        if decoder.complete:
            self._unread = None
            self.deadline = self._clock() + self.idle_timeout

    def _receive_content(self, size: int) -> bytes:
        """More of a streamed content, `size` octets of which have come: the handler's thread waits for it here."""
        pace = self._content_pace
        assert pace is not None
        if self._expects_continue and self._outgoing is None:  # a client that sees an answer waits for no 100
            self._expects_continue = False
            self.send_informational(100)
        pace.resume(self._clock())
        try:
            octets = receive(self.connection, self.receive_size, pace.deadline(self._clock(), size), self._clock)
        except OSError:
            octets = b""
        pace.pause(self._clock())
        if octets:
            return octets
        self._was_refused = True
        raise (ProtocolError(408, "the content came too slowly") if octets is None
               else ProtocolError(400, "the content ended early"))

    # ---- answering --------------------------------------------------------------------------------------------------

    def _ask_on_head(self, request: Request) -> Response | None:
        """What `on_head` says: None to go on, or the answer that refuses."""
        try:
            refusal = self.on_head(request)
            return None if refusal is None else as_response(refusal).for_request(request)
        except (Exception, SystemExit) as error:
            return self._error_response(request, error)

    def _ask_on_request(self, request: Request) -> Response:
        """What `on_request` says, or what `on_error` says of its error."""
        try:
            answer = self.on_request(request)
            return answer if type(answer) is Response else as_response(answer).for_request(request)
        except (Exception, SystemExit) as error:
            return self._error_response(request, error)

    def _error_response(self, request: Request | None, error: BaseException) -> Response:
        """The one place where an exception becomes an answer. A traceback goes to the log, never to the client."""
        if not isinstance(error, (HTTPError, ProtocolError)):
            log.error("%s while answering %r", type(error).__name__, request, exc_info=error)
        try:
            return as_response(self.on_error(request, error))
        except (Exception, SystemExit):
            log.exception("on_error has failed on %r", request)
            return LAST_RESORT

    def _send_answer(self, request: Request, response: Response) -> None:
        """Sends the answer to a request, or begins to."""
        control, content = request.head.control, response.content
        persistent = control.persistent and not self.server.is_stopping and self._request_count != self.max_requests
        if (type(content) is bytes and response.fields.is_plain and request.method not in SPECIAL
                and not self._informational and response.status not in NO_CONTENT
                and len(content) <= SMALL_SIZE and self._unread is None and not self.close_connection):
            self._persistent = persistent
            octets = encode_small(response, (b"" if control.minor != b"0" else KEEP_ALIVE) if persistent else CLOSE)
            self._send_whole(response, octets)
        else:
            self._send_framed(response, request.method, control.minor == b"0", persistent and self._can_drop_unread())

    def _send_whole(self, response: Response, octets: bytes) -> None:
        """Sends an answer that is all in memory: at once, where the client takes it so."""
        try:
            sent = self.connection.send(octets) if octets else 0
        except BlockingIOError:
            sent = 0
        if sent == len(octets) or sent is None:
            self._end_exchange(response, len(octets))
        else:
            self._begin_sending(response, Outgoing(octets, size=sent))

    def _send_framed(self, response: Response, method: str, is_10: bool, persistent: bool,
                    is_error: bool = False) -> None:
        """Sends an answer of any kind; what it raises before its first octet is answered with an error."""
        persistent = persistent and not self.close_connection
        try:
            outgoing, self._persistent = frame(response, method, is_10, persistent, self.connection)
        except (Exception, SystemExit) as error:
            instead = self._error_response(self._exchange, error) if not is_error else LAST_RESORT
            if self._content_stream is not None:
                self._end_stream(self._content_stream)
            return self._send_framed(instead, method, is_10, persistent and self._can_drop_unread(), is_error=True)
        self._begin_sending(response, outgoing)

    def _begin_sending(self, response: Response, outgoing: Outgoing) -> None:
        self._answer_begun, self._outgoing = response, outgoing
        if self.close_connection:  # the handler has said so: when the answer is out, not before
            self._persistent = self.close_connection = False
        outgoing.prepend(self._informational)
        self._informational = b""
        self._send_pace = SendPace(self._clock(), outgoing.size, self.send_timeout, self.min_rate, self.rate_grace)
        self._send_outgoing(outgoing)

    def _send_outgoing(self, outgoing: Outgoing) -> None:
        """Sends what the client takes now. A content that breaks its promise ends the connection, so it can tell."""
        assert self._send_pace is not None and self._answer_begun is not None
        self._send_pace.pause(self._clock())
        try:
            self.wants_write = not outgoing.send_some(self.connection)
        except OSError:
            raise
        except (Exception, SystemExit) as error:
            level, trace = (logging.DEBUG, None) if isinstance(error, ProtocolError) else (logging.ERROR, error)
            log.log(level, "%s while sending the answer to %r", type(error).__name__, self._exchange, exc_info=trace)
            self.close_connection = True
            return
        if self.wants_write:
            self.deadline = self._send_pace.wait(self._clock(), self.connection, outgoing.size)
        else:
            answer, self._answer_begun, self._outgoing = self._answer_begun, None, None
            outgoing.close()
            self._end_exchange(answer, outgoing.size)

    def _end_exchange(self, response: Response, size: int) -> None:
        """The answer is out: on to the next request, or to the end of the connection."""
        request, self._exchange = self._exchange, None
        if self._logs_exchanges:
            self._note_exchange(request, response, size)
        if request is not None:
            request.close()
        if self._content_stream is not None:
            self._end_stream(self._content_stream)
        if self._persistent:
            self.deadline = self._clock() + (self.idle_timeout if self._unread is None else self.content_timeout)
        elif self._was_refused or self._unread is not None or self._unused or (
                request is not None and request.head.control.persistent and not self.server.is_stopping):
            self._linger()  # the client sends more, or could not know that this was its last request, so that it may
        else:
            self.close_connection = True

    def _note_exchange(self, request: Request | None, response: Response, size: int) -> None:
        """Has an answer logged, whole or cut: a log that fails is no reason to end the connection."""
        try:
            self.log_exchange(request, response, size)
        except Exception:
            log.exception("log_exchange has failed on %r", request)

    def _end_stream(self, stream: ContentStream) -> None:
        """What the handler has not read of a streamed content never becomes the next request."""
        self._content_stream = None
        self._unused = stream.rest
        if not stream.decoder.complete:
            self._unread = stream.decoder
            self._persistent = self._persistent and self._can_drop_unread()

    def _can_drop_unread(self) -> bool:
        """Whether the rest of the content is short enough to be read and dropped (RFC 9112 9.3)."""
        return self._unread is None or (isinstance(self._unread, LengthDecoder) and not self._expects_continue
                                       and not self._was_refused and self._unread.remaining <= self.max_unread_size)

    def _refuse_request(self, error: Exception) -> None:
        """Answers what is no request, or none that is served, and ends the connection so that the answer arrives."""
        was_answered = self._unread is not None and self._exchange is None
        self._was_refused = True
        if self._gathering is not None:
            self._gathering.close()
            self._gathering = None
        if was_answered:  # it is the dropped content of an earlier request that is malformed
            return self._linger()
        request = self._exchange
        is_head = self._unused.lstrip(b"\r\n").startswith(b"HEAD ")
        method = request.method if request is not None else "HEAD" if is_head else ""
        is_10 = request is None or request.head.control.minor == b"0"  # unknown: the end that all understand
        if request is None:
            self._refused_line = self._unused.lstrip(b"\r\n").partition(b"\r\n")[0][:REFUSED_SIZE].decode("latin-1")
        self._unused = b""
        try:
            self._send_framed(self._error_response(request, error), method, is_10, persistent=False)
        except OSError as gone:
            self.client_has_gone(gone)

    def _linger(self) -> None:
        """RFC 9112 9.6: closing while octets arrive would reset the connection, and the answer be lost with it."""
        self._lingering, self._unused, self._unread = True, b"", None
        self.deadline = self._clock() + self.linger_timeout
        shutdown = getattr(self.connection, "shutdown", None)
        if shutdown is None:
            self.close_connection = True
        else:
            shutdown(socket.SHUT_WR)

    def send_informational(self, status: int, /, **fields: FieldArgument) -> None:
        """Sends a 1xx response before the answer, such as 103 Early Hints; not to HTTP/1.0 (RFC 9110 15.2)."""
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an informational response has a status from 100 to 199, and not 101: {status}")
        if self._outgoing is not None:
            raise RuntimeError("the answer has begun, nothing can be sent before it any more")
        if self._exchange is None or self._exchange.head.control.minor == b"0":
            return
        self._informational += encode_status_line(status) + Fields.from_keywords(fields).octets + b"\r\n"
        try:
            sent = self.connection.send(self._informational)
        except OSError:
            return  # it goes out before the answer, if the client is still there
        self._informational = self._informational[len(self._informational) if sent is None else sent:]
