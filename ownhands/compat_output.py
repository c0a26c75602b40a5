"""What an http.server handler writes: Output is its wfile, AnswerReader reads along as a client, Written is the rest.

Owns the octets of one answer. Refuses to know what they are for, and who waits for the client: it asks the exchange.
"""
import io
import re
import threading
from typing import Any, Protocol

from .content import ChunkedDecoder
from .messages import Response
from .parser import MAX_LENGTH_DIGITS, ProtocolError

WRITE_THROUGH = 64 << 10  # octets kept back; beyond, the handler's thread waits for the client to take them
LONGEST_HEAD = 256 << 10  # octets of a response head looked at
SHORTEST_STATUS_LINE = len(b"HTTP/1.1 200")

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?=[ \r])")
_BARE_END = re.compile(rb"\n\r?\n")  # of a head whose lines end with LF alone, which clients take
_CONTROL = re.compile(rb"\r\n(content-length|transfer-encoding|connection):[ \t]*+([^\r\n]*+)", re.I)


class Written(Response):
    """An answer that the handler has written itself: octets that are sent as they are."""

    __slots__ = ("octets", "persistent")

    def __init__(self, octets: bytes, persistent: bool) -> None:
        self.octets, self.persistent, self.status, self.content = octets, persistent, 0, ()


class AnswerReader:
    """Follows an answer as its client does (RFC 9112 6.3), to know whether another can follow it.

    `take` gives the octets that may be sent: all, but for those behind the end that the head has announced, which the
    client would take for the beginning of the next answer.
    """

    __slots__ = ("_decoder", "_held", "_remaining", "_stage", "closes", "complete", "dropped", "method", "status")

    def __init__(self, method: str) -> None:
        self.method = method
        self.status = 0  # of the final answer, once its head is whole
        self.complete = False  # whether the client knows where the answer ends, and that is here
        self.closes = False  # whether the client was told that the connection ends
        self.dropped = 0  # octets behind the end
        self._held = b""  # the beginning of a head
        self._remaining = 0
        self._decoder: ChunkedDecoder | None = None
        self._stage = AnswerReader._take_head  # a function, for a bound method would be a cycle

    def take(self, octets: bytes) -> bytes:
        """What of the octets may be sent now; the beginning of a head waits for its end."""
        return self._stage(self, octets)

    def end(self) -> bytes:
        """No more will come: what was held back."""
        held, self._held = self._held, b""
        return held

    def give_up(self) -> bytes:
        """Who writes goes on elsewhere: a head that is not whole is no more looked at."""
        if self._held:
            self._stage = AnswerReader._take_all
        return self.end()

    def _take_head(self, octets: bytes) -> bytes:
        octets, self._held = self._held + octets, b""
        start = 0
        while True:
            match = _STATUS.match(octets, start)
            if match is None and len(octets) - start > SHORTEST_STATUS_LINE:
                return self._take_all_from_here(octets)
            end = octets.find(b"\r\n\r\n", start)
            if end < 0 or match is None:
                if len(octets) > LONGEST_HEAD or _BARE_END.search(octets, start):
                    return self._take_all_from_here(octets)
                self._held = octets[start:]
                return octets[:start]
            self.status = int(match[1])
            if self.status >= 200 or self.status == 101:
                break
            start = end + 4  # an informational response, another head follows
        body = end + 4
        self._judge(_CONTROL.findall(octets, match.end(), end))
        if len(octets) == body:
            return octets
        return octets[:body] + self._stage(self, octets[body:])

    def _judge(self, found: list[tuple[bytes, bytes]]) -> None:
        """Where the content ends, from the fields that say so."""
        lengths, codings = [], []
        for name, value in found:
            kind = name.lower()
            if kind == b"content-length":
                lengths.append(value.rstrip())
            elif kind == b"transfer-encoding":
                codings.append(value.strip().lower())
            elif b"close" in value.lower():
                self.closes = True
        if self.status == 101 or (self.method == "CONNECT" and self.status < 300):
            self._stage = AnswerReader._take_all
        elif self.method == "HEAD" or self.status in (204, 304):
            self._stage, self.complete = AnswerReader._take_counted, True
        elif codings == [b"chunked"] and not lengths:
            self._stage, self._decoder = AnswerReader._take_chunks, ChunkedDecoder(1 << 10, 64 << 10, 16 << 10)
        elif not codings and len(set(lengths)) == 1 and lengths[0].isdigit() and (
                len(lengths[0]) <= MAX_LENGTH_DIGITS):
            self._remaining = int(lengths[0])
            self._stage, self.complete = AnswerReader._take_counted, not self._remaining
        else:
            self._stage = AnswerReader._take_all

    def _take_counted(self, octets: bytes) -> bytes:
        remaining = self._remaining - len(octets)
        if remaining < 0:
            self.dropped -= remaining
            octets = octets[:remaining]
            remaining = 0
        self._remaining = remaining
        self.complete = not remaining
        return octets

    def _take_chunks(self, octets: bytes) -> bytes:
        assert self._decoder is not None
        if self.complete:
            self.dropped += len(octets)
            return b""
        try:
            _, rest = self._decoder.decode(octets)
        except ProtocolError:
            self._stage = AnswerReader._take_all
            return octets
        self.complete = self._decoder.complete
        self.dropped += len(rest)
        return octets[:len(octets) - len(rest)]

    def _take_all_from_here(self, octets: bytes) -> bytes:
        self._stage = AnswerReader._take_all
        return octets

    def _take_all(self, octets: bytes) -> bytes:
        """Up to the end of the connection."""
        return octets


