"""Answers on one connection: what the hooks say becomes octets sent, in as many turns as the client needs.

Owns all state of one connection. Refuses to know how requests are received: exchange.py does.
"""
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .connection import INTERRUPTS, ConnectionHandler
from .content import Decoder, LengthDecoder, Outgoing, send
from .fields import FieldArgument, Fields
from .framing import CLOSE, KEEP_ALIVE, SMALL_SIZE, encode_small, frame
from .limits import Limits
from .logs import access_log, log
from .messages import HTTPError, Request, Response, as_response, response_to
from .pace import SendPace, taken, unacknowledged
from .parser import Control, ProtocolError, RequestHead, encode_status_line
from .reception import Reception

SPECIAL = frozenset(["HEAD", "CONNECT"])  # methods whose answers are framed in their own way
REFUSED_SIZE = 256  # octets of a refused line that are logged
LAST_RESORT = Response("500 Internal Server Error\n", 500)  # where on_error fails too


class AnsweringHandler(Limits, ConnectionHandler):
    """The state of an HTTP/1.1 connection, and the half of its turns that answers."""

    if TYPE_CHECKING:  # the hooks, see handler.py
        on_head: Callable[[Request], Any]
        on_request: Callable[[Request], Any]
        on_error: Callable[[Request | None, BaseException], Any]
        log_exchange: Callable[[Request | None, Response, int], None]

    def setup(self) -> None:
        self.close_connection = False
        self._clock = self.server.clock
        self._unused = b""  # octets not used yet
        self._is_behind = False  # whether there may be whole requests among them
        self._request_count = 0
        self._last_head: RequestHead | None = None  # of the last request, unless it was long
        self._exchange: Request | None = None  # the request to which an answer is owed
        self._reception: Reception | None = None  # its content, while that has not all come
        self._expects_continue = False  # whether the client waits for a 100 before it sends the content
        self._unread: Decoder | None = None  # content that is dropped as it comes
        self._outgoing: Outgoing | None = None  # the answer, while the client has not taken all of it
        self._informational = b""  # informational responses that the client has not taken
        self._persistent = True  # whether the connection goes on after the answer, unless the server stops
        self._was_refused = False  # whether more may come that nobody reads
        self._refused_line = ""  # the first line of what was no request, for the log
        self._logs_exchanges = access_log.isEnabledFor(logging.INFO)
        is_tls = hasattr(self.connection, "getpeercert")
        self.deadline = self._clock() + (self.handshake_timeout if is_tls else self.head_timeout)

    def __repr__(self) -> str:
        request = "" if self._exchange is None else f" at {self._exchange}"
        return f"<{type(self).__name__} of {self.client_address}{request}>"

    def finish(self) -> None:
        """Releases what an exchange has held. Called once, also after an error."""
        if self._exchange is not None or self._outgoing is not None:
            self._abandon_exchange()

    def _abandon_exchange(self) -> None:
        outgoing = self._outgoing
        if outgoing is not None:
            if self._logs_exchanges:
                self._note_exchange(self._exchange, outgoing.response, outgoing.size)  # an answer that was cut
            if outgoing.until_close:
                self._end_in_reset()  # or it would look whole
        for held in (outgoing, self._reception, self._exchange):
            if held is not None:
                held.close()
        self._outgoing = self._reception = self._exchange = None

    def cut(self) -> None:
        if (outgoing := self._outgoing) is not None and outgoing.until_close:
            self._end_in_reset()  # behind the turn, or it would look whole
        else:
            super().cut()

    @property
    def is_idle(self) -> bool:
        return self._exchange is None and self._outgoing is None and not self.is_lingering and not self._is_behind

    # ---- asking the hooks -------------------------------------------------------------------------------------------

    def _ask_on_head(self, request: Request) -> Response | None:
        """What `on_head` says: None to go on, or the answer that refuses."""
        try:
            refusal = self.on_head(request)
            return None if refusal is None else as_response(refusal).for_request(request)
        except INTERRUPTS:
            raise
        except BaseException as error:
            return self._error_response(request, error)

    def _ask(self, request: Request, is_accepted: bool) -> Response:
        """What `on_head` says, unless it has accepted, then `on_request`, or what `on_error` says of their errors."""
        try:
            answer = None if is_accepted else self.on_head(request)
            if answer is None:
                answer = self.on_request(request)
            return answer if type(answer) is Response else as_response(answer).for_request(request)
        except INTERRUPTS:
            raise
        except BaseException as error:
            return self._error_response(request, error)

    def _error_response(self, request: Request | None, error: BaseException) -> Response:
        """The one place where an exception becomes an answer. A traceback goes to the log, never to the client."""
        if getattr(self.server, "is_disowned", False):  # whatever a forked child fails in, its parent answers
            raise error
        if not isinstance(error, (HTTPError, ProtocolError)):
            log.error("%s while answering %r", type(error).__name__, request, exc_info=error)
        try:
            answer = self.on_error(request, error)
            if isinstance(answer, (str, bytes)):
                return response_to(error, answer)
            return as_response(answer)
        except INTERRUPTS:
            raise
        except BaseException:
            log.exception("on_error has failed on %r", request)
            return LAST_RESORT

    # ---- sending ----------------------------------------------------------------------------------------------------

    def send_informational(self, status: int, /, **fields: FieldArgument) -> None:
        """Sends a 1xx response before the answer, such as 103 Early Hints; not to HTTP/1.0 (RFC 9110 15.2).

        Raises ValueError for another status, and for what cannot stand there; RuntimeError when the answer has begun.
        """
        self.send_interim(status, Fields.from_keywords(fields))

    def send_interim(self, status: int, fields: Fields) -> None:
        """`send_informational` for fields of any name; raises the same."""
        if not 100 <= status <= 199 or status == 101:
            raise ValueError(f"an informational response has a status from 100 to 199, and not 101: {status}")
        if "Content-Length" in fields or "Transfer-Encoding" in fields:  # RFC 9110 8.6, RFC 9112 6.1
            raise ValueError("an informational response has no content, and no field that frames one")
        if self._outgoing is not None:
            raise RuntimeError("the answer has begun, nothing can be sent before it any more")
        if self._exchange is None or self._exchange.head.control.is_10:
            return
        self._informational += encode_status_line(status) + fields.octets + b"\r\n"
        try:
            self._informational = self._informational[send(self.connection, self._informational):]
        except OSError:
            pass  # it goes out before the answer, if the client is still there

    def _send_answer(self, request: Request, response: Response) -> None:
        """Sends the answer to a request, or begins to."""
        head, content = request.head, response.content  # what a handler makes of `request.method` is its own affair
        control, method = head.control, head.method
        persistent = self._persistent and not self.server.is_stopping
        if (type(content) is bytes and method not in SPECIAL and not self._informational
                and self._unread is None and not self.close_connection):
            octets = encode_small(response, (KEEP_ALIVE if control.is_10 else b"") if persistent else CLOSE)
            if octets:
                self._persistent = persistent
                return self._send_whole(response, octets)
        self._send_framed(response, method, control.is_10, persistent and self._can_drop_unread())

    def _send_whole(self, response: Response, octets: bytes) -> None:
        """Sends an answer that is all in memory: at once, where the client takes it so."""
        try:
            sent = self.connection.send(octets)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._outgoing = Outgoing(octets)  # none of which was sent: that is logged
            self._outgoing.response = response
            raise
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
        except INTERRUPTS:
            raise
        except BaseException as error:
            instead = self._error_response(self._exchange, error) if not is_error else LAST_RESORT
            if self._reception is not None:
                self._end_stream(self._reception)
            return self._send_framed(instead, method, is_10, persistent and self._can_drop_unread(), is_error=True)
        self._begin_sending(response, outgoing)

    def _begin_sending(self, response: Response, outgoing: Outgoing) -> None:
        self._outgoing, outgoing.response = outgoing, response
        self._put_off_close()
        outgoing.prepend(self._informational)
        self._informational = b""
        # Octets of earlier answers may be under way.
        offset = taken(self.connection, outgoing.size, unacknowledged(self.connection))
        outgoing.pace = SendPace(self._clock(), offset, self.send_timeout, self.min_rate, self.rate_grace)
        self._send_outgoing(outgoing)

    def _put_off_close(self) -> None:
        """Where the program's code has said that the connection ends: when the answer is out, not before."""
        if self.close_connection:
            self._persistent = self.close_connection = False

    def _send_outgoing(self, outgoing: Outgoing) -> None:
        """Sends what the client takes now. A content that breaks its promise ends the connection, so it can tell."""
        response, pace = outgoing.response, outgoing.pace
        pace.pause(self._clock())
        try:
            is_out = outgoing.send_some(self.connection)
        except (OSError, *INTERRUPTS):
            raise
        except BaseException as error:
            level, trace = (logging.DEBUG, None) if isinstance(error, ProtocolError) else (logging.ERROR, error)
            log.log(level, "%s while sending the answer to %r", type(error).__name__, self._exchange, exc_info=trace)
            self.close_connection = True
            return
        self._put_off_close()
        self.wants_write = not is_out and not getattr(self.connection, "send_wants_read", False)
        if not is_out:
            self.deadline = pace.wait(self._clock(), self.connection, outgoing.size)
        else:
            self._outgoing = None
            outgoing.close()
            self._end_exchange(response, outgoing.size)

    def _end_exchange(self, response: Response, size: int) -> None:
        """The answer is out: on to the next request, or to the end of the connection."""
        request, self._exchange = self._exchange, None
        if self._logs_exchanges:
            self._note_exchange(request, response, size)
        if request is not None:
            request.close()
        if self._reception is not None:
            self._end_stream(self._reception)
        if self._persistent:
            self.deadline = self._clock() + (self.idle_timeout if self._unread is None else self.content_timeout)
        elif self._was_refused or self._unread is not None or size > SMALL_SIZE or (
                request is not None and self._may_more_come(request.head.control)):
            self._linger()
        else:
            self.close_connection = True

    def _may_more_come(self, control: Control) -> bool:
        """Whether to expect octets that nobody reads, behind the last request of a small answer.

        A client that could not know that it was the last may send more; one that had said so may only as servers stop,
        or add a CRLF to its content, as old ones do (RFC 9112 2.2).
        """
        if control.persistent and not self.server.is_stopping:
            return True
        if control.has_content or self.server.is_stopping:
            with suppress(OSError):
                self._unused = self.connection.recv(self.receive_size)
        return bool(self._unused)

    def _note_exchange(self, request: Request | None, response: Response, size: int) -> None:
        """Has an answer logged, whole or cut: a log that fails is no reason to end the connection."""
        try:
            self.log_exchange(request, response, size)
        except Exception:
            log.exception("log_exchange has failed on %r", request)

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _end_stream(self, reception: Reception) -> None:
        """What the handler has not read of a streamed content never becomes the next request."""
        stream, self._reception = reception.stream, None
        assert stream is not None
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
        if self._reception is not None:
            self._reception.close()
            self._reception = None
        if was_answered:  # what comes is of an earlier request, whose content nobody wants: nothing is owed
            return self._linger()
        request = self._exchange
        is_head = self._unused.lstrip(b"\r\n").startswith(b"HEAD ")
        method = request.head.method if request is not None else "HEAD" if is_head else ""
        is_10 = request is None or request.head.control.is_10  # unknown: the end that all understand
        if request is None:
            self._refused_line = self._unused.lstrip(b"\r\n").partition(b"\r\n")[0][:REFUSED_SIZE].decode("latin-1")
        self._unused = b""
        try:
            self._send_framed(self._error_response(request, error), method, is_10, persistent=False)
        except OSError as gone:
            self.client_has_gone(gone)

    def _linger(self) -> None:
        """RFC 9112 9.6: closing while octets arrive would reset the connection, and the answer be lost with it."""
        self.is_lingering, self._unused, self._unread = True, b"", None
        self.deadline = self._clock() + self.linger_timeout
        shutdown = getattr(self.connection, "shutdown", None)
        if shutdown is None:
            self.close_connection = True
        else:
            shutdown(socket.SHUT_WR)
