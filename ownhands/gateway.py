"""The two sides of WSGI (PEP 3333) as values: the environ of a request, the answer that start_response begins.

Refuses to know connections, turns and how an answer is framed: see wsgi.py.
"""
import copy
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from .content import PIECE_SIZE
from .fields import FieldArgument, Fields, kept_if_short
from .framing import SMALL_SIZE, declared_length
from .grammar import IS_NAME, IS_VALUE
from .listener import WILDCARDS
from .messages import Response
from .pace import Pace
from .parser import KEPT_HEAD_SIZE, Pair, check_field
from .version import PRODUCT

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

# PEP 3333, 'Other HTTP Features', after RFC 2616 13.5.1: what concerns this connection only is the server's to say.
HOP_BY_HOP = frozenset(["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection",
                        "te", "trailer", "trailers", "transfer-encoding", "upgrade"])
NOTED = frozenset(["content-length", "date", "server"])  # fields of which the server sends its own otherwise
_STATUS = re.compile(rf"([2-9][0-9]{{2}}) {IS_VALUE.pattern}")
_FIELD_LINES = re.compile(rf"(?:{IS_VALUE.pattern}\r\n)*+")


# ---- environ --------------------------------------------------------------------------------------------------------

@kept_if_short
def environ_name(field_name: str) -> str | None:
    """The key of a field in the environ; None for one with an underscore, which could pass for another's.

    Nor may Proxy pass for the variable HTTP_PROXY, by which many programs choose where they send their own requests.
    """
    if "_" in field_name or field_name.lower() == "proxy":
        return None
    name = field_name.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + name


def field_variables(section: bytes) -> dict[str, str]:
    """The fields of a valid section as environ entries. Repeats are joined (RFC 3875 4.1.18, RFC 6265 5.4).

    Transfer-Encoding is left out: the application gets the content without it.
    """
    found: dict[str, str] = {}
    for line in section.decode("latin-1").split("\r\n")[1:]:  # parse_field_lines, without the pairs in between
        field_name, _, value = line.partition(":")
        name = environ_name(field_name)
        if name in found:
            found[name] += ("; " if name == "HTTP_COOKIE" else ",") + value.strip(" \t")
        elif name is not None:
            found[name] = value.strip(" \t")
    found.pop("HTTP_TRANSFER_ENCODING", None)
    return found


def decode_path(path: str) -> str:
    """The path without percent-encoding, its octets as latin-1 (PEP 3333, 'Unicode Issues')."""
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


