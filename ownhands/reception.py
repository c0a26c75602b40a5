"""Reception: how the content of one request is received, of which the head has come.

Refuses to know who asks for it, and when.
"""
from collections.abc import Callable
from typing import BinaryIO

from .content import ContentStream, Gathering, open_temporary_file
from .pace import Pace


class Reception:
    """How much of a content is taken, where it is kept, and how slowly it may come. Its connection's."""

    open_file: Callable[[], BinaryIO] = staticmethod(open_temporary_file)  # where it goes if it is too large for memory
    pace: Pace | None = None
    gathering: Gathering | None = None
    stream: ContentStream | None = None

    def __init__(self, max_size: int, is_streamed: bool) -> None:
        self.max_size = max_size  # octets
        self.is_streamed = is_streamed  # whether the handler reads it as it comes

    def close(self) -> None:
        """Releases what has come; not to be used where it was given to the request."""
        if self.gathering is not None:
            self.gathering.close()
