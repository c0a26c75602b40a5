"""What an http.server handler reads: Input is its rfile, RawChunks a chunked content as it came.

Refuses to know who receives, and when there is more than the request: it asks the exchange.
"""
import io
from typing import Any, Protocol

from .content import Decoder
from .parser import Pair


class EndedEarly(ConnectionResetError):
    """A content is not all there, which is the client's fault. http.server's handlers are not told."""

    status = 400


class TooSlow(TimeoutError):
    """The client has sent, or taken, too little for too long."""

    status = 408


class RawChunks:
    """Lets a chunked body through as it is, http.server handlers decode it themselves; notices where it ends."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.complete = False
        self.trailers: tuple[Pair, ...] = ()

    def decode(self, octets: bytes) -> tuple[bytes, bytes]:
        _, rest = self.decoder.decode(octets)
        self.complete = self.decoder.complete
        return octets[:len(octets) - len(rest)], rest


class Source(Protocol):
    """Where an Input finds what else there is: the exchange."""

    def receive_behind(self, size: int) -> bytes:
        """At most `size` octets; none where the request is all that there is to read. Raises OSError."""

    def lend(self) -> Any:
        """The socket, in blocking mode."""

    def lend_to_read(self) -> int:
        """Its descriptor; raises UnsupportedOperation."""


class Input(io.RawIOBase):
    """What an http.server handler reads: the content of its request, and behind that what else there is to receive."""

    def __init__(self, content: Any, source: Source) -> None:
        self._content, self._source = content, source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._content.readinto(buffer)
        if not count:
            piece = self._source.receive_behind(len(buffer))
            count = len(piece)
            buffer[:count] = piece
        return count

    def fileno(self) -> int:
        """The socket's, for who waits for it or reads from it himself; raises UnsupportedOperation for a content."""
        return self._source.lend_to_read()

    @property
    def _sock(self) -> Any:
        """The socket, under the name that it has in the standard library's files, private though it is."""
        return self._source.lend()