class ErrorStream:
    """wsgi.errors: sys.stderr as it is at the time. Not through logging, whose handlers may well write to it."""

    def write(self, text: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if sys.stderr is not None:
            sys.stderr.flush()


class FileWrapper:
    """wsgi.file_wrapper: a file as an iterable. Returned as it is by the application, it can go out by sendfile."""

    def __init__(self, filelike: Any, blksize: int = PIECE_SIZE) -> None:
        self.filelike, self.blksize = filelike, max(blksize, PIECE_SIZE)
        self.length: int | None = None  # octets after which it ends: PEP 3333 lets Content-Length end a file early
        for name in ("close", "seek", "seekable", "tell"):  # by the last three, ranges are found at once
            if hasattr(filelike, name):
                setattr(self, name, getattr(filelike, name))

    def __iter__(self) -> "FileWrapper":
        """Itself, so that who has only the iterator can close it."""
        return self

    def __next__(self) -> bytes:
        size = self.blksize if self.length is None else min(self.length, self.blksize)
        piece: bytes = self.filelike.read(size) if size else b""
        if not piece:
            raise StopIteration
        if self.length is not None:
            self.length -= len(piece)
        return piece


@lru_cache(maxsize=64)
def server_environ(host: str, port: int, scheme: str, is_multithread: bool) -> dict[str, Any]:
    """What all environs of a server have in common; to be copied. The keys of a request hold their places."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "", "SCRIPT_NAME": "", "PATH_INFO": "", "QUERY_STRING": "", "REQUEST_URI": "", "RAW_URI": "",
        "SERVER_NAME": socket.gethostname() if host in WILDCARDS else host, "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "", "SERVER_SOFTWARE": PRODUCT, "GATEWAY_INTERFACE": "CGI/1.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": scheme, "wsgi.input": None, "wsgi.input_terminated": True,
        "wsgi.errors": ErrorStream(), "wsgi.multithread": is_multithread, "wsgi.multiprocess": False,
        "wsgi.run_once": False, "wsgi.file_wrapper": FileWrapper, "wsgi.early_hints": None}
    return environ | {"HTTPS": "on"} if scheme == "https" else environ


# ---- the answer -----------------------------------------------------------------------------------------------------

class Head(NamedTuple):
    """What start_response was given, checked. `length` is what Content-Length says, None without one."""

    status: int
    status_line: bytes
    fields: Fields
    length: int | None
    has_own_lines: bool  # whether Server or Date are the application's


_heads: dict[tuple[str, tuple[Pair, ...]], Head] = {}  # of late, but for long ones: applications repeat themselves
MAX_KEPT_HEADS = 256


def encode_head(status: str, headers: tuple[Pair, ...]) -> Head:
    """The head of an answer. Raises ValueError and TypeError, by name."""
    head = _heads.get((status, headers))
    if head is None:
        head = _encode_new_head(status, headers)
        if len(head.status_line) + len(head.fields.octets) <= KEPT_HEAD_SIZE:
            if len(_heads) >= MAX_KEPT_HEADS:
                _heads.clear()
            _heads[status, headers] = head
    return head


def _encode_new_head(status: str, headers: tuple[Pair, ...]) -> Head:
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ValueError(f"a status is '200 OK' and the like, three digits from 200, a space and words: {status!r}")
    text, lengths, has_own_lines = "", [], False
    for name, value in headers:
        if note := note_of(name):
            if note == "content-length":
                lengths.append(value)
            else:
                has_own_lines = True
        text += name + ": " + value + "\r\n"
    if _FIELD_LINES.fullmatch(text) is None or text.count("\n") != len(headers):
        for pair in headers:
            check_field(*pair)  # raises what is wrong with one of them
    return Head(int(match[1]), f"HTTP/1.1 {status}\r\n".encode("latin-1"), Fields(headers), declared_length(lengths),
                has_own_lines)


@kept_if_short
def note_of(name: str) -> str:
    """The name in lower case if the server takes note of the field, else ""; raises ValueError for one it refuses."""
    if IS_NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a field name")
    lower = name.lower()
    if lower in HOP_BY_HOP:
        raise ValueError(f"{name} is a hop-by-hop field: a WSGI application must leave it to the server (PEP 3333)")
    return lower if lower in NOTED else ""


def _fault_of_types(status: Any, headers: list[Any]) -> TypeError | None:
    """What of a head has another type than PEP 3333 says; None if its types are right."""
    if not isinstance(status, str):
        return TypeError(f"a status is a str such as '200 OK', not {status!r}")
    for each in headers:
        if not isinstance(each, tuple) or len(each) != 2:
            return TypeError(f"each of the headers is a tuple of a name and a value, not {each!r}")
        name, value = each
        if not isinstance(name, str):
            return TypeError(f"the name of a field is a str, not {name!r}")
        if not isinstance(value, str):
            return TypeError(f"the value of {name} is a str, not {value!r}")
    return None


class WSGIResponse(Response):
    """The answer of an application, while it is made. Belongs to the thread whose turn it is, and to one exchange.

    `handler` is through which octets leave before the application has returned; None after that.
    """

    # Not in __init__, for few answers change them.
    head: Head | None = None  # what start_response was given
    content: Any  # octets, or an iterator over them
    length: int | None = None  # octets of the content, if they are known; without those that write() has sent
    offset: int | None = None  # where the content begins in a regular file that can be sent as it is
    filelike: Any = None  # that file
    is_whole = False  # whether `content` is the whole of it, the head leaves the rest to the server, and both are short
    is_all_there = False  # whether no code of the application is needed for the rest: a list, or a plain file
    is_headless = False  # whether the answer ends with its head
    is_sent = False  # whether the head cannot change any more
    was_written = False  # whether the head is out already, because of write()
    written_size = 0  # octets that write() has sent, the head included
    was_dropped = False  # whether write() was given octets that an answer without content leaves out
    is_chunked = False
    pace: Pace | None = None  # at which the client takes what the application's thread waits with
    failure: BaseException | None = None  # raised by the application when the head was out
    close: Callable[[], Any] | None = None  # the close of the application's iterable

    def __init__(self, handler: Any) -> None:
        self.handler: Any = handler
        self.content = b""

    def start_response(self, status: str, headers: list[Pair], exc_info: ExcInfo | None = None,
                       ) -> Callable[[bytes], None]:
        """PEP 3333's. Raises ValueError and TypeError for a head that cannot be sent, RuntimeError for a second one."""
        if exc_info:
            try:
                if self.is_sent and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # else it and this frame would hold each other
        elif self.head is not None:
            raise RuntimeError("start_response was called a second time, without exc_info")
        if type(headers) is not list:
            raise TypeError(f"the headers are a list of tuples, not {type(headers).__name__}")
        try:
            self.head = head = encode_head(status, tuple(headers))
        except (TypeError, ValueError) as error:
            raise _fault_of_types(status, headers) or error from None
        self.status, self.fields = head.status, head.fields
        return self.write

    def write(self, octets: bytes) -> None:
        """Sends octets before the application has returned. It waits for the client."""
        if self.handler is None:
            raise RuntimeError("write was called when the application had returned")
        self.handler.send_written(self, check_bytes(octets))

    def early_hints(self, headers: Iterable[Pair]) -> None:
        """wsgi.early_hints: sends a 103 with these fields, unless the answer is on its way. Raises ValueError."""
        fields = Fields(check_field(*pair) for pair in headers)
        for name, _ in fields.pairs:
            if note_of(name):
                raise ValueError(f"{name} has no place in early hints")
        if self.handler is not None and not self.was_written:
            self.handler.send_interim(103, fields)

    def __repr__(self) -> str:
        return f"<WSGIResponse {self.status if self.head else 'not started'}>"

    def with_fields(self, **fields: FieldArgument) -> "WSGIResponse":
        assert self.head is not None
        status = self.head.status_line[len("HTTP/1.1 "):-2].decode("latin-1")
        other = copy.copy(self)
        other.head = head = encode_head(status, self.fields.replaced(fields).pairs)
        other.fields, other.is_whole = head.fields, self.is_whole and not head.has_own_lines
        return other


def check_bytes(piece: Any) -> bytes:
    if type(piece) is not bytes:
        hint = " (it returns a list of bytes, not bytes themselves)" if type(piece) is int else ""
        raise TypeError(f"a WSGI application gives bytes, not {type(piece).__name__}{hint}")
    return piece


def size_of(result: Any) -> int | None:
    """Octets of what an application returned; None where it may have to be waited for."""
    return sum(map(len, result)) if _is_all_there(result) else None


def _is_all_there(result: Any) -> bool:
    return type(result) is list or type(result) is tuple


def pieces_of(result: Any) -> Iterator[Any]:
    """An iterator over what an application returned; raises TypeError, by name, for what is no iterable."""
    if _is_all_there(result):
        return _in_batches(result)
    try:
        return iter(result)
    except TypeError:
        if hasattr(result, "__iter__"):
            raise  # its own
        raise TypeError(f"a WSGI application returns an iterable of bytes, not {result!r}") from None


def _in_batches(items: list[bytes] | tuple[bytes, ...]) -> Iterator[bytes]:
    """What is all there, in pieces that are worth sending: PEP 3333's delay is that of a piece which is yet to come."""
    batch: list[bytes] = []
    size = 0
    for item in map(check_bytes, items):
        size += len(item)
        if size > SMALL_SIZE:
            yield b"".join(batch)
            batch.clear()
            size = len(item)
        batch.append(item)
    yield b"".join(batch)


def fault_of_call(application: Any, error: BaseException) -> TypeError | None:
    """What to raise instead, caught where the application was called, if it does not take the arguments of one."""
    trace = error.__traceback__
    if type(error) is not TypeError or trace is None or trace.tb_next is not None:  # it was raised further in
        return None
    return TypeError(f"{application!r} was called with environ and start_response, as WSGI applications are: {error} "
                     "(one for ASGI needs another server; a function that makes an application is to be called first, "
                     "on the command line with module:make())")
