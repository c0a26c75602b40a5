"""A folder on the disk: what a path means in it, how it is opened without leaving it, what is in it.

Refuses to know HTTP. Names are octets, as the system has them: any of them can be reached.
"""
# Names are octets here, and most calls are relative to a descriptor, which pathlib does not know.
# ruff: noqa: PTH116, PTH118
import errno
import os
import re
import stat
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

Names = tuple[bytes, ...]

# O_NONBLOCK: a pipe that took the place of a file since it was looked at is not waited for.
_READ = (os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
         | getattr(os, "O_BINARY", 0))
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_HAS_DIR_FD = os.open in os.supports_dir_fd and os.stat in os.supports_dir_fd and bool(_NO_FOLLOW)
_IS_LINK = frozenset([errno.ELOOP, errno.ENOTDIR, errno.EMLINK])  # EMLINK: FreeBSD
_ELSEWHERE = frozenset([b".", b".."])
DEVICE = r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)(?:[0-9]|¹|²|³)) *(?:\.|\Z)"  # on Windows, in every folder
# Windows: separators, drives and streams, wildcards, devices, and what it strips from an end.
_NOT_ON_WINDOWS = re.compile(rb'[\\:*?"<>|\x00-\x1f]|[ .]\Z|\A%b' % DEVICE.encode())


class Entry(NamedTuple):
    """A file or folder. Octets of its name that are no UTF-8 are surrogates, as os.fsdecode makes them."""

    name: str
    is_dir: bool
    size: int  # octets; of a folder it does not matter
    mtime: float  # seconds since 1970


class Opened(NamedTuple):
    """A file or folder that is open, and what it is. Windows opens no folders: -1."""

    fd: int
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


# ---- names ----------------------------------------------------------------------------------------------------------

def split_path(path: str, on_windows: bool = os.name == "nt") -> Names | None:
    """The names in a request's path, decoded; None where one of them cannot be a name below a folder.

    An encoded slash would be in a name, and is never taken for one that separates. Empty names, which // makes, are
    dropped.
    """
    octets = unquote_to_bytes(path)
    names = tuple(filter(None, octets.split(b"/")))
    if (b"\0" in octets or octets.count(b"/") != path.count("/") or not _ELSEWHERE.isdisjoint(names)
            or (on_windows and any(map(_NOT_ON_WINDOWS.search, names)))):
        return None
    return names


def has_hidden(names: Sequence[bytes]) -> bool:
    """Whether one of the names begins with a dot."""
    return any(name.startswith(b".") for name in names)


# ---- opening --------------------------------------------------------------------------------------------------------

def open_beneath(root: str, names: Sequence[bytes], follow_symlinks: bool = False, hidden: bool = False) -> Opened:
    """Opens a regular file or a folder below the root, for reading; raises OSError, FileNotFoundError for all else.

    Symbolic links are followed where they lead to a place below the root that could be asked for by its own path, or
    everywhere with `follow_symlinks`. There is no moment between the look and the opening in which a name that is
    exchanged leads out: each step refuses links, and what a link leads to is reached by such steps as well.
    """
    base = os.fsencode(root)
    if follow_symlinks:
        return open_path(os.path.join(base, *names))
    try:
        return open_steps(base, names)
    except OSError as error:
        if error.errno not in _IS_LINK:
            raise
    base = os.path.realpath(base)
    return open_steps(base, _real_names(base, names, hidden))


def find_steps(root: str, names: Sequence[bytes], follow_symlinks: bool = False,
               hidden: bool = False) -> tuple[bytes, Sequence[bytes]]:
    """Where `open_beneath` finds what it opens, as a base and names for `open_steps`, none a link; raises OSError."""
    base = os.path.realpath(os.fsencode(root))
    if follow_symlinks:
        return os.path.realpath(os.path.join(base, *names)), ()
    try:
        open_steps(base, names).close()
    except OSError as error:
        if error.errno not in _IS_LINK:
            raise
        return base, _real_names(base, names, hidden)
    return base, names


def _real_names(base: bytes, names: Sequence[bytes], hidden: bool) -> Sequence[bytes]:
    """Where links lead to, as names below the base; raises OSError where that is elsewhere."""
    real = os.path.realpath(os.path.join(base, *names), strict=True)
    if os.path.commonpath([base, real]) != base:
        raise FileNotFoundError(errno.ENOENT, "a link that leads out")
    found = [name for name in real[len(base):].split(os.fsencode(os.sep)) if name]
    if not hidden and has_hidden(found):
        raise FileNotFoundError(errno.ENOENT, "a link that leads to what is hidden")
    return found


def open_steps(base: bytes, names: Sequence[bytes]) -> Opened:
    """Opens as `open_beneath` does, by one step for each name, none of which may be a link: raises OSError.

    ELOOP or ENOTDIR says that one is. The base may be one.
    """
    if not names:
        return open_path(base)
    if not _HAS_DIR_FD:
        if (real := os.path.realpath(os.path.join(base, *names))) != os.path.join(os.path.realpath(base), *names):
            raise OSError(errno.ELOOP, "a link")
        return open_path(real)
    step, directory = os.path.join(base, names[0]), None
    try:
        for name in names[1:]:
            inner = os.open(step, _PASS | _NO_FOLLOW, dir_fd=directory)
            if directory is not None:
                os.close(directory)
            directory, step = inner, name
        return open_path(step, directory, _NO_FOLLOW)
    finally:
        if directory is not None:
            os.close(directory)


def open_path(path: bytes, directory: int | None = None, no_follow: int = 0) -> Opened:
    """Opens a regular file or a folder, below an open `directory` if there is one; raises OSError.

    FileNotFoundError for what is neither. Looks first: opening alone can disturb a device, or somebody who waits at a
    pipe. Then looks at what is open.
    """
    mode = os.stat(path, dir_fd=directory, follow_symlinks=not no_follow).st_mode
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "a link")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise FileNotFoundError(errno.ENOENT, "neither a file nor a folder")
    if stat.S_ISDIR(mode) and not _HAS_DIR_FD:
        return Opened(-1, os.stat(path))
    fd = os.open(path, _READ | no_follow, dir_fd=directory)
    try:
        status = os.fstat(fd)
        if stat.S_IFMT(status.st_mode) != stat.S_IFMT(mode):
            raise FileNotFoundError(errno.ENOENT, "it has just changed")
    except BaseException:
        os.close(fd)
        raise
    return Opened(fd, status)


# ---- listing --------------------------------------------------------------------------------------------------------

def list_entries(folder: int, root: str, names: Sequence[bytes], follow_symlinks: bool = False,
                 hidden: bool = False) -> list[Entry]:
    """What is in an open folder and can be asked for: files and folders, and links that `open_beneath` would follow."""
    found, base = [], os.path.realpath(os.fsencode(root))
    with os.scandir(folder if folder >= 0 else os.fsdecode(os.path.join(os.fsencode(root), *names))) as entries:
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            try:
                status = entry.stat(follow_symlinks=follow_symlinks)
                if stat.S_ISLNK(status.st_mode):
                    real = _real_names(base, [*names, os.fsencode(entry.name)], hidden)
                    status = os.lstat(os.path.join(base, *real))
            except (OSError, ValueError):
                continue  # it has gone, or a link leads nowhere, or out
            if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                found.append(Entry(entry.name, stat.S_ISDIR(status.st_mode), status.st_size, status.st_mtime))
    return found
