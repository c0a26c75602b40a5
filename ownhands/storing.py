"""Files that come to a folder: what each may be called, and how it gets there whole or not at all.

Refuses to know requests, who is authorised, and which folder a path means.
"""
import errno
import io
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import PurePath
from typing import Any, NamedTuple, Self

from .folder import DEVICE
from .messages import HTTPError

FORM_SLACK = 1 << 20  # octets in which a part that is too large may end, and the form be read to its end all the same
MAX_NAME_SIZE = 255  # octets of a file's name
_PARTIAL = re.compile(r"\.upload-[0-9a-f]{16}\.part")
# Controls, and what turns the direction of text so that a name is read as another one.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*]')
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


# ---- names ----------------------------------------------------------------------------------------------------------

def clean_name(name: str, hidden: bool = False, on_windows: bool = os.name == "nt") -> str:
    """What a file sent as `name` may be called: the last part of a path, printable, of a length that fits; or "".

    `hidden` lets it begin with a dot. Octets that are no UTF-8 stay what they are.
    """
    name = _UNPRINTABLE.sub("", re.split(r"[/\\]", name)[-1]).strip(" ")
    if on_windows:
        name = _NOT_ON_WINDOWS.sub("_", name).rstrip(" .")
        name = "_" + name if re.match(DEVICE, name) else name
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


# ---- a folder -------------------------------------------------------------------------------------------------------

class Place:
    """An open folder, to be closed. What is done in it is done in this one, whatever is moved or linked meanwhile.

    Where the system opens no folders (`fd` is -1), its path has to do. All names are those of files in it.
    """

    def __init__(self, fd: int, path: str) -> None:
        self.path = path if fd < 0 else ""
        self.fd = fd if fd >= 0 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        fd = self.fd
        if fd is not None and fd >= 0:
            self.fd = -1  # which is no descriptor: None would be the current folder
            os.close(fd)

    def copy(self) -> "Place":
        return Place(-1 if self.fd is None else os.dup(self.fd), self.path)

    def at(self, name: str) -> str:
        """Where a file is, relative to `fd`, if there is one."""
        return os.path.join(self.path, name)  # noqa: PTH118  pathlib knows no descriptors

    def has(self, name: str) -> bool:
        """Whether there is such a name, be it of a link that leads nowhere."""
        try:
            os.stat(self.at(name), dir_fd=self.fd, follow_symlinks=False)
        except OSError:
            return False
        return True

    def status(self, name: str) -> os.stat_result:
        """What the name stands for, links followed; raises OSError."""
        return os.stat(self.at(name), dir_fd=self.fd)

    def create(self, name: str, flags: int) -> int:
        """Opens a new file; raises OSError."""
        return os.open(self.at(name), flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self.fd)

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.at(name), dir_fd=self.fd)

    def free_size(self) -> int:
        """Octets that the disk has room for; raises OSError."""
        from shutil import disk_usage  # takes long to import
        return disk_usage(self.path if self.fd is None else self.fd).free


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
    """A file that has not come whole. Closing it takes it away, unless it was published, and closes its place."""

    def __init__(self, raw: _OnDisk, place: Place, name: str) -> None:
        super().__init__(raw)
        self._place, self._name, self._is_left = place, name, False

    def publish(self, place: Place, name: str, overwrite: bool, check: Callable[[], object] = bool) -> bool:
        """The file is whole: gives it its name, and says whether that is a new one. Raises HTTPError and OSError.

        `check` is called when nothing can come in between any more, but from another process, and may raise HTTPError.
        """
        try:
            self.flush()
            os.fsync(self.fileno())  # a name whose content a power cut can take away would be half-written too
            super().close()  # Windows renames nothing that is open
            with _publishing:
                check()
                return self._move(place, name, overwrite)
        except OSError as error:
            raise store_error(error) from error

    def _move(self, place: Place, name: str, overwrite: bool) -> bool:
        """Whether the name is new. No other file is lost by it, whoever makes one now. Raises OSError."""
        try:
            self._move_to_new(place, name)
            return True
        except FileExistsError:
            if not overwrite:
                raise
        self._replace(place, name)
        return False

    def _move_to_new(self, place: Place, name: str) -> None:
        """Renames, unless there is such a name: `rename` would replace it, but a link does not."""
        here, there = self._place.at(self._name), place.at(name)
        if os.name == "nt":
            os.rename(here, there)  # noqa: PTH104  which fails there if the target exists
            return
        try:
            os.link(here, there, src_dir_fd=self._place.fd, dst_dir_fd=place.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.close(place.create(name, os.O_WRONLY))  # the name is ours from here
            self._replace(place, name)
        else:
            with suppress(OSError):  # closing the file tries again
                self._place.remove(self._name)  # before the client is told, and looks

    def _replace(self, place: Place, name: str) -> None:
        os.replace(self._place.at(self._name), place.at(name),
                   src_dir_fd=self._place.fd, dst_dir_fd=place.fd)

    def close(self) -> None:
        with suppress(HTTPError, OSError):  # octets that had no room on the disk are tried again
            super().close()
        if not self._is_left:
            self._is_left = True
            with self._place:
                self._place.remove(self._name)


class PartialForm(Partial):
    """A form that has not come whole. A part that is much larger than a file may be ends it early: HTTPError(413)."""

    def __init__(self, raw: _OnDisk, place: Place, name: str, boundary: bytes, max_size: int) -> None:
        super().__init__(raw, place, name)
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


def open_partial(place: Place) -> Partial:
    """Takes the place over, to close it. Raises HTTPError and OSError."""
    return Partial(*_create(place))


def open_form(place: Place, boundary: bytes, max_size: int) -> Partial:
    """As `open_partial`."""
    return PartialForm(*_create(place), boundary, max_size)


def _create(place: Place) -> tuple[_OnDisk, Place, str]:
    name = f".upload-{os.urandom(8).hex()}.part"
    try:
        return _OnDisk(name, "x+", opener=place.create), place, name
    except BaseException as error:
        place.close()
        if isinstance(error, OSError):
            raise store_error(error) from error
        raise


def store(place: Place, name: str, pieces: Iterable[bytes], terms: Terms, check: Callable[[], object] = bool) -> bool:
    """Stores the pieces as a file, whole or not at all; whether it is a new one.

    Raises HTTPError (409 where it exists and may not be overwritten, 413, 507 and others), and what `pieces` raises.
    """
    size = 0
    with open_partial(place.copy()) as file:
        for piece in pieces:
            size += len(piece)
            if terms.max_size is not None and size > terms.max_size:
                raise too_large(terms.max_size)
            file.write(piece)
        return file.publish(place, name, terms.overwrite, check)


def too_large(max_size: int) -> HTTPError:
    return HTTPError(413, f"a file may have {max_size} octets at most")


def store_error(error: OSError) -> Exception:
    """The answer to what the system has said; the error itself where that is a fault of the server's."""
    status = _STATUSES.get(error.errno or 0)
    if status is None:
        return error
    if isinstance(error, FileExistsError):
        return HTTPError(status, "it exists already")
    return HTTPError(status, os.strerror(error.errno or 0).lower())