class Sender(Protocol):
    """What an Output writes to: the exchange."""

    def take_continue(self) -> bytes:
        """The 100 (Continue) that the client waits for, if it does; it goes out once, and before any answer."""

    def send_some(self, octets: bytes) -> int:
        """How many the client has taken, perhaps none; raises OSError where it has gone."""

    def send_all(self, octets: bytes) -> None:
        """Waits on the calling thread until the client has taken all; raises OSError, TimeoutError."""

    def lend(self) -> Any:
        """The socket, in blocking mode; what was written is sent, and what will be goes out at once."""

    def lend_descriptor(self) -> int: ...


class Output:
    """The wfile of one answer. It keeps what is written, to send it in one piece when the handler is through.

    Written through when flushed, when it is a lot, and when the handler goes on for long: then at once, as in
    http.server. Any thread may write; `flush_late` is called by another than the handler's.
    """

    def __init__(self, sender: Sender, method: str) -> None:
        self.sender, self.reader = sender, AnswerReader(method)
        self.has_begun = False  # whether anything was written
        self.sent = 0  # octets
        self.unbuffered = False
        self.closed = False
        self._lock = threading.Lock()
        self._pieces: list[bytes] = []
        self._size = 0
        self._unsent = b""  # has passed the reader, the client has not taken it yet

    def write(self, octets: Any, /) -> int:
        """Takes any bytes-like object, whole; gives its length. Raises OSError where the client has gone."""
        if type(octets) is not bytes:
            octets = bytes(memoryview(octets))
        with self._lock:
            if self.closed:
                raise ValueError("the answer is over, nothing can be written to it")
            self.has_begun = True
            self._pieces.append(octets)
            self._size += len(octets)
            if self.unbuffered or self._size > WRITE_THROUGH:
                self._send(self._take())
        return len(octets)

    def writelines(self, lines: Any, /) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Waits until the client has taken what was written. Raises OSError where it has gone."""
        with self._lock:
            if not self.closed:
                self._send(self._take())

    def let_go(self) -> None:
        """The handler goes on with the socket itself: all goes out, and from here on at once."""
        with self._lock:
            self.unbuffered = True
            self._send(self._take() + self.reader.give_up())

    def send_continue(self) -> None:
        """Has the client send the content, if it waits for that: the handler reads it."""
        with self._lock:
            self.sender.send_all(self.sender.take_continue())

    def _send(self, octets: bytes) -> None:
        if octets:
            self.sent += len(octets)  # first: what fails half-way has sent some
            self.sender.send_all(self.sender.take_continue() + octets)

    def _take(self) -> bytes:
        octets = self._unsent + self.reader.take(b"".join(self._pieces))
        self._pieces.clear()
        self._size, self._unsent = 0, b""
        return octets

    def flush_late(self) -> None:
        """The handler goes on and on: sends what the client takes now, and from here on all at once."""
        if not (self._pieces or self._unsent) or not self._lock.acquire(blocking=False):
            return
        try:
            if not self.closed:
                self.unbuffered = True
                if not (octets := self._take()):
                    return
                octets = self.sender.take_continue() + octets
                count = self.sender.send_some(octets)
                self.sent += count
                self._unsent = octets[count:]
        except OSError:
            pass  # the handler's own write will find out
        finally:
            self._lock.release()

    def disown(self) -> None:
        """In a child that was forked: what was written before is its parent's to send, and so was the lock."""
        self._lock = threading.Lock()
        self._pieces.clear()
        self._size, self._unsent = 0, b""

    def rescue(self, takes_all: bool) -> bytes | None:
        """The handler has raised something: what of its answer is still to be sent, where that is whole or has begun.

        None where the client has seen nothing, so that it can be given another; `takes_all` also of what was written.
        """
        with self._lock:
            self.closed = True
            has_begun = bool(self.sent or self._unsent)
            octets = self._take()
            if takes_all:
                octets += self.reader.end()
            return octets if has_begun or self.reader.complete or (takes_all and octets) else None

    def end(self) -> bytes:
        """The handler is through: what is still to be sent."""
        with self._lock:
            self.closed = True
            return self._take() + self.reader.end()

    def close(self) -> None:
        """A handler that closes its wfile has written all it will."""
        with self._lock:
            self.closed = True

    @property
    def _sock(self) -> Any:
        """The socket, under the name that it has in the standard library's files, private though it is."""
        return self.sender.lend()

    def fileno(self) -> int:
        """The socket's descriptor, in blocking mode, for who would write to it directly; what was written is sent."""
        return self.sender.lend_descriptor()

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def isatty(self) -> bool:
        return False

    def __enter__(self) -> "Output":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


io.BufferedIOBase.register(Output)
