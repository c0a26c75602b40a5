"""For tests that drive a handler turn by turn: a wire that never blocks, a clock that is set, and a Session of both.

Knows what the engine promises a handler, and nothing of threads and pollers.
"""
from collections import deque
from typing import Any

from ownhands import HTTPServer, RequestHandler, Response
from ownhands.limits import Limits
from ownhands.testing import WHOLE, Reply, parse_replies

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
GET_CLOSE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def limited(**values: int) -> Limits:
    """Those of a handler, with some set otherwise."""
    return type("Own", (Limits,), values)()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Wire:
    """A non-blocking connection: recv raises BlockingIOError where nothing has come, send where there is no room."""

    def __init__(self, room: int = WHOLE, can_shut_down: bool = True) -> None:
        self.coming: deque[bytes] = deque()
        self.room = room  # octets that the client takes
        self.sent = b""
        self.is_shut_down = self.is_closed = False
        if can_shut_down:
            self.shutdown = self.shut_down

    def recv(self, size: int, /) -> bytes:
        if not self.coming:
            raise BlockingIOError
        if not self.coming[0]:
            return b""  # the end stays the end
        octets = self.coming.popleft()
        if len(octets) > size:
            self.coming.appendleft(octets[size:])
        return octets[:size]

    def send(self, data: bytes, /) -> int:
        if self.is_shut_down:
            raise BrokenPipeError
        taken = bytes(data[:self.room])
        if not taken:
            raise BlockingIOError
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def shut_down(self, how: int) -> None:
        self.is_shut_down = True

    def close(self) -> None:
        self.is_closed = True


class Session:
    """A connection to a handler class, and the engine's part in it: turns when it is ready, expiry when it is late."""

    def __init__(self, handler: Any = RequestHandler, room: int = WHOLE, can_shut_down: bool = True,
                 **knobs: Any) -> None:
        self.clock = Clock()
        self.wire = Wire(room, can_shut_down)
        self.server = HTTPServer(handler=handler, clock=self.clock, **knobs)
        self.handler = self.server.finish_request(self.wire, ("192.0.2.1", 4711))
        self._seen = 0

    def send(self, *pieces: bytes) -> bytes:
        """The client sends, b"" being its end; gives what it has received since it was last asked."""
        for piece in pieces:
            self.wire.coming.append(piece)
            self._run()
        return self.received()

    def take(self, room: int = WHOLE) -> bytes:
        """The client takes so many octets more."""
        self.wire.room += room
        self._run()
        return self.received()

    def wait(self, seconds: float) -> bytes:
        """Time passes, and nothing comes."""
        self.clock.now += seconds
        if not self.is_over and self.handler.deadline <= self.clock.now:
            self.handler.expire()
            self._run()
        return self.received()

    def received(self) -> bytes:
        new, self._seen = self.wire.sent[self._seen:], len(self.wire.sent)
        return new

    @property
    def is_over(self) -> bool:
        """Whether the server would close the connection now."""
        return bool(self.handler.close_connection)

    def replies(self, *methods: str) -> list[Reply]:
        """All that was sent so far, as responses."""
        return parse_replies(self.wire.sent, *methods)

    def _run(self) -> None:
        while not self.is_over and not self.handler.is_paused and (
                self.wire.room if self.handler.wants_write else self.wire.coming):
            self.handler.take_turn()


def post(*fields: bytes, target: bytes = b"/", body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A POST request with these field lines."""
    return b"\r\n".join([b"POST %b HTTP/%b" % (target, version), b"Host: a", *fields]) + b"\r\n\r\n" + body


def statuses(replies: list[Reply]) -> list[int]:
    return [reply.status for reply in replies]


class Source:
    """An iterable that counts what was asked of it, and how often it was closed."""

    def __init__(self, *pieces):
        self.pieces, self.asked, self.closed = list(pieces), 0, 0

    def __iter__(self):
        return self

    def __next__(self):
        if not self.pieces:
            raise StopIteration
        self.asked += 1
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self):
        self.closed += 1


def answering(content, status: int = 200, **fields) -> type[RequestHandler]:
    class Answering(RequestHandler):
        def do_GET(self, request):
            return Response(content, status, **fields)

    return Answering
