"""A folder as a zip that is made while it is sent: neither in memory nor on disk.

Gives pieces of octets. Refuses to know requests, and which folder may be asked for.
"""
import io
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import mediatypes
from .content import PIECE_SIZE
from .folder import Names, Opened, open_steps

# Worth compressing, for a server that has other things to do; all else is deflated at level 0, which copies. (Stored
# as it is, it could not be unpacked by what reads a zip as a stream: only deflate knows its own end.)
_LEVEL = "compress_level" if hasattr(zipfile.ZipInfo, "compress_level") else "_compresslevel"  # public from 3.13 on
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # what a zip can say of a time
_LATEST = 1 << 33  # seconds since the epoch: beyond that, and within what any system's calendar has
# Octets that are no UTF-8, as os.fsdecode has them, the backslash, and what would look like one that was replaced.
_UNSAYABLE = re.compile(r"[\udc80-\udcff\\]|%(?=25|5C|[89A-F][0-9A-F])")


def zip_pieces(base: Path, steps: Sequence[bytes] = (), *, name: str = "", hidden: bool = False,
               accepts: Callable[[Path], bool] = lambda path: True) -> Iterator[bytes]:
    """A folder as the octets of a zip, in pieces, all below `name`, or below the folder's own name.

    `steps` lead from the base, which may be a link, to the folder: if one of them is a link by now, nothing is found.

    Left out: names with a dot at the beginning, unless `hidden`, symbolic links, devices, pipes and what cannot be
    read, and whatever `accepts` refuses, a folder with all in it. Raises OSError where a file breaks while it is read.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        base = base.resolve()
        top = name or (os.fsdecode(steps[-1]) if steps else base.name) or "files"
        for opened, inside in _walk(base, tuple(steps), top, hidden, accepts):
            if opened.is_folder:
                archive.writestr(describe(inside, opened.status), b"")
            else:
                with open(opened.fd, "rb", buffering=0) as file:  # noqa: PTH123  a descriptor
                    yield from _add(archive, describe(inside, opened.status), file, sink)
            if octets := sink.take():
                yield octets
    yield sink.take()


class _Sink(io.RawIOBase):
    """Where the zip is written to: it holds what has not been taken, and cannot go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, octets: object) -> int:
        self._pieces.append(bytes(octets))  # type: ignore[call-overload]
        return len(self._pieces[-1])

    def take(self) -> bytes:
        octets = b"".join(self._pieces)
        self._pieces.clear()
        return octets


def _walk(base: Path, begin: Names, top: str, hidden: bool,
          accepts: Callable[[Path], bool]) -> Iterator[tuple[Opened, str]]:
    """Everything in the folder and below, sorted, each with its name in the zip; a folder before what is in it.

    A file is open, for the caller to close. What is exchanged for a link meanwhile, at any depth, leads nowhere.
    """
    waiting: list[tuple[Path, str, Names]] = [(base.joinpath(*map(os.fsdecode, begin)), top, begin)]
    while waiting:
        path, inside, steps = waiting.pop()
        try:
            opened = open_steps(os.fsencode(base), steps)
            names = _list(opened, path) if opened.is_folder else []
        except OSError:  # it has gone, or cannot be read
            continue
        yield opened, inside + "/" * opened.is_folder
        waiting += [(path / name, f"{inside}/{name}", (*steps, os.fsencode(name)))
                    for name in sorted(names, reverse=True)
                    if (hidden or not name.startswith(".")) and accepts(path / name)]


def _list(folder: Opened, path: Path) -> list[str]:
    """The names in a folder, which it closes."""
    try:
        return os.listdir(path if folder.fd < 0 else folder.fd)  # noqa: PTH208  names are all that is needed
    finally:
        folder.close()


def describe(inside: str, status: os.stat_result) -> zipfile.ZipInfo:
    """The entry of a file or folder. A backslash in its name would be a folder to some, octets no UTF-8 an error.

    Each becomes %5C and its like: names that differ go on differing, or one file would take the other's place.
    """
    name = _UNSAYABLE.sub(lambda match: f"%{ord(match[0]) & 0xFF:02X}", inside)  # U+DCF6 stands for the octet F6
    moment = time.localtime(min(max(status.st_mtime, 0), _LATEST))[:6]
    info = zipfile.ZipInfo(name, min(max(moment, _FIRST), _LAST))
    info.external_attr = (status.st_mode & 0xFFFF) << 16
    if name.endswith("/"):
        info.external_attr |= 0x10  # a folder, for MS-DOS
        return info
    info.compress_type = zipfile.ZIP_DEFLATED
    info.file_size = status.st_size  # decides whether the entry is a Zip64 one
    if 1.05 * status.st_size > zipfile.ZIP64_LIMIT:  # zipfile's own condition; it says so from 3.11.4 on
        info.extract_version = zipfile.ZIP64_VERSION
    media_type = mediatypes.guess(name.rpartition("/")[2])
    setattr(info, _LEVEL, 6 if mediatypes.is_compressible(media_type) else 0)
    return info


def _add(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: io.FileIO, sink: _Sink) -> Iterator[bytes]:
    """Adds a file. What is appended to it meanwhile is left out: its entry has been begun with its size."""
    remaining = info.file_size
    with archive.open(info, "w") as entry:
        while remaining and (piece := file.read(min(PIECE_SIZE, remaining))):
            remaining -= len(piece)
            entry.write(piece)
            if octets := sink.take():
                yield octets
