"""Files sent to a folder: which may be stored, under what name, and how each gets there whole or not at all.

Refuses to know who is authorised and which folder a path means: the handler asks it about a folder and a name.
"""
import errno
import functools
import io
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from urllib.parse import quote

from .codings import IDENTITY
from .conditions import evaluate
from .content import PIECE_SIZE
from .messages import HTTPError, Request, Response
from .multipart import Part, parse_boundary, read_parts
from .parser import REASONS
from .representation import PACKED, etag_of, modified_of
from .targets import quote_origin_form

FORM_SLACK = 1 << 20  # octets in which a part that is too large may end, and the form be read to its end all the same
MAX_NAME_SIZE = 255  # octets of a file's name
UNLIMITED = 1 << 62
_PARTIAL = re.compile(r"\.upload-[0-9a-f]{16}\.part")
# Controls, and what turns the direction of text so that a name is read as another one.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$) *(?:\.|\Z)", re.I)
# What the system says, and the answer to it; anything else is a fault, and 500.
_STATUSES = {errno.ENOSPC: 507, errno.EDQUOT: 507, errno.EFBIG: 413, errno.EACCES: 403, errno.EPERM: 403,
             errno.EROFS: 403, errno.ENOENT: 409, errno.ENOTDIR: 409, errno.EISDIR: 409, errno.EEXIST: 409,
             errno.ENAMETOOLONG: 400, errno.EILSEQ: 400, errno.EINVAL: 400}
_NO_LINKS = frozenset([errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES])


class Terms(NamedTuple):
    """What may be sent to a folder."""

    overwrite: bool = False  # whether a file may take the place of another
    hidden: bool = False  # whether a name may begin with a dot
    max_size: int | None = None  # octets of one file; 413


# ---- before the content is read -------------------------------------------------------------------------------------

def check_origin(request: Request) -> None:
    """Raises HTTPError(403) for what a page of another site has made a browser send.

    A client that is no browser says nothing of its origin and is let through: it holds no cookies of anybody.
    """
    site = request.fields.get("Sec-Fetch-Site")
    origin = request.fields.get("Origin")
    if site not in (None, "same-origin", "none") or (origin is not None and site is None and
                                                     origin.partition("://")[2].lower() != request.host.lower()):
        raise HTTPError(403, "this was sent by a page of another site")


def check_upload(request: Request, folder: Path, name: str, terms: Terms) -> tuple[int, Callable[[], "Partial"]]:
    """For `on_head`: whether this PUT or POST may go on, `name` being "" where the folder itself is addressed.

    Gives what `gather_this` takes. Raises HTTPError: 400, 403, 405, 409, 412, 413, 415 and 507. All is looked at again
    once the content has come, but a refusal spares sending it.
    """
    check_origin(request)
    if not folder.is_dir():
        raise HTTPError(409, "there is no such folder")
    length = request.head.control.content_length or 0  # of chunks only their end tells
    max_size = UNLIMITED if terms.max_size is None else terms.max_size
    if request.method == "POST":
        if name:
            raise HTTPError(405, "a form is sent to a folder")
        wanted = UNLIMITED, functools.partial(open_form, folder, check_form(request), max_size)
        length *= 2  # the form, and the files in it
    else:
        check_put(request, folder, name, terms)
        if length > max_size:
            raise too_large(max_size)
        wanted = max_size, functools.partial(open_partial, folder)
    from shutil import disk_usage  # takes long to import
    if length > disk_usage(folder).free:
        raise HTTPError(507, "there is not enough space")
    return wanted


def check_coding(request: Request) -> None:
    """Raises HTTPError(415) for what comes compressed: it would be stored so, and be something else."""
    codings = [coding.strip(" \t").lower() for coding in request.fields.get("Content-Encoding", "").split(",")]
    if any(coding not in ("", IDENTITY) for coding in codings):
        raise HTTPError(415, "this takes files as they are", accept_encoding=IDENTITY)  # RFC 9110 15.5.16, 12.5.3


def check_form(request: Request) -> bytes:
    """The boundary of a form that may be sent to a folder. Raises HTTPError: 412 and 415."""
    check_coding(request)
    boundary = parse_boundary(request.fields.get("Content-Type", ""))
    if boundary is None:
        raise HTTPError(415, "this takes a form sent as multipart/form-data", accept="multipart/form-data")
    if evaluate(request.method, request.fields, "", None) is not None:  # RFC 9110 13.1: it exists, and has no tag
        raise HTTPError(412, "a folder has no tag, and exists")
    return boundary


def check_put(request: Request, folder: Path, name: str, terms: Terms) -> None:
    """Whether a file of this very name can be put here: what a PUT addresses is not renamed."""
    if not name:
        raise HTTPError(409, "this is a folder; give the file a name")
    if clean_name(name, terms.hidden) != name:
        raise HTTPError(400, "a file cannot have this name here")
    check_coding(request)
    if "Content-Range" in request.fields:
        raise HTTPError(400, "this takes whole files")  # RFC 9110 14.5
    check_conditions(request, folder / name)
    if os.path.lexists(folder / name) and not terms.overwrite:
        raise HTTPError(409, "it exists already")


