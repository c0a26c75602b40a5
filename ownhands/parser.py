"""Octets to values and values to octets: the message grammar of RFC 9112, with its limits.

Pure functions. The outcome is a value, or None for 'more octets are needed', or ProtocolError for 'never valid'.
Refuses to know connections, clocks, handlers, and what a request is for.
"""
import re
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple

from .grammar import (
    BARE_LF,
    CHUNK_LINE,
    CODINGS_FOR_CHUNKED,
    CONTROL_LINE,
    EMPTY_LINES,
    FIELD_SECTION,
    IS_NAME,
    IS_VALUE,
    LONGEST_METHOD,
    NAME,
    REQUEST_HEAD,
    REQUEST_LINE,
    STATUS_LINE,
    VERSION,
)
from .limits import Limits
from .targets import is_authority, is_target

Pair = tuple[str, str]

KEPT_HEAD_SIZE = 4 << 10  # octets of a head that is kept in part or whole, for the next one may be the same
MAX_LENGTH_DIGITS = 18  # larger than any content, small enough for a machine word
SHORTEST_FIELD_LINE = 4  # octets: a:CRLF

LAST_CHUNK = b"0\r\n\r\n"
REASONS = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, reason.encode()) for status, reason in REASONS.items()}


class ProtocolError(Exception):
    """Octets that are no HTTP message, or more of them than a limit allows.

    `status` is the one to answer with; `detail` is one line for a person that never quotes the octets.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail


class Control:
    """What a request says of host, framing and persistence (RFC 9112 3.2, 6.3 and 9.3). Immutable: it is shared."""

    minor: bytes
    is_10: bool  # whether it is HTTP/1.0
    host: bytes | None
    content_length: int | None
    chunked: bool
    persistent: bool
    expects_continue: bool
    targets_https: bool  # whether its target is an https URL
    has_content: bool
    is_ordinary: bool  # whether it has neither a content to wait for nor an https target

    def __init__(self, *, minor: bytes, is_10: bool, host: bytes | None, content_length: int | None, chunked: bool,
                 persistent: bool, expects_continue: bool, targets_https: bool) -> None:
        has_content = chunked or bool(content_length)
        vars(self).update(
            minor=minor, is_10=is_10, host=host, content_length=content_length, chunked=chunked, persistent=persistent,
            expects_continue=expects_continue, targets_https=targets_https, has_content=has_content,
            is_ordinary=not has_content and not targets_https)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} is what a client has said; other requests that say the same share it")


class RequestHead:
    """A request line and its fields: `octets`. The content begins behind them, at `end`."""

    def __init__(self, method: str, target: str, section: bytes, control: Control, octets: bytes) -> None:
        self.method, self.target, self.section, self.control = method, target, section, control
        self.octets, self.end = octets, len(octets)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The header fields, in order."""
        return parse_field_lines(self.section)


class ResponseHead(NamedTuple):
    """A status line and its fields; `end` is where in the octets the content begins."""

    status: int
    reason: str
    minor: int
    pairs: tuple[Pair, ...]
    end: int


# ---- requests -------------------------------------------------------------------------------------------------------

def parse_request_head(octets: bytes, limits: Limits = Limits(),
                       previous: RequestHead | None = None) -> RequestHead | None:
    """The request head that the octets begin with, or None if it is not complete yet; raises ProtocolError.

    Empty lines before it are skipped (RFC 9112 2.2). `previous` is a head that was read before: parsing is pure, so the
    same octets mean the same head, and the same lines the same fields.
    """
    if previous is not None and octets.endswith(previous.section + b"\r\n\r\n"):
        head = _parse_with_fields_of(previous, octets, limits)
        if head is not None:
            return head
    match = REQUEST_HEAD.match(octets)
    if match is None:
        return _parse_other_head(octets, limits)
    method, target, minor, section = match.groups()
    end = match.end()
    if (end > limits.max_head_size or len(target) > limits.max_target_size
            or len(section) > limits.max_fields * SHORTEST_FIELD_LINE):
        _check_limits(end, target, section, limits)
    lines = tuple(CONTROL_LINE.findall(section))
    control = (parse_control if end > KEPT_HEAD_SIZE else _kept_control)(lines, minor)
    return RequestHead(method.decode(), target.decode(), section, control, octets[:end])


