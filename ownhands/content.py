"""Content in both directions: what was gathered of a request, what is still to send of a response.

Each object here belongs to one exchange and so to the handler of one connection. Refuses to know what the content
is for, and who polls: a connection that takes or has no octets now raises BlockingIOError, and the caller waits.
"""
import errno
import io
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Protocol

from .logs import log
from .pace import SendPace
from .parser import LAST_CHUNK, Pair, ProtocolError, encode_chunk, parse_chunk_line, parse_trailer_section

PIECE_SIZE = 64 << 10  # octets read from a file, or decoded, at once
SMALL_PIECE_SIZE = 1 << 10  # octets, below which one is copied rather than kept as it came
TURN_SIZE = 256 << 10  # octets sent before other connections have their turn
TURN_PIECES = 8  # the same in pieces, for which small ones are asked and sent
# What sendfile says of the file, and not of the connection.
FAULTS_OF_FILES = frozenset([errno.EBADF, errno.EIO, errno.EINVAL, errno.EOVERFLOW, getattr(errno, "ESTALE", -1)])
MAX_EXTENSIONS_SIZE = 64 << 10  # octets of chunk extensions in one content


# ---- receiving ------------------------------------------------------------------------------------------------------

class Decoder(Protocol):
    """Takes the octets of a body as they come and gives the content."""

    complete: bool
    trailers: tuple[Pair, ...]

    def decode(self, octets: bytes) -> tuple[bytes, bytes]:
        """The content in `octets`, and those behind its end that belong to what follows; raises ProtocolError."""


class LengthDecoder:
    """Content of a declared length (RFC 9112 6.2)."""

    trailers: tuple[Pair, ...] = ()

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.complete = not length

    def decode(self, octets: bytes) -> tuple[bytes, bytes]:
        content, rest = octets[:self.remaining], octets[self.remaining:]
        self.remaining -= len(content)
        self.complete = not self.remaining
        return content, rest


class ChunkedDecoder:
    """Content in chunks, with its trailer section (RFC 9112 7.1)."""

    def __init__(self, max_chunk_line_size: int, max_trailer_size: int, max_fields: int) -> None:
        self.max_chunk_line_size = max_chunk_line_size
        self.max_trailer_size, self.max_fields = max_trailer_size, max_fields
        self.complete = False
        self.trailers: tuple[Pair, ...] = ()
        self._received = b""  # the beginning of a line, or of the trailer section, that has not come whole
        self._searched = 0  # octets of the trailer section in which its end was not found
        self._remaining = 0  # octets that the current chunk lacks
        self._extensions_size = 0
        self._take = ChunkedDecoder._take_line  # what comes next; a function, for a bound method would be a cycle

    def decode(self, octets: bytes) -> tuple[bytes, bytes]:
        octets, self._received = self._received + octets, b""
        pieces: list[bytes] = []
        position = 0
        while position < len(octets) and not self.complete:
            after = self._take(self, octets, position, pieces)
            if after is None:
                self._received = octets[position:]
                return b"".join(pieces), b""
            position = after
        return b"".join(pieces), octets[position:]

    def _take_line(self, octets: bytes, position: int, pieces: list[bytes]) -> int | None:
        line = parse_chunk_line(octets, position, self.max_chunk_line_size)
        if line is None:
            return None
        size, extensions_size, after = line
        self._extensions_size += extensions_size
        if self._extensions_size > MAX_EXTENSIONS_SIZE:
            raise ProtocolError(400, "too many chunk extensions")
        end = after + size
        if size and octets[end:end + 2] == b"\r\n":  # it has come whole, as most do
            pieces.append(octets[after:end])
            return end + 2
        self._remaining = size
        self._take = ChunkedDecoder._take_data if size else ChunkedDecoder._take_trailers
        return after

    def _take_data(self, octets: bytes, position: int, pieces: list[bytes]) -> int | None:
        data = octets[position:position + self._remaining]
        pieces.append(data)
        self._remaining -= len(data)
        if not self._remaining:
            self._take = ChunkedDecoder._take_end_of_data
        return position + len(data)

    def _take_end_of_data(self, octets: bytes, position: int, pieces: list[bytes]) -> int | None:
        end = octets[position:position + 2]
        if end == b"\r":
            return None
        if end != b"\r\n":
            raise ProtocolError(400, "no CRLF where the chunk ends")
        self._take = ChunkedDecoder._take_line
        return position + 2

    def _take_trailers(self, octets: bytes, position: int, pieces: list[bytes]) -> int | None:
        found = parse_trailer_section(octets, position, self.max_trailer_size, self.max_fields, self._searched)
        if found is None:
            self._searched = len(octets) - position
            return None
        self.trailers, after = found
        self.complete = True
        return after