def check_conditions(request: Request, target: Path) -> None:
    """Whether it is, and still is, the file that is meant (RFC 9110 13.1). Raises HTTPError: 412; 409 for a folder."""
    etag, modified, now = None, None, time.time()
    with suppress(OSError):
        status = target.stat()
        if stat.S_ISDIR(status.st_mode):
            raise HTTPError(409, "a folder has this name")
        tags = etag_of(status, now, PACKED), etag_of(status, now)
        named = request.fields.get("If-Match", "") + request.fields.get("If-None-Match", "")
        etag = next((tag for tag in tags if tag in named), tags[-1])  # of either form in which it may have been got
        modified = modified_of(status, now)
    if _is_for_new(request) and os.path.lexists(target):
        raise HTTPError(412, "it exists already")
    if evaluate(request.method, request.fields, etag, modified) is not None:
        raise HTTPError(412, "there is no such file" if etag is None else "the file has changed")


def _is_for_new(request: Request) -> bool:
    return request.fields.get("If-None-Match", "").strip(" \t") == "*"


def too_large(max_size: int) -> HTTPError:
    return HTTPError(413, f"a file may have {max_size} octets at most")


# ---- names ----------------------------------------------------------------------------------------------------------

def clean_name(name: str, hidden: bool = False, on_windows: bool = os.name == "nt") -> str:
    """What a file sent as `name` may be called: the last part of a path, printable, of a length that fits; or "".

    `hidden` lets it begin with a dot. Octets that are no UTF-8 stay what they are.
    """
    name = _UNPRINTABLE.sub("", re.split(r"[/\\]", name)[-1]).strip(" ")
    if on_windows:
        name = _NOT_ON_WINDOWS.sub("_", name).rstrip(" .")
        name = "_" + name if _DEVICE.match(name) else name
    if not hidden:
        name = name.lstrip(". ")
    if name in (".", "..") or is_partial(name):
        return ""
    return _shorten(name)


def _shorten(name: str) -> str:
    """At most MAX_NAME_SIZE octets, the suffix kept, no character cut in two."""
    octets = name.encode("utf-8", "surrogateescape")
    if len(octets) <= MAX_NAME_SIZE:
        return name
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    tail = suffix.encode("utf-8", "surrogateescape")
    if len(tail) > MAX_NAME_SIZE // 4:
        stem, suffix, tail = name, "", b""
    return stem.encode("utf-8", "surrogateescape")[:MAX_NAME_SIZE - len(tail)].decode("utf-8", "ignore") + suffix


def is_partial(name: str) -> bool:
    """Whether it is a file that has not come whole: never to be listed or sent, hidden files or not."""
    return _PARTIAL.fullmatch(name) is not None


# ---- storing --------------------------------------------------------------------------------------------------------

_publishing = threading.Lock()  # held for a few system calls: of two that replace the same file, one is the first


class _OnDisk(io.FileIO):
    """What the system says against octets is answered, whoever writes them: raises HTTPError as well."""

    def write(self, octets: Any, /) -> int:
        try:
            return super().write(octets)
        except OSError as error:
            raise store_error(error) from error


class Partial(io.BufferedRandom):
    """A file that has not come whole, beside where it will be. Closing it takes it away, unless it was published."""

    def __init__(self, raw: _OnDisk, path: Path) -> None:
        super().__init__(raw)
        self.path = path

    def publish(self, target: Path, overwrite: bool, check: Callable[[], object] = bool) -> bool:
        """The file is whole: gives it its name, and says whether that is a new one. Raises HTTPError and OSError.

        `check` is called when nothing can come in between any more, but from another process, and may raise HTTPError.
        """
        try:
            self.flush()
            os.fsync(self.fileno())  # a name whose content a power cut can take away would be half-written too
            super().close()  # Windows renames nothing that is open
            with _publishing:
                check()
                return publish(self.path, target, overwrite)
        except OSError as error:
            raise store_error(error) from error

    def close(self) -> None:
        with suppress(HTTPError, OSError):  # octets that had no room on the disk are tried again
            super().close()
        self.path.unlink(missing_ok=True)


class PartialForm(Partial):
    """A form that has not come whole. A part that is much larger than a file may be ends it early: HTTPError(413)."""

    def __init__(self, raw: _OnDisk, path: Path, boundary: bytes, max_size: int) -> None:
        super().__init__(raw, path)
        self.delimiter, self.max_size = b"\r\n--" + boundary, max_size
        self._size = 0  # octets of the part so far
        self._tail = b""  # in which a delimiter may begin

    def write(self, octets: Any, /) -> int:
        seen = self._tail + bytes(octets)
        begin = seen.rfind(self.delimiter)
        self._size = len(seen) - begin if begin >= 0 else self._size + len(octets)
        if self._size > self.max_size + FORM_SLACK:
            raise too_large(self.max_size)
        self._tail = seen[-len(self.delimiter):]
        return super().write(octets)


