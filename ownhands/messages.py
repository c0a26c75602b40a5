"""What the two sides say to each other: Request, Response, and HTTPError.

Values made of what parser.py found and what a handler answers. Refuses to know connections, turns and threads.
"""
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from math import isfinite
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, unquote

from .content import PIECE_SIZE, Decoder
from .fields import KEPT_NAME_SIZE, NO_FIELDS, FieldArgument, Fields, Values
from .hints import point_elsewhere
from .parser import REASONS, ProtocolError, RequestHead, check_field
from .targets import quote_reference, split_absolute_form

if TYPE_CHECKING:
    from .multipart import Part

Content = str | bytes | bytearray | memoryview | Iterable[bytes] | BinaryIO
MAX_FORM_FIELDS = 1000  # in a query, a form or cookies; more is an attack on the hash table
MAX_FORM_SIZE = 1 << 20  # octets of a form, which takes up to a hundred times that of memory while it is split


class HTTPError(Exception):
    """Raise it anywhere in a handler to answer with `status`; `detail` is told to the client, so keep it public.

    Keyword arguments become fields of the answer: `HTTPError(401, "who are you?", www_authenticate="Basic")`.
    """

    def __init__(self, status: int, detail: str = "", /, **fields: FieldArgument) -> None:
        if not isinstance(status, int):
            raise TypeError(f"the status is a number, not {status!r}")
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError takes a status from 400 to 599, not {status!r}; return a Response instead")
        super().__init__(status, detail)
        self.status, self.detail, self.fields = status, detail, Fields.from_keywords(fields)