def open_temporary_file() -> BinaryIO:
    import tempfile  # takes long to import, and few contents are so large
    return tempfile.TemporaryFile()  # closed with the exchange


class Gathering:
    """A content being gathered between turns: in memory, beyond `memory_size` octets in a file that is opened then."""

    def __init__(self, decoder: Decoder, max_content_size: int, memory_size: int,
                 open_file: Callable[[], BinaryIO] = open_temporary_file) -> None:
        self.decoder, self.max_content_size, self.memory_size = decoder, max_content_size, memory_size
        self.open_file = open_file
        self.size = 0
        self._pieces: list[bytes | bytearray] = []
        self._file: BinaryIO | None = None

    def take(self, octets: bytes) -> bytes:
        """Keeps what belongs to the content and returns what follows it; raises ProtocolError, 413 among them."""
        content, rest = self.decoder.decode(octets)
        self.size += len(content)
        if self.size > self.max_content_size:
            raise ProtocolError(413, "the content is too large")
        if self._file is None and self.size > self.memory_size:
            self._file = self.open_file()
            self._file.writelines(self._pieces)
            self._pieces.clear()
        if self._file is not None:
            self._file.write(content)
        elif content:
            self._keep(content)
        return rest

    def _keep(self, content: bytes) -> None:
        """Most contents are one piece. Of one that dribbles in, an object for each octet would cost fifty times it."""
        if self._pieces and len(content) < SMALL_PIECE_SIZE:
            if type(self._pieces[-1]) is bytes:
                self._pieces.append(bytearray())
            self._pieces[-1] += content
        else:
            self._pieces.append(content)

    def result(self) -> bytes | BinaryIO:
        """The whole content: octets, or the file that holds it, at its beginning."""
        if self._file is None:
            return b"".join(self._pieces)
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # octets that had no room on the disk are tried again
                self._file.close()


class ContentStream(io.RawIOBase):
    """A content read as it arrives, for a handler class with `stream_content`. Its thread waits for the client.

    Raises what `receive` raises: ProtocolError for a malformed or too slow body, ConnectionError for one cut short.
    """

    def __init__(self, decoder: Decoder, received: bytes, receive: Callable[[int], bytes], max_size: int) -> None:
        self.decoder, self._receive, self._max_size = decoder, receive, max_size
        self.rest = b""  # what came behind the content
        self.size = 0
        self._content = b""
        self._error: Exception | None = None  # the first one: a handler may try again, but nothing behind it counts
        self._take(received)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._error is not None:
            raise self._error
        try:
            while not self._content and not self.decoder.complete:
                self._take(self._receive(self.size))
        except Exception as error:
            self._error = error
            raise
        piece = self._content[:len(buffer)]
        self._content = self._content[len(piece):]
        buffer[:len(piece)] = piece
        return len(piece)

    def _take(self, octets: bytes) -> None:
        self._content, self.rest = self.decoder.decode(octets)
        self.size += len(self._content)
        if self.size > self._max_size:
            raise ProtocolError(413, "the content is too large")


# ---- sending --------------------------------------------------------------------------------------------------------

class ContentError(ValueError):
    """A content that does not keep what its head has promised; once that is out, the connection cannot go on."""


def send(connection: Any, octets: bytes | memoryview) -> int:
    """How many octets the connection takes now; one whose `send` says nothing has taken all. Raises OSError."""
    sent: int | None = connection.send(octets)
    return len(octets) if sent is None else sent


