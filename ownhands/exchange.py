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
        self.head_limits = HeadLimits(self.max_target_size, self.max_head_size, self.max_fields)
        self.clock = self.server.clock
        self.unused = b""  # octets not used yet
        self.request_count = 0
        self.last_head: RequestHead | None = None  # of the last request, unless it was long
        self.exchange: Request | None = None  # the request to which an answer is owed
        self.gathering: Gathering | None = None  # its content
        self.content_stream: ContentStream | None = None  # its content, where the handler reads it as it comes
        self.stream_limit: int | None = None  # octets of it, where it is read so
        self.expects_continue = False  # whether the client waits for a 100 before it sends the content
        self.unread: Decoder | None = None  # content that is dropped as it comes
        self.content_pace: Pace | None = None
        self.send_pace: SendPace | None = None  # of the answer
        self.answer_begun: Response | None = None
        self.outgoing: Outgoing | None = None  # the answer, while the client has not taken all of it
        self.informational = b""  # informational responses that the client has not taken
        self.persistent = True  # whether the connection goes on after the answer
        self.was_refused = False  # whether more may come that nobody reads
        self.refused_line = ""  # the first line of what was no request, for the log
        self.lingering = False  # all is said, the client may still be sending and reading
        self.logs_exchanges = access_log.isEnabledFor(logging.INFO)
        is_secret = hasattr(self.connection, "getpeercert")
        self.deadline = self.clock() + (self.handshake_timeout if is_secret else self.head_timeout)

    def __repr__(self) -> str:
        request = "" if self.exchange is None else f" at {self.exchange}"
        return f"<{type(self).__name__} of {self.client_address}{request}>"

    # ---- a turn -----------------------------------------------------------------------------------------------------

    def handle(self) -> None:
        """One turn: sends what is left to send, or receives; then answers every complete request, in order."""
        try:
            if self.outgoing is not None:
                self.send_outgoing(self.outgoing)
                if self.outgoing is None:
                    self.proceed()
                return
            octets = self.connection.recv(self.receive_size)
            if not octets:
                return self.end_of_octets()
            if self.lingering:
                return
            if not self.unused:
                self.unused = octets
                return self.proceed()
            is_new = not self.unused.strip(b"\r\n")
            self.unused += octets
            if is_new or b"\n" in octets or len(self.unused) >= self.max_head_size:  # else no head is whole now
                self.proceed(is_new)
        except BlockingIOError:
            self.wants_write = self.outgoing is not None or getattr(self.connection, "wants_write", False)
        except ProtocolError as error:
            self.refuse_request(error)
        except OSError as error:
            self.client_has_gone(error)

    def proceed(self, is_new: bool = True) -> None:
        """Goes on with what has been received: heads, contents, answers, until more octets are needed."""
        while self.unused and self.outgoing is None and not self.close_connection and not self.lingering:
            if self.unread is not None:
                self.drop_content(self.unread)
            elif self.gathering is not None:
                self.take_content(self.gathering)
            elif not self.take_head():
                return self.await_head(is_new)
            is_new = True

    def await_head(self, is_new: bool) -> None:
        """More octets are needed: the deadline counts from the first, further ones do not renew it."""
        self.unused = self.unused[skip_empty_lines(self.unused):]  # or a dribble of them would be read again and again
        if is_new and self.request_count and self.unused.strip(b"\r\n"):
            self.deadline = self.clock() + self.head_timeout

    def end_of_octets(self) -> None:
        """The client sends no more. A request that is not complete is not processed (RFC 9112 8)."""
        if self.gathering is not None:
            return self.refuse_request(ProtocolError(400, "the content ended early"))
        if self.unused and self.unread is None:
            try:
                parse_request_head(self.unused, self.head_limits)  # the last octets may not have been looked at
            except ProtocolError as error:
                return self.refuse_request(error)
        self.close_connection = True

    def expire(self) -> None:
        """The client was too slow: an answer where a request has begun, else nothing is said."""
        if self.outgoing is not None and self.send_pace is not None:
            self.deadline = self.send_pace.look(self.clock(), self.connection, self.outgoing.size)
            if self.deadline > self.clock():
                return None
            log.info("%s took %d octets of an answer and then no more", self.client_address, self.outgoing.size)
        elif self.gathering is not None or self.unused.strip(b"\r\n"):
            return self.take_turn(lambda: self.refuse_request(ProtocolError(408, "the request came too slowly")))
        self.abandon()

    def refuse_turn(self) -> None:
        """All threads are busy, and were for too long: 503, unless an answer is on its way already."""
        if self.outgoing is None:
            self.take_turn(self.handle if self.lingering else self.refuse_busy)

    def refuse_busy(self) -> None:
        try:
            octets = self.connection.recv(self.receive_size)
            if not octets:
                return self.end_of_octets()
            self.unused += octets
            self.refuse_request(HTTPError(503, "too busy, try again later", retry_after=10))
        except BlockingIOError:  # a handshake that goes on: it was not the client that let time pass
            self.deadline = max(self.deadline, self.clock() + self.handshake_timeout)
            self.wants_write = getattr(self.connection, "wants_write", False)
        except OSError as error:
            self.client_has_gone(error)

    def finish(self) -> None:
        """Releases what an exchange has held. Called once, also after an error."""
        if self.outgoing is not None and self.answer_begun is not None and self.logs_exchanges:
            self.note_exchange(self.exchange, self.answer_begun, self.outgoing.size)  # an answer that was cut
        if self.outgoing is not None and self.outgoing.until_close:
            reset_on_close(self.connection)  # or it would look whole
        for held in (self.outgoing, self.gathering, self.exchange):
            if held is not None:
                held.close()
        self.outgoing = self.gathering = self.exchange = self.content_stream = None

    @property
    def is_idle(self) -> bool:
        return self.exchange is None and self.outgoing is None and not self.lingering

    # ---- receiving --------------------------------------------------------------------------------------------------

    def take_head(self) -> bool:
        """Takes a head from what was received, and answers if no content follows; False if the head is not whole."""
        head = parse_request_head(self.unused, self.head_limits, self.last_head)
        if head is None:
            return False
        self.unused = self.unused[head.end:]
        self.request_count += 1
        self.last_head = head if head.end <= KEPT_HEAD_SIZE else None
        self.exchange = request = Request(head, self.client_address, self.connection)
        if head.control.has_content:
            self.begin_content(request, head.control)
            return True
        refusal = self.ask_on_head(request)
        self.send_answer(request, self.ask_on_request(request) if refusal is None else refusal)
        return True

    def begin_content(self, request: Request, control: Control) -> None:
        """The head of a request with content: asks `on_head`, then takes the content, or begins to receive it."""
        length = control.content_length
        self.expects_continue = control.expects_continue and not self.unused
        self.stream_limit = self.max_content_size if self.stream_content else None
        refusal = self.ask_on_head(request)
        limit = self.max_content_size if self.stream_limit is None else self.stream_limit
        if refusal is None and length is not None:
            if length > limit:
                raise ProtocolError(413, "the content is too large")
            if self.stream_limit is None and length <= min(len(self.unused), self.max_memory_size):  # as most
                content, self.unused = self.unused[:length], self.unused[length:]
                request.set_content(content)
                return self.send_answer(request, self.ask_on_request(request))
        self.begin_receiving(request, length, limit, refusal)

    def begin_receiving(self, request: Request, length: int | None, limit: int, refusal: Response | None) -> None:
        """A content that has not come, or not by its end; `length` and `limit` in octets."""
        decoder: Decoder = (ChunkedDecoder(self.max_chunk_line_size, self.max_trailer_size) if length is None
                            else LengthDecoder(length))
        self.content_pace = Pace(self.clock(), 0, self.content_timeout, self.min_rate, self.rate_grace)
        if refusal is not None:
            self.unread = decoder
            try:
                self.drop_content(decoder)
            except ProtocolError:
                self.was_refused = True  # twice; the first time it was told why
            self.send_answer(request, refusal)
        elif self.stream_limit is not None:
            self.content_stream, self.unused = ContentStream(decoder, self.unused, self.receive_content, limit), b""
            request.set_content(io.BufferedReader(self.content_stream), decoder)
            answer = self.ask_on_request(request)
            if type(answer.content) is bytes:
                self.end_stream(self.content_stream)  # no more will be read, and the answer can tell what that means
            self.send_answer(request, answer)
        else:
            self.gathering = Gathering(decoder, self.max_content_size, self.max_memory_size)
            self.take_content(self.gathering)

    def stream_this(self, max_size: int) -> None:
        """For `on_head`: the content of this request is read from `request.stream` as it comes, `max_size` octets."""
        self.stream_limit = max_size

    def take_content(self, gathering: Gathering) -> None:
        """Gathers what has come, and answers when that is all."""
        request, pace = self.exchange, self.content_pace
        assert request is not None and pace is not None
        try:
            self.unused = gathering.take(self.unused)
            content = gathering.result() if gathering.decoder.complete else b""
        except OSError as error:  # no room for a temporary file
            return self.refuse_request(error)
        if not gathering.decoder.complete:
            if self.expects_continue:
                self.expects_continue = False
                self.send_informational(100)
            self.deadline = pace.deadline(self.clock(), gathering.size)
            return
        request.set_content(content, gathering.decoder)
        self.gathering = None
        self.send_answer(request, self.ask_on_request(request))

    def drop_content(self, decoder: Decoder) -> None:
        _, self.unused = decoder.decode(self.unused)
        if decoder.complete:
            self.unread = None
            self.deadline = self.clock() + self.idle_timeout

    def receive_content(self, size: int) -> bytes:
        """More of a streamed content, `size` octets of which have come: the handler's thread waits for it here."""
        pace = self.content_pace
        assert pace is not None
        if self.expects_continue and self.outgoing is None:  # a client that sees an answer waits for no 100
            self.expects_continue = False
            self.send_informational(100)
        pace.resume(self.clock())
        try:
            octets = receive(self.connection, self.receive_size, pace.deadline(self.clock(), size), self.clock)
        except OSError:
            octets = b""
        pace.pause(self.clock())
        if octets:
            return octets
        self.was_refused = True
        raise (ProtocolError(408, "the content came too slowly") if octets is None
               else ProtocolError(400, "the content ended early"))

    # ---- answering --------------------------------------------------------------------------------------------------

    def ask_on_head(self, request: Request) -> Response | None:
        """What `on_head` says: None to go on, or the answer that refuses."""
        try:
            refusal = self.on_head(request)
            return None if refusal is None else as_response(refusal).for_request(request)
        except (Exception, SystemExit) as error:
            return self.error_response(request, error)

    def ask_on_request(self, request: Request) -> Response:
        """What `on_request` says, or what `on_error` says of its error."""
        try:
            answer = self.on_request(request)
            return answer if type(answer) is Response else as_response(answer).for_request(request)
        except (Exception, SystemExit) as error:
            return self.error_response(request, error)

    def error_response(self, request: Request | None, error: BaseException) -> Response:
        """The one place where an exception becomes an answer. A traceback goes to the log, never to the client."""
        if not isinstance(error, (HTTPError, ProtocolError)):
            log.error("%s while answering %r", type(error).__name__, request, exc_info=error)
        try:
            return as_response(self.on_error(request, error))
        except (Exception, SystemExit):
            log.exception("on_error has failed on %r", request)
            return LAST_RESORT

    def send_answer(self, request: Request, response: Response) -> None:
        """Sends the answer to a request, or begins to."""
        control, content = request.head.control, response.content
        persistent = control.persistent and not self.server.is_stopping and self.request_count != self.max_requests
        if (type(content) is bytes and response.fields.is_plain and request.method not in SPECIAL
                and not self.informational and response.status not in NO_CONTENT
                and len(content) <= SMALL_SIZE and self.unread is None and not self.close_connection):
            self.persistent = persistent
            octets = encode_small(response, (b"" if control.minor != b"0" else KEEP_ALIVE) if persistent else CLOSE)
            self.send_whole(response, octets)
        else:
            self.send_framed(response, request.method, control.minor == b"0", persistent and self.can_drop_unread())

    def send_whole(self, response: Response, octets: bytes) -> None:
        """Sends an answer that is all in memory: at once, where the client takes it so."""
        try:
            sent = self.connection.send(octets) if octets else 0
        except BlockingIOError:
            sent = 0
        if sent == len(octets) or sent is None:
            self.end_exchange(response, len(octets))
        else:
            self.begin_sending(response, Outgoing(octets, size=sent))

    def send_framed(self, response: Response, method: str, is_10: bool, persistent: bool,
                    is_error: bool = False) -> None:
        """Sends an answer of any kind; what it raises before its first octet is answered with an error."""
        persistent = persistent and not self.close_connection
        try:
            outgoing, self.persistent = frame(response, method, is_10, persistent, self.connection)
        except (Exception, SystemExit) as error:
            instead = self.error_response(self.exchange, error) if not is_error else LAST_RESORT
            if self.content_stream is not None:
                self.end_stream(self.content_stream)
            return self.send_framed(instead, method, is_10, persistent and self.can_drop_unread(), is_error=True)
        self.begin_sending(response, outgoing)

    def begin_sending(self, response: Response, outgoing: Outgoing) -> None:
        self.answer_begun, self.outgoing = response, outgoing
        if self.close_connection:  # the handler has said so: when the answer is out, not before
            self.persistent = self.close_connection = False
        outgoing.prepend(self.informational)
        self.informational = b""
        self.send_pace = SendPace(self.clock(), outgoing.size, self.send_timeout, self.min_rate, self.rate_grace)
        self.send_outgoing(outgoing)

    def send_outgoing(self, outgoing: Outgoing) -> None:
        """Sends what the client takes now. A content that breaks its promise ends the connection, so it can tell."""
        assert self.send_pace is not None and self.answer_begun is not None
        self.send_pace.pause(self.clock())
        try:
            self.wants_write = not outgoing.send_some(self.connection)
        except OSError:
            raise
        except (Exception, SystemExit) as error:
            level, trace = (logging.DEBUG, None) if isinstance(error, ProtocolError) else (logging.ERROR, error)
            log.log(level, "%s while sending the answer to %r", type(error).__name__, self.exchange, exc_info=trace)
            self.close_connection = True
            return
        if self.wants_write:
            self.deadline = self.send_pace.wait(self.clock(), self.connection, outgoing.size)
        else:
            answer, self.answer_begun, self.outgoing = self.answer_begun, None, None
            outgoing.close()
            self.end_exchange(answer, outgoing.size)

    def end_exchange(self, response: Response, size: int) -> None:
        """The answer is out: on to the next request, or to the end of the connection."""
        request, self.exchange = self.exchange, None
        if self.logs_exchanges:
            self.note_exchange(request, response, size)
        if request is not None:
            request.close()
        if self.content_stream is not None:
            self.end_stream(self.content_stream)
        if self.persistent:
            self.deadline = self.clock() + (self.idle_timeout if self.unread is None else self.content_timeout)
        elif self.was_refused or self.unread is not None or self.unused or (
                request is not None and request.head.control.persistent and not self.server.is_stopping):
            self.linger()  # the client sends more, or could not know that this was its last request, so that it may
        else:
            self.close_connection = True

    def note_exchange(self, request: Request | None, response: Response, size: int) -> None:
        """Has an answer logged, whole or cut: a log that fails is no reason to end the connection."""
        try:
            self.log_exchange(request, response, size)
        except Exception:
            log.exception("log_exchange has failed on %r", request)

    def end_stream(self, stream: ContentStream) -> None:
        """What the handler has not read of a streamed content never becomes the next request."""
        self.content_stream = None
        self.unused = stream.rest
        if not stream.decoder.complete:
            self.unread = stream.decoder
            self.persistent = self.persistent and self.can_drop_unread()

    def can_drop_unread(self) -> bool:
        """Whether the rest of the content is short enough to be read and dropped (RFC 9112 9.3)."""
        return self.unread is None or (isinstance(self.unread, LengthDecoder) and not self.expects_continue
                                       and not self.was_refused and self.unread.remaining <= self.max_unread_size)

    def refuse_request(self, error: Exception) -> None:
        """Answers what is no request, or none that is served, and ends the connection so that the answer arrives."""
        was_answered = self.unread is not None and self.exchange is None
        self.was_refused = True
        if self.gathering is not None:
            self.gathering.close()
            self.gathering = None
        if was_answered:  # it is the dropped content of an earlier request that is malformed
            return self.linger()
        request = self.exchange
        is_head = self.unused.lstrip(b"\r\n").startswith(b"HEAD ")
        method = request.method if request is not None else "HEAD" if is_head else ""
        is_10 = request is None or request.head.control.minor == b"0"  # unknown: the end that all understand
        if request is None:
            self.refused_line = self.unused.lstrip(b"\r\n").partition(b"\r\n")[0][:REFUSED_SIZE].decode("latin-1")
        self.unused = b""
        try:
            self.send_framed(self.error_response(request, error), method, is_10, persistent=False)
        except OSError as gone:
            self.client_has_gone(gone)

    def linger(self) -> None:
        """RFC 9112 9.6: closing while octets arrive would reset the connection, and the answer be lost with it."""
        self.lingering, self.unused, self.unread = True, b"", None
        self.deadline = self.clock() + self.linger_timeout
        shutdown = getattr(self.connection, "shutdown", None)
        if shutdown is None:
            self.close_connection = True
        else:
            shutdown(socket.SHUT_WR)

    def send_informational(self, status: int, /, **fields: FieldArgument) -> None:
        """Sends a 1xx response before the answer, such as 103 Early Hints; not to HTTP/1.0 (RFC 9110 15.2)."""
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an informational response has a status from 100 to 199, and not 101: {status}")
        if self.outgoing is not None:
            raise RuntimeError("the answer has begun, nothing can be sent before it any more")
        if self.exchange is None or self.exchange.head.control.minor == b"0":
            return
        self.informational += encode_status_line(status) + Fields.from_keywords(fields).octets + b"\r\n"
        try:
            sent = self.connection.send(self.informational)
        except OSError:
            return  # it goes out before the answer, if the client is still there
        self.informational = self.informational[len(self.informational) if sent is None else sent:]