def _parse_with_fields_of(previous: RequestHead, octets: bytes, limits: Limits) -> RequestHead | None:
    """A head that differs from another in method and target at most; None if it does not, or may be too large."""
    section, control = previous.section, previous.control
    if len(octets) > limits.max_head_size or len(section) > limits.max_fields * SHORTEST_FIELD_LINE or (
            control.targets_https):  # as its target has said, not its fields
        return None
    if octets == previous.octets and len(previous.target) <= limits.max_target_size:  # a new one, as below
        return RequestHead(previous.method, previous.target, section, control, octets)
    line = REQUEST_LINE.match(octets)
    if line is None or line.end() + len(section) + len(b"\r\n\r\n") != len(octets) or line[3] != control.minor:
        return None
    method, target, _ = line.groups()
    if len(target) > limits.max_target_size:
        return None
    return RequestHead(method.decode(), target.decode(), section, control, octets)


def skip_empty_lines(octets: bytes) -> int:
    """Where the octets behind any empty lines begin, which may come before a request (RFC 9112 2.2)."""
    match = EMPTY_LINES.match(octets)
    return match.end() if match is not None else 0


def _parse_other_head(octets: bytes, limits: Limits) -> RequestHead | None:
    """What the one expression did not take: the rarer forms of target, a head cut short, or an error to name."""
    begin = skip_empty_lines(octets)
    end = octets.find(b"\r\n\r\n", max(begin - 2, 0))
    if end < 0:
        _check_unfinished(octets, octets[begin:], limits)
        return None
    line, separator, section = octets[begin:end].partition(b"\r\n")
    section = separator + section
    method, target, minor = _split_request_line(line, limits)
    _check_limits(end + 4, target, section, limits)
    if FIELD_SECTION.fullmatch(section) is None:
        raise ProtocolError(400, _fault_of_fields(section))
    if not is_target(method, target):
        raise ProtocolError(400, "the request target is malformed")
    control = parse_control(tuple(CONTROL_LINE.findall(section)), minor, target[:8].lower() == b"https://")
    return RequestHead(method.decode(), target.decode(), section, control, octets[:end + 4])


def _check_unfinished(octets: bytes, begun: bytes, limits: Limits) -> None:
    """Raises ProtocolError for the beginning of a head that no further octets can make valid."""
    if begun.count(b"\n") != begun.count(b"\r\n"):
        raise ProtocolError(400, "a line of the head does not end with CRLF")
    if begun and begun != b"\r" and not NAME.match(begun):
        raise ProtocolError(400, "the first octets are not those of an HTTP request")
    if len(begun) > LONGEST_METHOD and b" " not in begun[:LONGEST_METHOD + 1]:
        raise ProtocolError(501, "the method is too long")
    longest = LONGEST_METHOD + 1 + limits.max_target_size + len(" HTTP/1.1")
    if len(begun) > longest + 1 and b"\r\n" not in begun[:longest + 2]:
        raise ProtocolError(414, "the request target is too long")
    if len(octets) >= limits.max_head_size:
        raise ProtocolError(431, "the head is too large")
    if len(begun) > limits.max_fields * SHORTEST_FIELD_LINE and begun.count(b"\n") > limits.max_fields + 1:
        raise ProtocolError(431, "too many fields")


def _check_limits(size: int, target: bytes, section: bytes, limits: Limits) -> None:
    if len(target) > limits.max_target_size:
        raise ProtocolError(414, "the request target is too long")
    if size > limits.max_head_size:
        raise ProtocolError(431, "the head is too large")
    if section.count(b"\n") > limits.max_fields:
        raise ProtocolError(431, "too many fields")


def _split_request_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, bytes]:
    """Method, target and minor version of a request line (RFC 9112 3), whatever the form of its target."""
    if b"\n" in line or b"\r" in line:
        raise ProtocolError(400, "bare CR or LF in the request line")
    words = line.split(b" ")
    if not NAME.fullmatch(words[0]):
        raise ProtocolError(400, "the method is not a token")
    if len(words[0]) > LONGEST_METHOD:
        raise ProtocolError(501, "the method is too long")
    if len(words) > 1 and len(words[1]) > limits.max_target_size:
        raise ProtocolError(414, "the request target is too long")
    if len(words) != 3:
        raise ProtocolError(400, "the request line is not a method, a target and a version")
    version = re.fullmatch(VERSION, words[2])
    if version is None:
        raise ProtocolError(400, "the version is malformed")
    if version[1] != b"1":
        raise ProtocolError(505, "only HTTP/1.x is spoken here")
    return words[0], words[1], version[2]