class Request:
    """One request. `content` and `trailers` are complete before `on_request`, unless the handler class streams.

    method, target: as sent.  version: "HTTP/1.1" or "HTTP/1.0".  client_address: as socketserver gives it, or None.
    scheme: "http" or "https".  trailers: Fields.  All belongs to the thread whose turn it is.
    """

    # Most requests need none of these. Attributes of a handler's own, such as `request.user`, are welcome beside them.
    _decoder: Decoder | None = None
    _content: bytes | None = b""
    _stream: BinaryIO | None = None
    _fields: Fields | None = None
    _split: tuple[str, str, str] | None = None
    _path: str | None = None
    _query: Values | None = None
    _cookies: dict[str, str] | None = None

    def __init__(self, head: RequestHead, client_address: Any = None, connection: Any = None) -> None:
        self.head, self.method, self.target = head, head.method, head.target
        self.client_address, self.connection = client_address, connection

    @property
    def version(self) -> str:
        """The highest version both sides speak: HTTP/1.2 and above count as HTTP/1.1 (RFC 9110 6.2)."""
        return "HTTP/1.0" if self.head.control.is_10 else "HTTP/1.1"

    @property
    def fields(self) -> Fields:
        """The header fields, split when first asked for."""
        if self._fields is None:
            self._fields = Fields(self.head.pairs)
        return self._fields

    @property
    def content(self) -> bytes:
        """The decoded octets of the content; read from the stream, to its end, where they are not in memory."""
        if self._content is None:
            stream = self.stream
            where = stream.tell() if stream.seekable() else None
            if where is None:
                self._content = stream.read()
            else:  # nor does the stream move, as where the content is in memory
                stream.seek(0)
                self._content = stream.read()
                stream.seek(where)
        return self._content

    @property
    def stream(self) -> BinaryIO:
        """The content as a binary file, open until the answer is out."""
        if self._stream is None:
            self._stream = io.BytesIO(self.content)
        return self._stream

    @property
    def trailers(self) -> Fields:
        """The fields behind a chunked content, less those that may not stand there; empty until it has all come."""
        if self._decoder is None:
            return NO_FIELDS
        return Fields(pair for pair in self._decoder.trailers if pair[0].lower() not in FORBIDDEN_TRAILERS)

    def set_content(self, content: bytes | BinaryIO, decoder: Decoder | None = None) -> None:
        """For the handler that received it: the octets, or a file that has them; what has decoded them has trailers."""
        self._decoder = decoder
        if isinstance(content, bytes):
            self._content, self._stream = content, None
        else:
            self._content, self._stream = None, content

    def close(self) -> None:
        """Releases the content. Called once the answer is out."""
        if self._stream is not None:
            self._stream.close()

    @property
    def scheme(self) -> str:
        """"https" over TLS, else "http"."""
        return "https" if hasattr(self.connection, "getpeercert") else "http"

    def split_target(self) -> tuple[str, str, str]:
        """Authority, path as it was sent, and query without its question mark."""
        if self._split is None:
            authority, target = (self.head.control.host or b"").decode("ascii"), self.target
            if self.method == "CONNECT":
                authority, target = target, ""  # RFC 9110 7.1
            elif not target.startswith("/") and (absolute := split_absolute_form(target)) is not None:
                authority, target = absolute  # RFC 9112 3.2.2: it wins over Host
            path, _, query = target.partition("?")
            self._split = authority, path, query
        return self._split

    @property
    def host(self) -> str:
        """Host and port that the client addressed, validated, or "" (an HTTP/1.0 client need not say)."""
        return self.split_target()[0]

    @property
    def path(self) -> str:
        """The path, percent-decoded as UTF-8, octets that are none replaced. "*" for OPTIONS *."""
        if self._path is None:
            self._path = unquote(self.split_target()[1])
        return self._path

    @property
    def query(self) -> Values:
        """The query's names and values, parsed when first asked for; raises HTTPError(400) for too many."""
        if self._query is None:
            self._query = parse_form(self.split_target()[2])
        return self._query

    @property
    def url(self) -> str:
        """The target URI (RFC 9110 7.1), made only of parts that have passed the grammar."""
        host, path, query = self.split_target()
        origin_form = (path if path.startswith("/") else "") + ("?" + query if query else "")
        return f"{self.scheme}://{host or 'localhost'}{origin_form}"

    @property
    def cookies(self) -> dict[str, str]:
        """Names and values of the Cookie fields (RFC 6265 5.4), of equal names the first; a new dict each time.

        Raises HTTPError(400) for too many.
        """
        if self._cookies is None:
            self._cookies = parse_cookies(self.fields.get_all("Cookie"))
        return self._cookies.copy()

    @property
    def form(self) -> Values:
        """The names and values of an application/x-www-form-urlencoded content; raises HTTPError(415, 413 or 400)."""
        media_type = self.fields.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/x-www-form-urlencoded":
            raise HTTPError(415, "this takes a form sent as application/x-www-form-urlencoded")
        if len(self.content) > MAX_FORM_SIZE:
            raise HTTPError(413, "the form is too large")
        try:
            return parse_form(self.content.decode("utf-8"))
        except UnicodeDecodeError:
            raise HTTPError(400, "the form is not UTF-8") from None

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The client's verified certificate as `ssl.SSLSocket.getpeercert` gives it, None without one."""
        get: Callable[[], dict[str, Any]] | None = getattr(self.connection, "getpeercert", None)
        return (get() or None) if get is not None else None

    def json(self) -> Any:
        """The content as JSON; raises HTTPError(400) where it is none, or holds a number too large for a float."""
        import json  # takes long to import, and many programs have no use for it
        try:
            return json.loads(self.content, parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError):
            raise HTTPError(400, "the content is not JSON") from None

    def parts(self) -> "Iterator[Part]":
        """The parts of a multipart/form-data content, files among them, in order: read each before the next.

        Raises HTTPError(415) where it is none, ProtocolError(400) while it is read for what is malformed.
        """
        from .multipart import parse_boundary, read_parts  # most programs have no such form
        boundary = parse_boundary(self.fields.get("Content-Type", ""))
        if boundary is None:
            raise HTTPError(415, "this takes a form sent as multipart/form-data")
        return read_parts(boundary, partial(self.stream.read, PIECE_SIZE))

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target} {self.version}>"


