"""multipart/form-data, read as it arrives: the parts of a form and their content (RFC 7578, RFC 2046 5.1).

Takes octets from a function that gives more of them. Refuses to know requests, and where a content goes.
"""
import re
from collections.abc import Callable, Iterator
from itertools import islice
from urllib.parse import unquote

from .grammar import NAME
from .parser import ProtocolError

MAX_PART_HEAD_SIZE = 16 << 10  # octets of the fields of one part
MAX_PARTS = 1000
MAX_PARAMETERS = 32  # of a Content-Type or a Content-Disposition; clients send three at the most
# RFC 9110 5.6.6: one parameter of a Content-Type, or none between two semicolons.
_TYPE_PARAMETER = re.compile(r';\s*(?:([^\s=;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*)?(?=;|\Z)')
MAX_BOUNDARY_SIZE = 70  # RFC 2046 5.1.1
# RFC 2046 5.1.1: what is behind a delimiter, its padding no longer than anybody needs; and how far it may have come.
_AFTER_DELIMITER = re.compile(rb"(--)|[ \t]{0,1000}\r\n")
_BEGUN = re.compile(rb"-?|[ \t]{0,1000}\r?")
_PART_HEAD = re.compile(rb"(?:%b:[^\r\n\0]*(?:\r\n[ \t][^\r\n\0]*)*\r\n)*+\r\n" % NAME.pattern)
_FOLD = re.compile(rb"\r\n(?=[ \t])")  # RFC 5322 2.2.3
_DISPOSITION = re.compile(rb"(?:\A|\n)content-disposition:[ \t]*form-data[ \t]*(;[^\r\n]*)?\r\n", re.I)
# A quoted value ends at the first quote without a backslash; where that leaves no whole list of parameters, the name
# ends in a backslash, which browsers send as it is, and the first quote is its end.
_PARAMETER = r';\s*([^\s=;"]+)\s*=\s*(?:"(%s)"|([^\s";]*))\s*'
_EXTENDED = re.compile(r"utf-8'[^']*'(.*)", re.I | re.S)  # RFC 8187 3.2.1: with the language, or without
_ESCAPED = re.compile(r'\\(["\\])|%(?:22|0[DA])', re.I)
_MEANT = {"%22": '"', "%0D": "\r", "%0A": "\n"}
_GRAMMARS = tuple(re.compile(_PARAMETER % quoted) for quoted in (r'(?:[^"\\]|\\.)*+', r'[^"]*+'))


class Part:
    """One part of a form: `name`, `filename` (None where it is no file), and the content by iterating over it.

    Names are as they were sent, paths and all: never use one as a file's name before it is cleaned.
    """

    def __init__(self, name: str, filename: str | None, pieces: Iterator[bytes]) -> None:
        self.name, self.filename, self._pieces = name, filename, pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def parse_boundary(content_type: str) -> bytes | None:
    """The boundary that a Content-Type declares, None where it is no multipart/form-data with one."""
    media_type = content_type.partition(";")[0]
    end = len(media_type) if media_type.strip().lower() == "multipart/form-data" else len(content_type)
    for _ in range(MAX_PARAMETERS):
        match = _TYPE_PARAMETER.match(content_type, end)
        if match is None:
            break
        name, quoted, token = match.groups("")
        if name.lower() == "boundary":  # where it is repeated the first counts
            boundary = re.sub(r"\\(.)", r"\1", quoted) or token
            return boundary.encode("latin-1") if 0 < len(boundary) <= MAX_BOUNDARY_SIZE else None
        end = match.end()
    return None


def read_parts(boundary: bytes, read: Callable[[], bytes]) -> Iterator[Part]:
    """The parts in order, until `read` gives b"". Going on to the next part skips what is left of the one before.

    Memory is bounded by what one `read` gives. Raises ProtocolError(400) for what is no form or ends early, and
    whatever `read` raises.
    """
    reader = _Reader(boundary, read)
    count = 0
    reader.skip(count)  # the preamble
    while not reader.is_last:
        count += 1
        if count > MAX_PARTS:
            raise ProtocolError(400, "the form has too many parts")
        name, filename = parse_part_head(reader.take_head())
        yield Part(name, filename, reader.content(count))
        reader.skip(count)
    while read():  # the epilogue, so that the connection can go on
        pass


