"""A file as an answer: its fields, and what a conditional or range request gets of it.

Refuses to know folders and handlers: what may be sent is decided before.
"""
import errno
import os
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from . import mediatypes
from .conditions import MAX_RANGES, Range, evaluate, parse_ranges, range_applies
from .content import PIECE_SIZE
from .dates import encode_date, parse_date
from .fields import FieldArgument, Fields, field_name
from .fileslice import FileSlice
from .folder import open_path
from .framing import SMALL_SIZE
from .messages import HTTPError, Request, Response
from .parser import KEPT_HEAD_SIZE, Pair
from .smallfiles import is_settled

# What the system says where a file cannot be opened; see `read_error`.
IS_MISSING = frozenset([errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ])
IS_FORBIDDEN = frozenset([errno.EACCES, errno.EPERM])
IS_SHORT = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOMEM])

AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# RFC 9110 15.4.5: what 304 does not repeat, since it describes a content that the client has.
_DESCRIBING = ("content-type", "content-encoding", "content-language", "content-length", "content-disposition",
               "last-modified", "accept-ranges", "x-content-type-options")


class FileResponse(Response):
    """A file, opened when this is made; the request's conditions and ranges are looked at when it is sent."""

    __slots__ = ()

    def __init__(self, path: AnyPath, /, *, download: bool | str = False,
                 **fields: FieldArgument) -> None:
        """See `Response.file`."""
        content, status = open_file(path)
        name = PurePath(os.fsdecode(path)).name
        defaults: dict[str, FieldArgument] = {"content_type": mediatypes.guess(name)}
        if download is not False:
            defaults["content_disposition"] = mediatypes.disposition(download if isinstance(download, str) else name)
        super().__init__(content, 200, **defaults | fields)
        now = time.time()
        described = describe_file(etag_of(status, now), modified_of(status, now))
        given = [field_name(keyword).lower() for keyword in fields]
        self.fields = Fields(self.fields.pairs + described.without(*given).pairs)

    def for_request(self, request: Request) -> Response:
        """The file, or the part of it that is asked for, or 304; raises HTTPError(412 or 416)."""
        return select(request, self)


def open_file(path: AnyPath) -> tuple[FileSlice, os.stat_result]:
    """Opens a regular file; raises HTTPError(404) where there is none, OSError where it cannot be read."""
    try:
        opened = open_path(os.fsencode(path))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file has a NUL in its name
        raise HTTPError(404, "there is no such file") from None
    except PermissionError:
        if os.path.isdir(path):  # noqa: PTH112  of any type
            raise HTTPError(404, "there is no such file") from None
        raise
    if opened.is_folder:
        opened.close()
        raise HTTPError(404, "there is no such file")
    return FileSlice(opened.fd, 0, opened.status.st_size), opened.status


# ---- fields ---------------------------------------------------------------------------------------------------------

PACKED = "-gz"  # the variant of a file that is compressed when it is sent


def etag_of(status: os.stat_result, now: float, variant: str = "") -> str:
    """The entity tag of a file that is read as it is, or of a `variant` made of it.

    Strong, for a write changes the time and a replacement the inode. But until the clock has ticked a second write
    would get the same time: the tag is weak, and no later one is the same.
    """
    tag = f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}{variant}"
    return f'"{tag}"' if is_settled(status, now) else f'W/"{tag}-{int(now * 1e9):x}"'


def modified_of(status: os.stat_result, now: float) -> int:
    """The time of the last modification in whole seconds, never later than the answer's Date (RFC 9110 8.8.2.1)."""
    return int(min(max(status.st_mtime, 0), now))


@lru_cache(maxsize=1024)
def describe_file(etag: str, modified: int, media_type: str = "", coding: str = "",
                  others: tuple[Pair, ...] = ()) -> Fields:
    """The fields of a whole file. Remembered, since encoding them is a good part of sending a small one."""
    pairs = [("ETag", etag), ("Last-Modified", encode_date(modified)), ("Accept-Ranges", "bytes"),
             ("X-Content-Type-Options", "nosniff")]
    if media_type:
        pairs.insert(0, ("Content-Type", media_type))
    if coding:
        pairs.append(("Content-Encoding", coding))
    return Fields((*pairs, *others))


def response_of(content: Any, status: int, fields: Fields) -> Response:
    """A response whose fields are made already."""
    response = Response(content, status)
    response.fields = fields
    return response


# ---- what a request gets --------------------------------------------------------------------------------------------

def select(request: Request, response: Response, max_ranges: int = MAX_RANGES) -> Response:
    """The response to a GET or HEAD, with validators and a FileSlice or octets as content, or what takes its place.

    That is 304 or 206; raises HTTPError(412 or 416). What is not sent of the content is closed.
    """
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return response
    response = heed_conditions(request, response)
    if response.status != 200:
        return response
    content: Any = response.content
    size = content.length if isinstance(content, FileSlice) else len(content)
    etag, modified = validators_of(response)
    if "Content-Encoding" in response.fields:
        modified = None  # RFC 9110 8.8.2.2: the file as it is may have the same date, and identifies other octets
    ranges = asked_ranges(request, etag, modified, size, max_ranges)
    return response if ranges is None else select_ranges(response, ranges, size)