# ---- fields ---------------------------------------------------------------------------------------------------------

def parse_control(lines: tuple[bytes, ...], minor: bytes = b"1", targets_https: bool = False) -> Control:
    """What the deciding ones of valid field lines mean; raises ProtocolError if the request must not be served."""
    found: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        found.setdefault(name.lower(), []).append(value.strip(b" \t"))
    is_10 = minor == b"0"
    codings, lengths = found.get(b"transfer-encoding"), found.get(b"content-length")
    if codings is not None:
        _check_codings(codings, lengths, is_10)
    persistent, options, expectations = not is_10, found.get(b"connection"), found.get(b"expect")
    if options is not None:
        members = _list_members(options)
        persistent = b"close" not in members and (not is_10 or b"keep-alive" in members)
    return Control(
        minor=minor, is_10=is_10, targets_https=targets_https, persistent=persistent,
        host=_parse_host(found.get(b"host"), is_10),
        content_length=None if lengths is None else _parse_length(lengths), chunked=codings is not None,
        expects_continue=expectations is not None and not is_10 and _parse_expect(expectations))


# The same few lines begin most connections: parsing is pure, so what they meant once they mean again, to anybody.
_kept_control = lru_cache(maxsize=256)(parse_control)


def _list_members(values: list[bytes]) -> list[bytes]:
    """The members of a comma-separated list over several lines, in lower case (RFC 9110 5.6.1)."""
    members = [member.strip(b" \t") for member in b",".join(values).lower().split(b",")]
    return [member for member in members if member]


def _parse_host(values: list[bytes] | None, is_10: bool) -> bytes | None:
    """RFC 9112 3.2: HTTP/1.1 has one Host; no request has two, or one that is no authority."""
    if values is None:
        if is_10:
            return None
        raise ProtocolError(400, "Host is missing")
    if len(values) > 1:
        raise ProtocolError(400, "Host is given more than once")
    if values[0] and not is_authority(values[0]):  # RFC 9112 3.2: it is empty where the client has no name to give
        raise ProtocolError(400, "Host is malformed")
    return values[0]


def _parse_length(values: list[bytes]) -> int:
    """RFC 9112 6.3 item 5: lists and repeats could be merged but never are by an honest client; refused."""
    value = values[0]
    if len(values) > 1 or not value.isdigit():  # bytes.isdigit takes the ten ASCII digits only
        raise ProtocolError(400, "Content-Length is not one number")
    if len(digits := value.lstrip(b"0")) > MAX_LENGTH_DIGITS:
        raise ProtocolError(413, "the content is too large")
    return int(digits or b"0")


def _check_codings(values: list[bytes], lengths: list[bytes] | None, is_10: bool) -> None:
    """RFC 9112 6.1: only chunked, once, alone; both ways of framing, or any coding in HTTP/1.0, may be smuggling."""
    if is_10:
        raise ProtocolError(400, "Transfer-Encoding in an HTTP/1.0 request")
    if lengths is not None:
        raise ProtocolError(400, "both Transfer-Encoding and Content-Length")
    if [value.lower() for value in values] == [b"chunked"]:
        return
    codings = b",".join(values)
    if re.fullmatch(CODINGS_FOR_CHUNKED, codings) and _list_members(values).count(b"chunked") == 1:
        raise ProtocolError(501, "a transfer coding other than chunked")
    raise ProtocolError(400, "Transfer-Encoding does not end with chunked")


def _parse_expect(values: list[bytes]) -> bool:
    members = _list_members(values)
    if any(member != b"100-continue" for member in members):
        raise ProtocolError(417, "only 100-continue can be expected")
    return bool(members)


def parse_field_lines(section: bytes) -> tuple[Pair, ...]:
    """Names and values, in order, of a valid field section with a CRLF before each line."""
    lines = section.decode("latin-1").split("\r\n")[1:]
    return tuple((name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines))


