"""The answer of a WSGI application on its way out: its head, its content in one piece, in many, or by write().

Refuses to know how an application is called: see wsgi.py.
"""
from collections.abc import Iterator
from time import time
from typing import TypeVar

from .connection import INTERRUPTS, wait_until_taken
from .content import ContentError, FileOutgoing, Outgoing, can_send_files, send
from .framing import CLOSE, KEEP_ALIVE, NO_CONTENT, encode_pieces, server_lines, without_lines
from .gateway import WSGIResponse
from .handler import RequestHandler
from .logs import log
from .messages import Request, Response
from .pace import Pace, taken, unacknowledged
from .parser import ProtocolError, encode_chunk

Octets = TypeVar("Octets", bytes, memoryview)


class ClientHasGone(ConnectionError):
    """Raised by write(), where nobody is left to write to."""


class WSGIAnsweringHandler(RequestHandler):
    """The half of WSGIHandler that sends."""

    def send_written(self, response: WSGIResponse, octets: bytes) -> None:
        """What was given to write(), with the head if it is not out; the application's thread waits for the client."""
        request, head = self._exchange, response.head
        assert request is not None and head is not None
        if not octets or request.head.method == "HEAD" or head.status in NO_CONTENT:
            response.was_dropped = response.was_dropped or bool(octets)
            return
        octets_of_head, length = b"", response.length if response.was_written else head.length
        if length is not None and len(octets) > length:
            raise ContentError(f"write() was given {len(octets)} octets, and Content-Length leaves {length}")
        if not response.was_written:
            if self._expects_continue:  # now, for the application may still read, and then it would stand in the answer
                self._expects_continue = False
                self.send_informational(100)
            response.length = length
            octets_of_head, self._informational = self._informational + self._encode_head(request, response), b""
            response.is_sent = response.was_written = True
        if length is not None:
            response.length = length - len(octets)
        self._send_and_wait(response, octets_of_head + (encode_chunk(octets) if response.is_chunked else octets))

    def _send_and_wait(self, response: WSGIResponse, octets: bytes) -> None:
        """Sends all of it, at the client's pace, within limits. Raises ClientHasGone."""
        pace = response.pace
        if pace is None:  # one for the whole answer: with one for each piece, small pieces would bound no rate
            offset = self._taken_of(response)  # octets of earlier answers may be under way
            pace = response.pace = Pace(self._clock(), offset, self.send_timeout, self.min_rate, self.rate_grace)
        pace.resume(self._clock())
        left = memoryview(octets)
        while left:
            rest = self._send_now(response, left)
            if len(rest) == len(left):
                deadline = pace.deadline(self._clock(), self._taken_of(response))
                if not wait_until_taken(self.connection, deadline - self._clock()):
                    log.info("%s took %d octets of an answer and then no more", self.client_address,
                             response.written_size)
                    raise ClientHasGone("the client takes no more")
            left = rest
        pace.pause(self._clock())

    def _taken_of(self, response: WSGIResponse) -> int:
        return taken(self.connection, response.written_size, unacknowledged(self.connection))

    def _send_now(self, response: WSGIResponse, octets: Octets) -> Octets:
        """Sends what the client takes now; gives the rest. Raises ClientHasGone."""
        if self.ends_in_reset:  # see `cut`, which leaves the connection to this thread
            raise ClientHasGone("the server has ended")
        if not octets:
            return octets
        try:
            sent = send(self.connection, octets)
        except BlockingIOError:
            return octets
        except OSError as error:
            raise ClientHasGone(str(error)) from error
        response.written_size += sent
        return octets[sent:]

    def _send_answer(self, request: Request, response: Response) -> None:
        if type(response) is not WSGIResponse:
            return super()._send_answer(request, response)
        if not response.is_whole or self._informational or self._unread is not None or self.close_connection:
            return self._send_other(request, response)
        control, content = request.head.control, response.content
        head = response.head
        assert head is not None
        self._persistent = persistent = self._persistent and not self.server.is_stopping
        octets = b"%b%b%b%b%b\r\n%b" % (
            head.status_line, server_lines(int(time())), head.fields.octets,
            (KEEP_ALIVE if control.is_10 else b"") if persistent else CLOSE,
            b"Content-Length: %d\r\n" % len(content) if head.length is None else b"", content)
        self._send_whole(response, octets)

    def _send_other(self, request: Request, response: WSGIResponse) -> None:
        """An answer in pieces, from a file, without content, or one whose head is out."""
        if response.failure is not None:
            return self._cut_short(request, response, response.failure)
        octets = self._encode_head(request, response) if not response.was_written else b""
        if response.is_all_there and not response.is_headless:
            return self._begin(response, self._outgoing_of(response, octets))
        if type(response.content) is bytes and response.close is None and not response.is_headless:
            return self._begin(response, Outgoing(octets, iter((response.content,)), is_all_there=True))
        try:
            rest = self._send_pieces(request, response, octets)
        finally:  # on the application's thread as well, and before the exchange ends: it may still read its input
            Outgoing(b"", close=response.close).close()
        if rest is not None:
            self._begin(response, Outgoing(rest))

    def _outgoing_of(self, response: WSGIResponse, octets: bytes) -> Outgoing:
        """A list, or a plain file."""
        if response.offset is not None and can_send_files(self.connection):
            return FileOutgoing(octets, response.filelike, response.offset, response.length or 0)
        pieces = _encoded(response)
        first = b"" if response.was_written else next(pieces, b"")  # the next may fail, this one is here
        return Outgoing(octets + first, pieces, response.close, is_all_there=True)

    def _begin(self, response: WSGIResponse, outgoing: Outgoing) -> None:
        outgoing.size, outgoing.until_close = response.written_size, _ends_by_closing(response)
        self._begin_sending(response, outgoing)

    def _send_pieces(self, request: Request, response: WSGIResponse, octets: bytes) -> bytes | None:
        """What the application gives piece by piece, to its end on the thread that has called it.

        Between turns the thread would serve others: what the application keeps with the thread, or in its context
        (contextvars), would be theirs as well. Where the end is known, it is not waited for until the client has taken
        all: gives what is left then, None where the answer was cut.
        """
        octets, self._informational = self._informational + octets, b""
        self._outgoing = outgoing = Outgoing(b"")  # the answer has begun: no 100 may follow, and a cut shows
        outgoing.response, outgoing.until_close = response, _ends_by_closing(response)
        left = 0 if response.is_headless else response.length
        try:
            if left == 0:
                octets = self._send_now(response, octets)
            for piece in _encoded(response):
                left = None if left is None else left - len(piece)
                if left == 0:
                    octets = self._send_now(response, octets + piece)
                else:
                    self._send_and_wait(response, octets + piece)
                    octets = b""
        except INTERRUPTS:
            outgoing.size = response.written_size  # for the log
            raise
        except BaseException as error:
            self._cut_short(request, response, error)
            return None
        outgoing.size, outgoing.until_close = response.written_size, False  # whatever closing raises, it is all there
        return octets

    def _cut_short(self, request: Request, response: WSGIResponse, failure: BaseException) -> None:
        """The application has failed with the head out: the connection ends, so that the client can tell."""
        if isinstance(failure, (ClientHasGone, ProtocolError)):  # the client's doing
            log.debug("%s has gone: %s", self.client_address, failure)
        else:
            log.error("%s while writing the answer to %r", type(failure).__name__, request, exc_info=failure)
        self._outgoing = outgoing = Outgoing(b"")  # of which `finish` makes an answer that was cut
        outgoing.response, outgoing.size = response, response.written_size
        outgoing.until_close = _ends_by_closing(response)
        self.close_connection = True

    def _encode_head(self, request: Request, response: WSGIResponse) -> bytes:
        """The head of any answer. Decides how the content is framed and whether the connection goes on."""
        head = response.head
        assert head is not None
        is_10, fields, framing = request.head.control.is_10, head.fields, b""
        persistent = (self._persistent and not self.server.is_stopping and self._can_drop_unread()
                      and not self.close_connection)
        if head.status in NO_CONTENT:
            if head.status != 304:  # RFC 9110 8.6 and 15.3.6
                fields = fields.without("content-length")
                framing = b"Content-Length: 0\r\n" if head.status == 205 else b""
        elif head.length is None and response.length is not None:
            if response.length or not response.is_headless:  # an empty content in answer to HEAD says nothing of GET's
                framing = b"Content-Length: %d\r\n" % response.length
        elif head.length is None and not response.is_headless:
            response.is_chunked = not is_10
            persistent = persistent and not is_10  # RFC 9112 6.3 item 8: the connection's end is the content's
            framing = b"" if is_10 else b"Transfer-Encoding: chunked\r\n"
        self._persistent = persistent
        lines = server_lines(int(time()))
        if head.has_own_lines:
            lines = without_lines(lines, fields)
        connection_line = CLOSE if not persistent else KEEP_ALIVE if is_10 else b""
        return b"%b%b%b%b%b\r\n" % (head.status_line, lines, fields.octets, connection_line, framing)


def _ends_by_closing(response: WSGIResponse) -> bool:
    """Whether the end of the connection is the only end of the content."""
    return response.length is None and not response.is_chunked and not response.is_headless


def _encoded(response: WSGIResponse) -> Iterator[bytes]:
    """The pieces of the content as they are sent."""
    if response.is_headless:
        return iter(())
    content = (response.content,) if type(response.content) is bytes else response.content
    return encode_pieces(content, response.length, response.is_chunked)