class _Reader:
    """What has come and is not used yet, and what comes next."""

    def __init__(self, boundary: bytes, read: Callable[[], bytes]) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._read = read
        # Before a content comes the end of a line, which may be the delimiter's (RFC 2046 5.1.1), the first one's too.
        self._buffer = b"\r\n"
        self._in_content = True
        self.is_last = False  # whether the delimiter that was taken ends the form
        self._skipped = -1  # the count of the last part that is over; the preamble counts as one

    def _more(self) -> None:
        octets = self._read()
        if not octets:
            raise ProtocolError(400, "the form ended early")
        self._buffer += octets

    def content(self, count: int) -> Iterator[bytes]:
        """Pieces up to the next delimiter, whose line is taken too: without that the content has not come whole.

        `count` is that of the part. Raises ValueError once the next one was asked for.
        """
        start = len(b"\r\n")
        while True:
            if count <= self._skipped:
                raise ValueError("this part was skipped: read each before you ask for the next")
            if not self._in_content:
                return
            end = self._find_end()
            piece, self._buffer = self._buffer[start:end], self._buffer[end:]
            start = start if not end else 0
            if piece:
                yield piece
            if self._buffer.startswith(self._delimiter):
                self._take_delimiter()
            else:
                self._more()

    def _find_end(self) -> int:
        """Where the delimiter begins, or where it may have begun, or the end of what has come."""
        end = self._buffer.find(self._delimiter)
        if end < 0:
            end = self._buffer.rfind(b"\r", -len(self._delimiter))
            if end < 0 or not self._delimiter.startswith(self._buffer[end:]):
                end = len(self._buffer)
        return end

    def _take_delimiter(self) -> None:
        """With the rest of its line. RFC 2046 5.1.1: no line of a content begins as it does, whatever comes then."""
        behind = len(self._delimiter)
        while (match := _AFTER_DELIMITER.match(self._buffer, behind)) is None:
            if _BEGUN.fullmatch(self._buffer, behind) is None:
                raise ProtocolError(400, "the form's boundary is malformed")
            self._more()
        self._buffer = self._buffer[match.end():]
        self._in_content, self.is_last = False, bool(match[1])

    def skip(self, count: int) -> None:
        """What is left of a part."""
        for _ in self.content(count):
            pass
        self._skipped = count

    def take_head(self) -> bytes:
        while (match := _PART_HEAD.match(self._buffer, 0, MAX_PART_HEAD_SIZE)) is None:
            if len(self._buffer) >= MAX_PART_HEAD_SIZE or b"\r\n\r\n" in self._buffer:
                raise ProtocolError(400, "the fields of a part are malformed or too long")
            self._more()
        self._buffer = self._buffer[match.end() - len(b"\r\n"):]
        self._in_content = True
        return match[0]


def parse_part_head(head: bytes) -> tuple[str, str | None]:
    """The name and the filename of a part, from its fields; raises ProtocolError(400)."""
    disposition = _DISPOSITION.search(_FOLD.sub(b"", head))
    parameters = _parse_parameters((disposition[1] or b"").decode("utf-8", "surrogateescape")) if disposition else None
    if parameters is None or "name" not in parameters:
        raise ProtocolError(400, "a part of the form has no name")
    filename = parameters.get("filename")
    extended = _EXTENDED.fullmatch(parameters.get("filename*", ""))
    if extended is not None:  # RFC 7578 4.2 forbids it, some clients send it
        filename = unquote(extended[1])
    return parameters["name"], filename


def _parse_parameters(text: str) -> dict[str, str] | None:
    """The parameters of a Content-Disposition, None where they are malformed or too many."""
    for grammar in _GRAMMARS:
        matches = list(islice(grammar.finditer(text), MAX_PARAMETERS))
        if "".join(match[0] for match in matches) == text:
            return {match[1].lower(): _unescape(match[2]) if match[2] is not None else match[3] for match in matches}
    return None


def _unescape(quoted: str) -> str:
    """Browsers write a quote and line ends in percent-encoding and nothing else; older curl a backslash before it."""
    return _ESCAPED.sub(lambda match: match[1] or _MEANT[match[0].upper()], quoted)