class Outgoing:
    """A response on its way out: octets the connection has not taken yet, and where more come from.

    The next piece is asked for only when the last one is out, so memory is bounded by one piece.
    """

    until_close = False  # whether the end of the connection is the only end of the content (RFC 9112 6.3)
    response: Any  # the Response, for the log
    pace: SendPace  # at which the client takes it, once sending has begun

    def __init__(self, octets: bytes, pieces: Iterator[bytes] | None = None, close: Callable[[], None] | None = None,
                 size: int = 0, is_all_there: bool = False) -> None:
        self.size = size  # octets sent
        # Whether no code but the server's own is needed until it is out.
        self.is_all_there = is_all_there or (pieces is None and close is None)
        self._buffer = memoryview(octets)[size:]
        self._pieces = pieces
        self._close = close

    def prepend(self, octets: bytes) -> None:
        """Octets to be sent first."""
        if octets:
            self._buffer = memoryview(octets + self._buffer)

    def send_some(self, connection: Any) -> bool:
        """Sends what the connection takes, a turn's worth at the most; True when all is out.

        Raises OSError where the client has gone, and whatever the source of the content raises.
        """
        before, pieces = self.size, 0
        try:
            while self._buffer or self._next_piece():
                sent = send(connection, self._buffer[:TURN_SIZE])
                self.size += sent
                self._buffer = self._buffer[sent:]
                pieces += 1
                if pieces == TURN_PIECES or self.size - before >= TURN_SIZE:
                    return False
        except BlockingIOError:
            return False
        return self._send_file(connection, before)

    def _next_piece(self) -> bool:
        if self._pieces is None:
            return False
        try:
            piece = next((piece for piece in self._pieces if piece), b"")
        except OSError as error:  # of the source, not of the connection
            raise ContentError(str(error)) from error
        self._buffer = memoryview(piece)
        return bool(piece)

    def _send_file(self, connection: Any, before: int) -> bool:
        return True

    def close(self) -> None:
        """Closes the source of the content; also where it was not sent to its end. Raises nothing."""
        try:
            if self._close is not None:
                self._close()
        except (Exception, SystemExit):
            log.exception("closing the content of an answer has failed")


class FileOutgoing(Outgoing):
    """A regular file over a plain socket: the system copies it (sendfile), no octet passes through here."""

    def __init__(self, octets: bytes, file: Any, offset: int, length: int) -> None:
        """`file` has fileno and close."""
        super().__init__(octets, None, file.close, is_all_there=True)
        self._file, self._offset, self._remaining = file, offset, length

    def _send_file(self, connection: Any, before: int) -> bool:
        try:
            while self._remaining:
                count = min(self._remaining, TURN_SIZE)
                try:
                    sent = os.sendfile(connection.fileno(), self._file.fileno(), self._offset, count)
                except OSError as error:
                    if error.errno in FAULTS_OF_FILES:
                        raise ContentError(str(error)) from error
                    raise
                if not sent:
                    raise ContentError("the file has shrunk while it was sent")
                self.size += sent
                self._offset += sent
                self._remaining -= sent
                if self.size - before >= TURN_SIZE:
                    return not self._remaining
        except BlockingIOError:
            return False
        return True


def can_send_files(connection: Any) -> bool:
    """Whether FileOutgoing can be used: over TLS, or through something that counts octets, it cannot."""
    return type(connection) is socket.socket and hasattr(os, "sendfile")


def read_pieces(file: Any, length: int | None) -> Iterator[bytes]:
    """What is left of a file, in pieces; no more than `length` octets, for the file may grow meanwhile."""
    while piece := file.read(PIECE_SIZE if length is None else min(PIECE_SIZE, length)):
        yield piece
        if length is not None:
            length -= len(piece)


def in_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces in chunked coding; the last chunk is sent only if they end without an exception."""
    # No name here holds a piece: it would stay beside its chunk for as long as the client takes.
    yield from map(encode_chunk, filter(None, map(check_piece, pieces)))
    yield LAST_CHUNK


def exactly(pieces: Iterable[bytes], length: int) -> Iterator[bytes]:
    """The pieces, which must add up to `length` octets. One that goes beyond is not sent, so the client can tell."""
    for piece in map(check_piece, pieces):
        length -= len(piece)
        if length < 0:
            raise ContentError("the content is longer than its Content-Length")
        yield piece
    if length:
        raise ContentError(f"the content is {length} octets shorter than its Content-Length")


def check_piece(piece: Any) -> bytes:
    """The piece as bytes; raises TypeError for what no piece can be."""
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise TypeError(f"an iterable content yields bytes, not {type(piece).__name__}")
    return bytes(piece)