def _fault_of_fields(section: bytes) -> str:
    """Why a field section is invalid, in words."""
    for line in section.split(b"\r\n")[1:]:
        name, colon, _ = line.partition(b":")
        if line[:1] in (b" ", b"\t"):
            return "a field line begins with white space"  # RFC 9112 5.2: obs-fold
        if not colon:
            return "a field line has no colon"
        if name.rstrip(b" \t") != name:
            return "white space between a field name and its colon"  # RFC 9112 5.1
        if not NAME.fullmatch(name):
            return "a field name is not a token"
    return "a control character in a field value"  # there is nothing else that makes it invalid


def encode_field_lines(pairs: tuple[Pair, ...]) -> bytes:
    """Names and values as field lines, each with its CRLF. They must have passed `check_field`."""
    return "".join([f"{name}: {value}\r\n" for name, value in pairs]).encode("latin-1")


def check_field(name: str, value: str) -> Pair:
    """The pair, if it can stand in a message; raises ValueError otherwise (RFC 9110 5.1, 5.5)."""
    if not IS_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a field name")
    if not IS_VALUE.fullmatch(value):
        raise ValueError(f"the value of {name} holds a character that no field value may: {value!r}")
    return name, value.strip(" \t")


# ---- content framing ------------------------------------------------------------------------------------------------

def parse_chunk_line(octets: bytes, start: int, max_chunk_line_size: int) -> tuple[int, int, int] | None:
    """Size of the chunk, size of its extensions, and where its data begins (RFC 9112 7.1); None: not complete."""
    if octets.find(b"\n", start) < 0 and len(octets) - start <= max_chunk_line_size:
        return None
    match = CHUNK_LINE.match(octets, start, start + max_chunk_line_size)
    if match is None:
        raise ProtocolError(400, "a chunk size line is malformed or too long")
    digits, extensions = match.groups()
    if len(digits) > MAX_LENGTH_DIGITS - 3:
        raise ProtocolError(413, "a chunk is too large")
    return int(digits or b"0", 16), len(extensions), match.end()


def parse_trailer_section(octets: bytes, start: int, max_trailer_size: int, max_fields: int,
                          searched: int = 0) -> tuple[tuple[Pair, ...], int] | None:
    """The trailer fields and where the next message begins (RFC 9112 7.1.2); None: not complete.

    `searched` octets of it have come to that before, and are not looked at again.
    """
    if octets.startswith(b"\r\n", start):
        return (), start + 2
    end = octets.find(b"\r\n\r\n", start + max(searched - 3, 0))
    if (len(octets) if end < 0 else end + 4) - start > max_trailer_size:
        raise ProtocolError(431, "the trailer section is too large")
    section = b"\r\n" + octets[start:end] if end >= 0 else b""
    if FIELD_SECTION.fullmatch(section) is None or (end < 0 and BARE_LF.search(octets, start + searched)):
        raise ProtocolError(400, "the trailer section is malformed")
    if section.count(b"\n") > max_fields:
        raise ProtocolError(431, "too many trailer fields")
    return (parse_field_lines(section), end + 4) if end >= 0 else None


def encode_chunk(data: bytes) -> bytes:
    """One chunk (RFC 9112 7.1). No data would be the last chunk: see LAST_CHUNK."""
    return b"%x\r\n%b\r\n" % (len(data), data)


# ---- responses ------------------------------------------------------------------------------------------------------

def encode_status_line(status: int) -> bytes:
    """The status line with its CRLF; an unregistered status has no reason (RFC 9112 4)."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def parse_response_head(octets: bytes) -> ResponseHead | None:
    """The response head that the octets begin with, or None if it is not complete yet; raises ProtocolError."""
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return None
    line, separator, section = octets[:end].partition(b"\r\n")
    status_line = re.fullmatch(STATUS_LINE, line)
    if status_line is None or FIELD_SECTION.fullmatch(separator + section) is None:
        raise ProtocolError(502, "not a response head")
    minor, status, reason = status_line.groups()
    pairs = parse_field_lines(separator + section)
    return ResponseHead(int(status), reason.decode("latin-1"), int(minor), pairs, end + 4)
