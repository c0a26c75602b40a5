"""How an answer is framed: chosen from version, method, status and content (RFC 9112 6, RFC 9110 8.6).

Takes what a request asked and a handler answered, gives the octets and pieces to send. Refuses to know turns.
"""
import io
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from time import time
from typing import Any

from .content import ContentError, FileOutgoing, Outgoing, can_send_files, check_piece, exactly, in_chunks, read_pieces
from .dates import encode_date
from .fields import Fields
from .fileslice import FileSlice
from .messages import Response
from .parser import encode_status_line
from .version import PRODUCT

SMALL_SIZE = 64 << 10  # octets of content that are worth copying, to be sent together with the head
CLOSE, KEEP_ALIVE = b"Connection: close\r\n", b"Connection: keep-alive\r\n"
SERVER_LINE = b"Server: %b\r\n" % PRODUCT.encode()
NO_CONTENT = frozenset([204, 205, 304])  # statuses whose responses never have content (RFC 9110 15.3.5, 6 and 15.4.5)
_PLAIN_FILES = frozenset([io.BufferedReader, io.BufferedRandom, io.FileIO])


@lru_cache(maxsize=2)
def server_lines(second: int) -> bytes:
    """The Server and Date lines of a second since the epoch."""
    return SERVER_LINE + b"Date: %b\r\n" % encode_date(second).encode()


@lru_cache(maxsize=512)
def _begin_small(second: int, status: int, connection_line: bytes, length: int) -> bytes:
    """All that an ordinary head says but for the handler's own fields: in a second many say the same."""
    if status in NO_CONTENT or length > SMALL_SIZE:
        return b""
    return b"%b%b%bContent-Length: %d\r\n" % (encode_status_line(status), server_lines(second), connection_line, length)


def encode_small(response: Response, connection_line: bytes) -> bytes:
    """The whole of an ordinary response: few octets as content, no field that concerns the server. b"" for others."""
    content: Any = response.content
    begin, fields = _begin_small(int(time()), response.status, connection_line, len(content)), response.fields
    return b"".join((begin, fields.octets, b"\r\n", content)) if begin and fields.is_plain else b""


def frame(response: Response, method: str, is_10: bool, persistent: bool, connection: Any) -> tuple[Outgoing, bool]:
    """The response ready to be sent, and whether the connection persists after it.

    Raises ContentError where the content is known to contradict its Content-Length, and whatever the first piece of
    an iterable raises: the head has not been sent then, and the content is closed.
    """
    try:
        return _frame(response, method, is_10, persistent, connection)
    except BaseException:
        if (close := _closer(response.content)) is not None:
            close()
        raise


def _frame(response: Response, method: str, is_10: bool, persistent: bool, connection: Any) -> tuple[Outgoing, bool]:
    fields, declared = response.fields, None
    if not fields.is_plain:
        persistent = persistent and "close" not in map(str.lower, _options(fields))
        declared = declared_length(fields.get_all("Content-Length"))
    length = _length_of(response.content)
    is_tunnel = method == "CONNECT" and response.status < 300  # RFC 9110 9.3.6: no content, nor a word of it
    has_no_content = method == "HEAD" or response.status in NO_CONTENT or is_tunnel
    if declared is not None:
        if not has_no_content and length is not None:
            check_length(declared, length)
        length = declared  # of what is yielded, or of what a GET would have got
    if has_no_content:
        if response.status == 205:
            length = 0  # RFC 9110 15.3.6: the client is told that nothing follows
        elif is_tunnel or response.status == 204 or (response.status == 304 and declared is None):
            length = None
        persistent = persistent and not is_tunnel
        head = _encode_head(response, b"" if length is None else _length_line(length), is_10, persistent)
        return Outgoing(head, None, _closer(response.content)), persistent
    if length is None and is_10:
        persistent = False  # RFC 9112 6.3 item 8: the end of the connection is the end of the content
    framing = (_length_line(length) if length is not None else b"" if is_10 else b"Transfer-Encoding: chunked\r\n")
    head = _encode_head(response, framing, is_10, persistent)
    outgoing = _outgoing(head, response.content, length, is_10, connection)
    outgoing.until_close = length is None and is_10
    return outgoing, persistent


def _length_line(length: int) -> bytes:
    return b"Content-Length: %d\r\n" % length


def _encode_head(response: Response, framing: bytes, is_10: bool, persistent: bool) -> bytes:
    fields, begin = response.fields, server_lines(int(time()))
    connection_line = CLOSE if not persistent else KEEP_ALIVE if is_10 else b""
    if not fields.is_plain:
        begin = without_lines(begin, fields)
        connection_line += _option_lines(fields)
        fields = fields.without("connection", "content-length", "transfer-encoding")
    return b"%b%b%b%b%b\r\n" % (encode_status_line(response.status), begin, fields.octets, connection_line, framing)


