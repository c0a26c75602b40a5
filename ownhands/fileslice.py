"""FileSlice: some octets of an open file as the content of an answer.

Refuses to know where the file is and who asks.
"""
import os
from collections.abc import Iterator

from .content import PIECE_SIZE


class FileSlice:
    """`length` octets of an open regular file from `offset`, as the content of an answer. It owns the descriptor."""

    __slots__ = ("fd", "length", "offset")

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self.fd, self.offset, self.length = fd, offset, length

    def fileno(self) -> int:
        return self.fd

    def __iter__(self) -> Iterator[bytes]:
        """The octets in pieces; raises EOFError where the file has shrunk."""
        yield from self.pieces(self.offset, self.length)

    def pieces(self, offset: int, length: int) -> Iterator[bytes]:
        """Any octets of the file; raises EOFError where they are not there any more. One thread at a time."""
        os.lseek(self.fd, offset, os.SEEK_SET)
        while length:
            piece = os.read(self.fd, min(PIECE_SIZE, length))
            if not piece:
                raise EOFError("the file has shrunk while it was sent")
            length -= len(piece)
            yield piece

    def read_all(self) -> bytes:
        """All octets at once, for a small one; raises EOFError likewise."""
        if not self.offset:
            octets = os.read(self.fd, self.length)
            if len(octets) == self.length:
                return octets
        return b"".join(self)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    __del__ = close  # an answer that is never sent