def open_partial(folder: Path) -> Partial:
    """Raises HTTPError and OSError."""
    return Partial(*_create(folder))


def open_form(folder: Path, boundary: bytes, max_size: int) -> Partial:
    """Raises HTTPError and OSError."""
    return PartialForm(*_create(folder), boundary, max_size)


def _create(folder: Path) -> tuple[_OnDisk, Path]:
    path = folder / f".upload-{os.urandom(8).hex()}.part"
    try:
        return _OnDisk(path, "x+"), path
    except OSError as error:
        raise store_error(error) from error


def store(folder: Path, name: str, pieces: Iterable[bytes], terms: Terms, check: Callable[[], object] = bool) -> bool:
    """Stores the pieces as a file, whole or not at all; whether it is a new one.

    Raises HTTPError (409 where it exists and may not be overwritten, 413, 507 and others), and what `pieces` raises.
    """
    size = 0
    with open_partial(folder) as file:
        for piece in pieces:
            size += len(piece)
            if terms.max_size is not None and size > terms.max_size:
                raise too_large(terms.max_size)
            file.write(piece)
        return file.publish(folder / name, terms.overwrite, check)


def publish(partial: Path, target: Path, overwrite: bool) -> bool:
    """Gives a whole file its name; whether the name is new. No other file is lost by it, whoever makes one now.

    Raises FileExistsError where it may not be overwritten, IsADirectoryError where it is a folder's.
    """
    try:
        _name_new(partial, target)
        return True
    except FileExistsError:
        if not overwrite:
            raise
    partial.replace(target)
    return False


def _name_new(partial: Path, target: Path) -> None:
    """Renames, unless there is such a name: `rename` would replace it, but a link does not."""
    if os.name == "nt":
        partial.rename(target)  # which fails there if the target exists
        return
    try:
        os.link(partial, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # the name is ours from here
        partial.replace(target)
    else:
        with suppress(OSError):  # closing the file tries again
            partial.unlink()  # before the client is told, and looks


def store_error(error: OSError) -> Exception:
    """The answer to what the system has said; the error itself where that is a fault of the server's."""
    status = _STATUSES.get(error.errno or 0)
    if status is None:
        return error
    if isinstance(error, FileExistsError):
        return HTTPError(status, "it exists already")
    return HTTPError(status, os.strerror(error.errno or 0).lower())


# ---- answering ------------------------------------------------------------------------------------------------------

def own_path(request: Request) -> str:
    """The path that was addressed, for Location: two slashes at its beginning would lead to another host."""
    return "/" + quote_origin_form(request.split_target()[1].lstrip("/"))


def receive_put(request: Request, folder: Path, name: str, terms: Terms) -> Response:
    """Stores the content of a PUT that `check_upload` let through: 201, or 204 where it took the place of another."""
    check = functools.partial(check_put, request, folder, name, terms)
    terms = terms._replace(overwrite=terms.overwrite and not _is_for_new(request))  # which another process may make
    if isinstance(request.stream, Partial):
        is_new = request.stream.publish(folder / name, terms.overwrite, check)
    else:
        pieces = iter(functools.partial(request.stream.read, PIECE_SIZE), b"")
        is_new = store(folder, name, pieces, terms, check)
    return Response("stored\n", 201, location=own_path(request)) if is_new else Response(b"", 204)


def receive_form(request: Request, folder: Path, terms: Terms) -> Response:
    """Stores the files of a form, each on its own: one that cannot be stored does not keep out the others.

    201 with a line for each, or 303 back to the folder for a browser; the status of the first refusal, if there is one.
    """
    boundary = check_form(request)
    with request.stream as form:  # closed here, for a second copy of all should be there no longer than it must
        return _store_parts(request, read_parts(boundary, functools.partial(form.read, PIECE_SIZE)), folder, terms)


def _store_parts(request: Request, parts: Iterable[Part], folder: Path, terms: Terms) -> Response:
    stored: list[str] = []
    lines: list[str] = []
    status = 201
    for part in parts:
        if not part.filename:  # a field that is no file, or a file input left empty
            continue
        name = clean_name(part.filename, terms.hidden)
        shown = (name or part.filename).encode("utf-8", "replace").decode()
        try:
            if not name:
                raise HTTPError(400, "a file cannot have this name here")
            store(folder, name, part, terms)
        except HTTPError as error:
            if error.status == 507:
                raise
            status = error.status if status == 201 else status
            lines.append(f"{shown}: {error.detail or REASONS[error.status]}\n")
        else:
            stored.append(name)
            lines.append(f"{shown}: stored\n")
    if not lines:
        raise HTTPError(400, "there is no file in the form")
    path = own_path(request)
    if status == 201 and "text/html" in request.fields.get("Accept", ""):
        return Response.redirect(path)
    location = {"location": path + quote(stored[0], safe="", errors="surrogateescape")} if len(stored) == 1 else {}
    return Response("".join(lines), status, **location)