point_elsewhere(Request, {name: f"write request.{instead}" for name, instead in {
    "headers": "fields", "body": "content", "data": "content", "text": "content.decode()", "args": "query",
    "params": "query", "files": "parts()", "uri": "target", "remote_addr": "client_address[0]"}.items()})

# RFC 9110 6.5.1: what frames, routes, authenticates, conditions or describes a message comes before its content.
FORBIDDEN_TRAILERS = frozenset([
    "age", "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range",
    "content-type", "cookie", "date", "expect", "expires", "host", "if-match", "if-modified-since", "if-none-match",
    "if-range", "if-unmodified-since", "keep-alive", "location", "max-forwards", "pragma", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "range", "retry-after", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "vary", "warning", "www-authenticate"])


def _finite(number: str) -> float:
    """A number of a JSON text; raises ValueError for what JSON has not, and for what would become infinite."""
    value = float(number)
    if not isfinite(value):
        raise ValueError(number)
    return value


def parse_form(text: str) -> Values:
    try:
        return Values(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError:
        raise HTTPError(400, "too many names and values") from None


def parse_cookies(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    cookies = ";".join(lines).split(";", MAX_FORM_FIELDS)
    if len(cookies) > MAX_FORM_FIELDS:
        raise HTTPError(400, "too many cookies")
    for cookie in cookies:
        name, separator, value = cookie.strip(" \t").partition("=")
        if separator:
            is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
            found.setdefault(name, value[1:-1] if is_quoted else value)
    return found


class Response:
    """An answer. `content`: str, bytes, an iterable of bytes, or a binary file, which is closed once sent.

    Keyword arguments become fields. A str is sent as UTF-8, and the `content_type` text/... of one beyond ASCII gets a
    charset. Framing, Date and Server are the server's to add. Raises ValueError for a field that could not be sent,
    TypeError for content of another kind. Not changed once made: see `with_fields`.
    """

    __slots__ = ("content", "fields", "status")

    def __init__(self, content: Content = b"", status: int = 200, /, *, content_type: FieldArgument = None,
                 **fields: FieldArgument) -> None:
        made = NO_FIELDS
        if isinstance(content, str):
            if type(content_type) is str and not content.isascii():
                content_type = in_utf_8(content_type)
            content, made = content.encode(), TEXT
        elif type(content) is not bytes:
            content = _check_content(content)
        if type(content_type) is str and len(content_type) <= KEPT_NAME_SIZE:
            made = fields_of_type(content_type)
        elif content_type is not None:
            made = Fields.from_keywords({"content_type": content_type})
        if fields:
            made = Fields(made.pairs + Fields.from_keywords(fields).pairs)
        if status != 200 or not made.is_plain:
            _check_head(status, made)
        self.fields = made
        self.content: bytes | Iterable[bytes] | BinaryIO = content
        self.status = status

    def with_fields(self, **fields: FieldArgument) -> "Response":
        """The same answer with these fields in place of those of the same names; None only takes them out."""
        new = self.fields.replaced(fields)
        _check_head(self.status, new)
        other = object.__new__(type(self))
        other.content, other.status, other.fields = self.content, self.status, new
        return other

    @classmethod
    def html(cls, content: str, status: int = 200, /, **fields: FieldArgument) -> "Response":
        """A page: text/html in UTF-8."""
        return cls(content, status, **{"content_type": "text/html; charset=utf-8"} | fields)

    @classmethod
    def json(cls, value: Any, status: int = 200, /, **fields: FieldArgument) -> "Response":
        """The value as JSON; raises TypeError or ValueError where JSON has no such value."""
        import json  # as above
        content = json.dumps(value, ensure_ascii=False, allow_nan=False)
        try:
            octets = content.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which UTF-8 cannot say, but JSON can
            octets = json.dumps(value).encode()
        return cls(octets, status, **{"content_type": "application/json"} | fields)

    @classmethod
    def redirect(cls, location: str, status: int = 303, /, **fields: FieldArgument) -> "Response":
        """See another place: 303 with GET; 307 or 308 to keep the method; 301 and 302 for old times' sake."""
        if not isinstance(status, int) or not 300 <= status <= 399:
            raise ValueError(f"a redirect has a status from 300 to 399, not {status!r}")
        if not isinstance(location, str):
            raise TypeError(f"a redirect leads to a URL, a str, not {type(location).__name__}")
        return cls(b"", status, location=quote_reference(location), **fields)

    @staticmethod
    def file(path: Any, /, *, download: bool | str = False, **fields: FieldArgument) -> "Response":
        """A file, with ranges and conditions; its name decides the media type. Raises OSError, HTTPError(404).

        `download` makes a browser save it: under its name, or the one that is given."""
        from .representation import FileResponse  # a Response, so it stands above this module
        return FileResponse(path, download=download, **fields)

    def for_request(self, request: Request) -> "Response":
        """What is sent of it in answer to `request`: by default, this. Raises HTTPError."""
        return self

    def __repr__(self) -> str:
        return f"<Response {self.status} {REASONS.get(self.status, '')}>"


point_elsewhere(Response, {
    "headers": "write response.fields", "status_code": "write response.status", "body": "write response.content",
    "set_cookie": 'write response.with_fields(set_cookie="name=value")'})


def as_response(answer: Any) -> Response:
    """What a hook has returned, as a Response; raises TypeError where it is none."""
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, (str, bytes)):
        return Response(answer)
    name = type(answer).__name__
    instead = f": {INSTEAD[name]}" if name in INSTEAD else ""
    raise TypeError(f"a handler returns a Response, a str or bytes, not {name}{instead}")


INSTEAD = {  # of what is returned by mistake: what to write
    "NoneType": "the method has no return",
    "dict": "write Response.json(value)",
    "list": "write Response.json(value), or Response(pieces) for pieces of bytes",
    "tuple": "write Response(text, status)",
    "int": "write Response(b'', status)",
    "generator": "write Response(pieces)",
    "coroutine": "handlers are not async, they may wait as they like",
    "HTTPError": "raise it",
}


def response_to(error: BaseException, content: str | bytes) -> Response:
    """An answer with the status of an HTTPError or ProtocolError, 500 for any other, and the fields of the first."""
    response = Response(content, error.status if isinstance(error, (HTTPError, ProtocolError)) else 500)
    if isinstance(error, HTTPError):
        ours = response.fields.without(*map(str.lower, error.fields))
        response.fields = Fields(ours.pairs + error.fields.pairs)
    return response


TEXT = Fields([("Content-Type", "text/plain; charset=utf-8")])


def in_utf_8(media_type: str) -> str:
    """The type of a str: one of text says in what it is encoded, for browsers would take it for something else."""
    is_unsaid = media_type[:5].lower() == "text/" and "charset" not in media_type.lower()
    return media_type + "; charset=utf-8" if is_unsaid else media_type


@lru_cache(maxsize=64)
def fields_of_type(media_type: str) -> Fields:
    """A Content-Type alone, made only once: servers send few of them, and often."""
    return Fields([check_field("Content-Type", media_type)])


def _check_content(content: Any) -> bytes | Iterable[bytes] | BinaryIO:
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if isinstance(content, io.TextIOBase):
        raise TypeError("the content is a file opened as text; open it with mode 'rb'")
    if hasattr(content, "read") or (isinstance(content, Iterable) and not isinstance(content, Mapping)):
        return content  # type: ignore[no-any-return]
    raise TypeError(f"content is str, bytes, an iterable of bytes or a binary file, not {type(content).__name__}")


def _check_head(status: int, fields: Fields) -> None:
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"a response has a status from 200 to 599, not {status!r}")
    if not fields.is_plain and "Transfer-Encoding" in fields:
        raise ValueError("Transfer-Encoding is the server's to choose: leave it out, give an iterable as content")