def heed_conditions(request: Request, response: Response) -> Response:
    """The response to a GET or HEAD, or 304; raises HTTPError(412). Where it has no tag, there is one that none names.

    RFC 9110 13.2.1: for what would be a success only.
    """
    etag, modified = validators_of(response)
    status = evaluate(request.method, request.fields, etag or "", modified)
    if status is None:
        return response
    close(response.content)
    if status == 304:
        return response_of(b"", 304, not_modified(response.fields))
    raise HTTPError(412, "the file has changed" if etag else "this has no tag")


def not_modified(fields: Fields) -> Fields:
    """What 304 says of the fields that 200 would have."""
    is_short = len(fields.octets) <= KEPT_HEAD_SIZE
    return (_kept_not_modified if is_short else _kept_not_modified.__wrapped__)(fields.pairs)


@lru_cache(maxsize=256)
def _kept_not_modified(pairs: tuple[Pair, ...]) -> Fields:
    return Fields(pairs).without(*_DESCRIBING)


def validators_of(response: Response) -> tuple[str | None, int | None]:
    """The entity tag, and the time of the last modification."""
    return response.fields.get("ETag"), parse_date(response.fields.get("Last-Modified", ""))


def asked_ranges(request: Request, etag: str | None, modified: int | None, size: int,
                 max_ranges: int) -> list[Range] | None:
    """The ranges that a request asks for, as `parse_ranges` gives them; None where Range is not there, or not to count.

    `etag`, `modified` and `size` are those of what they would be of.
    """
    wanted = request.fields.get("Range") if request.method == "GET" else None  # RFC 9110 14.2: defined for GET only
    if wanted is None or not range_applies(request.fields.get("If-Range"), etag, modified, time.time()):
        return None
    return parse_ranges(wanted, size, max_ranges)


def select_ranges(response: Response, ranges: Sequence[Range], size: int) -> Response:
    """206 with one range or several; raises HTTPError(416) for none."""
    content: Any = response.content
    if not ranges:
        close(response.content)
        raise HTTPError(416, "there are no such octets, or too many ranges", content_range=f"bytes */{size}")
    if len(ranges) > 1:
        return select_parts(response, ranges, size)
    first, end = ranges[0]
    fields = Fields((*response.fields.pairs, ("Content-Range", f"bytes {first}-{end - 1}/{size}")))
    if isinstance(content, FileSlice):
        content.offset, content.length = content.offset + first, end - first
    else:
        content = content[first:end]
    return response_of(content, 206, fields)


def select_parts(response: Response, ranges: Sequence[Range], size: int) -> Response:
    """206 with several ranges as multipart/byteranges (RFC 9110 14.6)."""
    parts = Parts(response.content, response.fields.get("Content-Type", ""), ranges, size)
    fields = response.fields.without("content-type")
    return response_of(parts, 206, Fields((
        ("Content-Type", f"multipart/byteranges; boundary={parts.boundary}"), *fields.pairs,
        ("Content-Length", str(parts.length)))))


class Parts:
    """Several ranges of a content, each a part with a head of its own."""

    def __init__(self, content: Any, media_type: str, ranges: Sequence[Range], size: int) -> None:
        self.content, self.ranges = content, ranges
        self.boundary = os.urandom(16).hex()
        start = f"\r\n--{self.boundary}\r\n" + (f"Content-Type: {media_type}\r\n" if media_type else "")
        self.heads = [f"{start}Content-Range: bytes {first}-{end - 1}/{size}\r\n\r\n".encode()
                      for first, end in ranges]
        self.tail = f"\r\n--{self.boundary}--\r\n".encode()
        self.length = sum(map(len, self.heads)) + sum(end - first for first, end in ranges) + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        """In pieces of a good size, though most ranges may be of a few octets."""
        gathered = b""
        for piece in self._pieces():
            if len(gathered) + len(piece) > PIECE_SIZE:
                yield gathered
                gathered = b""
            gathered += piece
        yield gathered

    def _pieces(self) -> Iterator[bytes]:
        for head, (first, end) in zip(self.heads, self.ranges, strict=True):
            yield head
            if isinstance(self.content, FileSlice):
                yield from self.content.pieces(self.content.offset + first, end - first)
            else:
                yield self.content[first:end]
        yield self.tail

    def close(self) -> None:
        close(self.content)


# ---- contents -------------------------------------------------------------------------------------------------------

def close(content: Any) -> None:
    """Gives back what a content holds."""
    if isinstance(content, FileSlice):
        content.close()


def read_all(content: FileSlice | bytes) -> bytes:
    """All of a small file; raises HTTPError(503) where it has become shorter since it was opened."""
    try:
        return content if isinstance(content, bytes) else content.read_all()
    except EOFError:
        raise HTTPError(503, "the file is being changed, try again", retry_after=1) from None


def read_now(content: FileSlice | bytes) -> bytes:
    """The same, and closes it."""
    try:
        return read_all(content)
    finally:
        close(content)


def in_memory(request: Request, response: Response) -> Response:
    """Reads what is small, so that it is sent together with the head; the rest is left to the system."""
    content = response.content
    if isinstance(content, FileSlice) and content.length <= SMALL_SIZE and request.method != "HEAD":
        response.content = read_now(content)
    return response


def missing(**fields: FieldArgument) -> HTTPError:
    return HTTPError(404, "there is nothing here", **fields)


def read_error(error: OSError) -> Exception:
    """The answer to what the system has said; the error itself where it is none of the client's business."""
    if error.errno in IS_MISSING:
        return missing()
    if error.errno in IS_FORBIDDEN:
        return HTTPError(403, "this cannot be read")
    if error.errno in IS_SHORT:
        return HTTPError(503, "too busy, try again later", retry_after=1)
    return error