def _option_lines(fields: Fields) -> bytes:
    """A line for each connection option that is the handler's to say, with one for Upgrade (RFC 9110 7.6.1, 7.8)."""
    options = _options(fields)
    if "Upgrade" in fields and "upgrade" not in map(str.lower, options):
        options.append("Upgrade")
    return b"".join(b"Connection: %b\r\n" % option.encode("latin-1") for option in options
                    if option.lower() not in ("", "close", "keep-alive"))


def _options(fields: Fields) -> list[str]:
    return [option.strip(" \t") for option in fields.get("Connection", "").split(",")]


def without_lines(begin: bytes, fields: Fields) -> bytes:
    """`server_lines`, less the lines that a handler has written itself."""
    return b"".join(line for line in begin.splitlines(keepends=True) if line.partition(b":")[0].decode() not in fields)


def _outgoing(head: bytes, content: Any, length: int | None, is_10: bool, connection: Any) -> Outgoing:
    if isinstance(content, bytes):
        if len(content) <= SMALL_SIZE:
            return Outgoing(head + content)
        return Outgoing(head, iter((content,)), is_all_there=True)
    close, is_file = _closer(content), isinstance(content, FileSlice) or _is_regular(content)
    if isinstance(content, FileSlice) and can_send_files(connection):
        return FileOutgoing(head, content, content.offset, content.length)
    if hasattr(content, "read"):
        if length is not None and can_send_files(connection) and is_file:
            return FileOutgoing(head, content, content.tell(), length)
        content = read_pieces(content, length)
    given = iter(content)
    first = check_piece(next(given, b""))  # what raises here is answered with 500
    pieces = encode_pieces(chain((first,), given), length, not is_10)
    return Outgoing(head + next(pieces) if first else head, pieces, close, is_all_there=is_file)


def encode_pieces(pieces: Iterable[bytes], length: int | None, is_chunked: bool) -> Iterator[bytes]:
    """The pieces as they are sent, each checked: of `length` octets, in chunks, or up to the end of the connection."""
    if length is not None:
        return exactly(pieces, length)
    return in_chunks(pieces) if is_chunked else map(check_piece, pieces)


def is_all_there(response: Response) -> bool:
    """Whether no code of the program runs while it is sent, so that nothing more of a request is read then."""
    content, knows = response.content, getattr(response, "is_all_there", False)  # as a WSGIResponse does
    if not knows and getattr(response, "close", None) is not None:  # the application's, which may read its input
        return False
    if knows or response.status in NO_CONTENT or isinstance(content, (bytes, list, tuple, FileSlice)):
        return True
    try:
        return _is_regular(content)
    except ValueError:  # a file that is closed, of which `frame` makes an error
        return True


def _closer(content: Any) -> Any:
    return getattr(content, "close", None)


def _length_of(content: Any) -> int | None:
    """Octets of the content, None where only its end will tell."""
    if isinstance(content, bytes):
        return len(content)
    if isinstance(content, FileSlice):
        if content.fd < 0:
            raise ValueError("the file of this answer was sent and closed: make a new answer for each request")
        return content.length
    if not hasattr(content, "read"):
        return None
    if descriptor_of(content) is None:
        return _seek_length(content)
    rest = regular_rest(content)
    return None if rest is None else rest[1]


def regular_rest(file: Any) -> tuple[int, int] | None:
    """Where in a plain file what is left of it begins, and how many octets; None where only reading will tell."""
    descriptor = descriptor_of(file)
    if descriptor is None:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:  # a file in /proc has no size, and yet octets
        return None
    offset = int(file.tell())
    return offset, max(status.st_size - offset, 0)


def descriptor_of(file: Any) -> int | None:
    """Where the system finds the same octets as `read` gives; None for what only has a file inside, as gzip's does."""
    if type(file) in _PLAIN_FILES and type(getattr(file, "raw", file)) is io.FileIO:
        return file.fileno()  # type: ignore[no-any-return]
    return None


def _is_regular(file: Any) -> bool:
    """Whether all of it is there already, so that reading waits for nobody, as it would for a pipe."""
    descriptor = descriptor_of(file)
    return descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode)


def _seek_length(file: Any) -> int | None:
    """Octets from here to the end of a file that the system does not know, such as io.BytesIO."""
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
        length: int = end - here
        return max(length, 0)
    except (AttributeError, OSError, TypeError, ValueError):  # TypeError: before 3.13 mmap does not say where it is
        return None


def check_length(declared: int | None, given: int) -> None:
    """Raises ContentError where a whole content is not as long as its Content-Length."""
    if declared is not None and declared != given:
        raise ContentError(f"Content-Length is {declared}, but the content has {given} octets")


def declared_length(values: Sequence[str]) -> int | None:
    """What the lines of Content-Length say, None without one. Raises ContentError."""
    if not values:
        return None
    if len(values) > 1 or not (values[0].isascii() and values[0].isdigit()):
        raise ContentError(f"Content-Length is {', '.join(values)}; leave it out or give one number")
    return int(values[0])
