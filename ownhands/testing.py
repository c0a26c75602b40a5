"""Tests without a port: MockConnection, MockClient, and faults, over the byte path that real clients take.

Made of bytes and values only: no socket, no thread, no clock.
"""
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from .content import ChunkedDecoder, LengthDecoder
from .fields import FieldArgument, Fields
from .parser import ProtocolError, ResponseHead, encode_field_lines, parse_response_head

WHOLE = 1 << 30  # more octets than a test sends
CLIENT_ADDRESS = ("127.0.0.1", 0)  # MockClient's; no client has the port 0


class MockConnection:
    """Stands in for a socket: recv gives `data`, then the end; `sent` holds what was sent.

    data: octets, or pieces of which each recv gives one, an exception among them being raised in its place.
    max_send: octets taken by one send.  fail_after: octets after which send raises `failure`.
    """

    def __init__(self, data: bytes | Iterable[bytes | BaseException] = b"", max_send: int = WHOLE,
                 fail_after: int = WHOLE, failure: BaseException | None = None) -> None:
        if isinstance(data, str):
            raise TypeError("data is bytes, or an iterable of them, not str")
        self._pieces: deque[bytes | memoryview | BaseException] = deque(
            [bytes(data)] if isinstance(data, (bytes, bytearray, memoryview)) else data)
        self.max_send, self.fail_after = max_send, fail_after
        self.failure = BrokenPipeError("the client has gone") if failure is None else failure
        self._sent = bytearray()
        self.is_closed = False

    @property
    def sent(self) -> bytes:
        return bytes(self._sent)

    @sent.setter
    def sent(self, octets: bytes) -> None:
        self._sent = bytearray(octets)

    def recv(self, size: int, /) -> bytes:
        """At most `size` octets of the next piece, b"" at the end; raises the exception that stands there."""
        self._check_open()
        while self._pieces:
            piece = self._pieces.popleft()
            if isinstance(piece, BaseException):
                raise piece
            if len(piece) > size:
                self._pieces.appendleft(memoryview(piece)[size:])
            if piece:
                return bytes(piece[:size])
        return b""

    def send(self, data: bytes, /) -> int:
        """Takes octets as a socket does: perhaps not all of them."""
        self._check_open()
        taken = bytes(data[:min(self.max_send, self.fail_after - len(self._sent))])
        if not taken and len(data):
            raise self.failure
        self._sent += taken
        return len(taken)

    def close(self) -> None:
        self.is_closed = True

    def _check_open(self) -> None:
        if self.is_closed:
            raise OSError("the connection is closed")


def in_pieces(data: bytes, size: int = 1) -> list[bytes | BaseException]:
    """The data in pieces of `size` octets: the slow client."""
    return [data[start:start + size] for start in range(0, len(data), size)]


def ends_early(data: bytes, at: int) -> list[bytes | BaseException]:
    """The data up to an octet, then the end: the client that goes away."""
    return [data[:at]]


def fails(data: bytes, at: int, error: BaseException | None = None) -> list[bytes | BaseException]:
    """The data up to an octet, then an exception: the connection that breaks."""
    return [data[:at], ConnectionResetError("reset by the client") if error is None else error]


class Reply(NamedTuple):
    """A response as a client sees it; `content` is decoded, `interim` holds the 1xx responses before it."""

    status: int
    reason: str
    fields: Fields
    content: bytes
    interim: tuple[ResponseHead, ...] = ()

    @property
    def text(self) -> str:
        return self.content.decode()


class MockClient:
    """`MockClient(server)("/path/", method="GET", body=b"", user_agent="x")`: a request, and its Reply.

    Keyword arguments become header fields, title-cased and sorted; None leaves a default out. A body gets its
    Content-Length. Handlers see the client address ("127.0.0.1", 0). Raises ConnectionError where no whole response
    came.
    """

    def __init__(self, server: Any, connect: Callable[[bytes], MockConnection] = MockConnection) -> None:
        if isinstance(server, type) or not hasattr(server, "on_connect"):
            raise TypeError(f"MockClient takes a server, as in MockClient(HTTPServer(handler=Hello)), not {server!r}")
        self.server, self.connect = server, connect

    def __call__(self, target: str = "/", /, method: str = "GET", body: bytes | str = b"",
                 **fields: FieldArgument) -> Reply:
        connection = self.connect(encode_request(target, method, body, **fields))
        self.server.on_connect(connection, CLIENT_ADDRESS)
        replies = parse_replies(connection.sent, method)
        if not replies:
            raise ConnectionError(f"no response but {connection.sent!r}")
        return replies[0]


def encode_request(target: str = "/", /, method: str = "GET", body: bytes | str = b"",
                   **fields: FieldArgument) -> bytes:
    """The octets that MockClient sends. Nothing is checked: bad requests are worth testing too."""
    body = body.encode() if isinstance(body, str) else body
    defaults: dict[str, FieldArgument] = {
        "host": "localhost", "user_agent": "MockClient/0.1", "connection": "close"}
    if body:
        defaults["content_length"] = len(body)
    pairs = tuple(sorted(Fields.from_keywords(defaults | fields).pairs))
    return f"{method} {target} HTTP/1.1\r\n".encode() + encode_field_lines(pairs) + b"\r\n" + body


def parse_replies(octets: bytes, *methods: str) -> list[Reply]:
    """All responses in what a server has sent, to requests of these methods (GET beyond them).

    Raises ConnectionError where the last one is cut short, ProtocolError where the octets are no response.
    """
    replies: list[Reply] = []
    interim: list[ResponseHead] = []
    while octets:
        head = parse_response_head(octets)
        if head is None:
            raise ConnectionError(f"a response head is cut short: {octets[:80]!r}")
        octets = octets[head.end:]
        if head.status < 200:
            interim.append(head)
            continue
        fields = Fields(head.pairs)
        method = methods[len(replies)] if len(replies) < len(methods) else "GET"
        content, octets = _take_content(method, head.status, fields, octets)
        replies.append(Reply(head.status, head.reason, fields, content, tuple(interim)))
        interim = []
    return replies


def _parse_length(value: str) -> int:
    if not (value.isascii() and value.isdigit()):
        raise ProtocolError(502, "Content-Length is not one number")
    return int(value)


def _take_content(method: str, status: int, fields: Fields, octets: bytes) -> tuple[bytes, bytes]:
    """The content of a response and what follows it (RFC 9112 6.3)."""
    decoder: ChunkedDecoder | LengthDecoder
    if method == "HEAD" or status in (204, 304) or (method == "CONNECT" and status < 300):
        return b"", octets
    if "Transfer-Encoding" in fields:
        decoder = ChunkedDecoder(WHOLE, WHOLE, WHOLE)
    elif "Content-Length" in fields:
        decoder = LengthDecoder(_parse_length(fields["Content-Length"]))
    else:
        return octets, b""
    content, rest = decoder.decode(octets)
    if not decoder.complete:
        raise ConnectionError(f"the content is cut short after {len(content)} octets")
    return content, rest
