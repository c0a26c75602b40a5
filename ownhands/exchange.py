"""HTTP on one connection: octets received become requests, a turn at a time; answering.py sends what becomes of them.

Refuses to know what a request is for: it asks the hooks, see handler.py.
"""
import io
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from .answering import AnsweringHandler
from .connection import receive, wait_until_ready
from .content import ChunkedDecoder, ContentStream, Decoder, Gathering, LengthDecoder, Outgoing
from .framing import is_all_there
from .logs import log
from .messages import HTTPError, Request, Response
from .pace import Pace
from .parser import KEPT_HEAD_SIZE, Control, ProtocolError, RequestHead, parse_request_head, skip_empty_lines
from .reception import Reception

REQUESTS_A_TURN = 16  # at most, before other connections have their turn


class _Recent:
    """The head that the last connection began with: many clients connect for one request each, and say the same.

    Parsing is pure, so it means the same to whoever says it. Set whole, by any thread.
    """

    head: RequestHead | None = None


_recent = _Recent()


class ExchangeHandler(AnsweringHandler):
    """The turns of an HTTP/1.1 connection. Users subclass RequestHandler, which adds the hooks."""

    _serves_any_url = False  # whether an https URL is served that comes over a plain connection

    # ---- a turn -----------------------------------------------------------------------------------------------------

    def handle(self) -> None:
        """One turn: sends what is left to send, or receives; then answers every complete request, in order."""
        try:
            if self._outgoing is not None:
                return self._go_on_sending(self._outgoing)
            if self._unused:
                return self._go_on()
            octets = self.connection.recv(self.receive_size)
            if not octets:
                return self._end_of_octets()
            if not self.is_lingering:
                self._unused = octets
                self._proceed(True)
        except BlockingIOError:
            self.wants_write = getattr(self.connection, "recv_wants_write", False)
        except ProtocolError as error:
            self._refuse_request(error)
        except OSError as error:
            self.client_has_gone(error)

    def _go_on_sending(self, outgoing: Outgoing) -> None:
        self._send_outgoing(outgoing)
        if self._unused and self._outgoing is None and not self.close_connection:
            self._proceed(True)

    def _go_on(self) -> None:
        """A turn behind octets that were not used: they are requests that have waited for it, or the half of a head."""
        if self._is_behind:
            self._is_behind = self.wants_write = False
            return self._proceed(True)
        octets = self.connection.recv(self.receive_size)
        if not octets:
            return self._end_of_octets()
        is_new = not self._unused.strip(b"\r\n")
        self._unused += octets
        if is_new or b"\n" in octets or len(self._unused) >= self.max_head_size:  # else no head is whole now
            self._proceed(is_new)

    def _proceed(self, is_new: bool) -> None:
        """Goes on with what has been received: heads, contents, answers, until more octets are needed.

        Not for long: of many requests that came at once, some wait for the next turn.
        """
        while True:
            if self._unread is not None:
                self._drop_content(self._unread)
            elif self._reception is not None:
                self._take_content(self._reception)
            elif not self._take_head():
                return self._await_head(is_new)
            if not self._unused or self._outgoing is not None or self.close_connection:
                return
            if not self._request_count % REQUESTS_A_TURN and self._can_wait_for_turn():
                self._is_behind = self.wants_write = True
                return
            is_new = True

    def _can_wait_for_turn(self) -> bool:
        """Whether another whole head is there, and waiting until octets can be sent brings the next turn at once."""
        return b"\r\n\r\n" in self._unused.lstrip(b"\r\n") and (
            not hasattr(self.connection, "fileno") or wait_until_ready(self.connection, True, 0))

    def _await_head(self, is_new: bool) -> None:
        """More octets are needed: the deadline counts from the first, further ones do not renew it."""
        self._unused = self._unused[skip_empty_lines(self._unused):]  # or a dribble would be read again and again
        if is_new and self._request_count and self._unused.strip(b"\r\n"):
            self.deadline = self._clock() + self.head_timeout

    def _end_of_octets(self) -> None:
        """The client sends no more. A request that is not complete is not processed (RFC 9112 8)."""
        if self._reception is not None:
            return self._refuse_request(ProtocolError(400, "the content ended early"))
        if self._unused:
            parse_request_head(self._unused, self)  # the last octets may not have been looked at
        self.close_connection = True

    def expire(self) -> None:
        """The client was too slow: an answer where a request has begun, else nothing is said."""
        outgoing = self._outgoing
        if outgoing is not None:
            self.deadline = outgoing.pace.look(self._clock(), self.connection, outgoing.size)
            if self.deadline > self._clock():
                return None
            log.info("%s took %d octets of an answer and then no more", self.client_address, outgoing.size)
        elif self._reception is not None or self._unused.strip(b"\r\n"):
            return self.take_step(lambda: self._refuse_request(ProtocolError(408, "the request came too slowly")))
        self.abandon()

    def refuse_turn(self) -> None:
        """All threads are busy, and were for too long: 503, unless an answer is on its way already; that goes on."""
        outgoing = self._outgoing
        if outgoing is None:
            self.take_step(self.handle if self.is_lingering else self._refuse_busy)
        else:  # this was not the client's time
            self.deadline = outgoing.pace.wait(self._clock(), self.connection, outgoing.size)

    def _refuse_busy(self) -> None:
        busy = HTTPError(503, "too busy, try again later", retry_after=10)
        if self._is_behind:
            return self._refuse_request(busy)
        try:
            octets = self.connection.recv(self.receive_size)
            if not octets:
                return self._end_of_octets()
            self._unused += octets
            self._refuse_request(busy)
        except ProtocolError as error:
            self._refuse_request(error)
        except BlockingIOError:  # a handshake that goes on: it was not the client that let time pass
            self.deadline = max(self.deadline, self._clock() + self.handshake_timeout)
            self.wants_write = getattr(self.connection, "recv_wants_write", False)
        except OSError as error:
            self.client_has_gone(error)

    # ---- receiving --------------------------------------------------------------------------------------------------

    def _take_head(self) -> bool:
        """Takes a head from what was received, and answers if no content follows; False if the head is not whole."""
        octets, head = self._unused, self._last_head
        if head is None or not octets.startswith(head.octets):  # the same octets mean the same head
            head = parse_request_head(octets, self, head) if head is not None else self._parse_first_head(octets)
            if head is None:
                return False
            self._last_head = head if head.end <= KEPT_HEAD_SIZE else None
        self._unused = octets[head.end:]
        self._request_count += 1
        self._persistent = head.control.persistent and self._request_count != self.max_requests
        self._exchange = request = Request(head, self.client_address, self.connection)
        if head.control.is_ordinary:
            self._send_answer(request, self._ask(request, False))
        else:
            self._take_other(request, head.control)
        return True

    def _parse_first_head(self, octets: bytes) -> RequestHead | None:
        recent = _recent.head
        head = parse_request_head(octets, self, recent)
        if head is not None and head.end <= KEPT_HEAD_SIZE and (recent is None or head.octets != recent.octets):
            # Another object: what a handler might do to this one is not for others.
            _recent.head = RequestHead(head.method, head.target, head.section, head.control, head.octets)
        return head

    def _take_other(self, request: Request, control: Control) -> None:
        """A request with content, or for what is to be had over TLS only (RFC 9110 7.4)."""
        if control.targets_https and request.scheme != "https" and not self._serves_any_url:
            raise ProtocolError(421, "an https URL is not served over a plain connection")
        if control.has_content:
            self._begin_content(request, control)
        else:
            self._send_answer(request, self._ask(request, False))

    def _begin_content(self, request: Request, control: Control) -> None:
        """The head of a request with content: asks `on_head`, then takes the content, or begins to receive it."""
        length = control.content_length
        self._expects_continue = control.expects_continue and not self._unused
        reception = self._reception = Reception(self.max_content_size, self.stream_content)
        refusal = self._ask_on_head(request)
        if refusal is None and length is not None:
            if length > reception.max_size:
                raise ProtocolError(413, "the content is too large")
            if not reception.is_streamed and length <= min(len(self._unused), self.max_memory_size):  # as most
                self._reception = None
                content, self._unused = self._unused[:length], self._unused[length:]
                request.set_content(content)
                return self._send_answer(request, self._ask(request, True))
        decoder = self._decoder_for(length)
        if refusal is not None:
            self._refuse_content(request, refusal, decoder)
        else:
            self._begin_receiving(request, reception, decoder)

    def _decoder_for(self, length: int | None) -> Decoder:
        """Of a content of that length, or in chunks."""
        return (LengthDecoder(length) if length is not None else
                ChunkedDecoder(self.max_chunk_line_size, self.max_trailer_size, self.max_fields))

    def _refuse_content(self, request: Request, refusal: Response, decoder: Decoder) -> None:
        self._reception, self._unread = None, decoder
        with suppress(ProtocolError):  # the content is malformed too; the client hears the first reason only
            self._drop_content(decoder)
        self._send_answer(request, refusal)

    def _begin_receiving(self, request: Request, reception: Reception, decoder: Decoder) -> None:
        """A content that has not come, or not by its end."""
        reception.pace = Pace(self._clock(), 0, self.content_timeout, self.min_rate, self.rate_grace)
        if not reception.is_streamed:
            self._put_off_close()
            reception.gathering = Gathering(decoder, reception.max_size, self.max_memory_size, reception.open_file)
            return self._take_content(reception)
        stream = ContentStream(decoder, self._unused, self._receive_content, reception.max_size)
        reception.stream, self._unused = stream, b""
        request.set_content(io.BufferedReader(stream), decoder)
        answer = self._ask(request, True)
        if request.head.method == "HEAD" or is_all_there(answer):
            self._end_stream(reception)  # no more will be read, and the answer can tell what that means
        self._send_answer(request, answer)

    def stream_this(self, max_size: int) -> None:
        """For `on_head`: at most `max_size` octets of content are read from `request.stream`, as they come."""
        if self._reception is not None:  # else there is no content
            self._reception.max_size, self._reception.is_streamed = max_size, True

    def gather_this(self, max_size: int, open_file: Callable[[], BinaryIO]) -> None:
        """For `on_head`: the content of this request may have `max_size` octets at most, and comes before `on_request`.

        What is larger than `max_memory_size` goes to the file that `open_file()` gives, open for writing and reading,
        which is closed once the answer is out; `request.stream` has it either way. An HTTPError or OSError of that, or
        of writing to it, is answered. Raises TypeError for a file that is open already.
        """
        if not callable(open_file):
            raise TypeError("open_file is a function that opens the file once it is needed, not a file")
        if self._reception is not None:  # else there is no content
            self._reception.max_size, self._reception.is_streamed = max_size, False
            self._reception.open_file = open_file

    def _take_content(self, reception: Reception) -> None:
        """Gathers what has come, and answers when that is all."""
        request, pace, gathering = self._exchange, reception.pace, reception.gathering
        assert request is not None and pace is not None and gathering is not None
        try:
            self._unused = gathering.take(self._unused)
            content = gathering.result() if gathering.decoder.complete else b""
        except Exception as error:  # it is malformed or too large, there is no room for it, or who keeps it has failed
            return self._refuse_request(error)
        if not gathering.decoder.complete:
            if self._expects_continue:
                self._expects_continue = False
                self.send_informational(100)
            self.deadline = pace.deadline(self._clock(), gathering.size)
            return
        request.set_content(content, gathering.decoder)
        self._reception = None
        self._send_answer(request, self._ask(request, True))

    def _drop_content(self, decoder: Decoder) -> None:
        _, self._unused = decoder.decode(self._unused)
        if decoder.complete:
            self._unread = None
            self.deadline = self._clock() + self.idle_timeout

    def _receive_content(self, size: int) -> bytes:
        """More of a streamed content, `size` octets of which have come: the handler's thread waits for it here."""
        if self._reception is None or self._reception.pace is None:
            raise ValueError("the answer is made, and what is left of the content is not read any more")
        pace = self._reception.pace
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
