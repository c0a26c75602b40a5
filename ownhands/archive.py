"""A folder as a zip that is made while it is sent: neither in memory nor on disk.

Gives pieces of octets. Refuses to know requests, and which folder may be asked for.
"""
import io
import mimetypes
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

PIECE_SIZE = 64 << 10  # octets read from a file at once
# Worth compressing, for a server that has other things to do; all else is deflated at level 0, which copies. (Stored
# as it is, it could not be unpacked by what reads a zip as a stream: only deflate knows its own end.)
_TEXT = frozenset(["application/json", "application/javascript", "application/xml", "application/wasm",
                   "image/svg+xml", "image/bmp", "application/sql", "application/rtf", "application/x-tar"])
_LEVEL = "compress_level" if hasattr(zipfile.ZipInfo, "compress_level") else "_compresslevel"  # public from 3.13 on
_FIRST, _LAST = (1980, 1, 1, 0, 0, 0), (2107, 12, 31, 23, 59, 58)  # what a zip can say of a time


def zip_pieces(folder: Path, *, name: str = "", hidden: bool = False,
               accepts: Callable[[Path], bool] = lambda path: True) -> Iterator[bytes]:
    """The folder as the octets of a zip, in pieces, all below `name`, or below the folder's own name.

    Left out: names with a dot at the beginning, unless `hidden`, symbolic links, devices, pipes and what cannot be
    read, and whatever `accepts` refuses, a folder with all in it. Raises OSError where a file breaks while it is read.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        folder = folder.resolve()
        top = name or folder.name or "files"
        for path, inside, status in _walk(folder, top, hidden, accepts):
            info = describe(inside, status)
            if info.is_dir():
                archive.writestr(info, b"")
            else:
                yield from _add(archive, info, path, sink)
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


def _walk(folder: Path, top: str, hidden: bool, accepts: Callable[[Path], bool]
          ) -> Iterator[tuple[Path, str, os.stat_result]]:
    """Everything in the folder and below, sorted, each with its name in the zip; a folder before what is in it."""
    waiting = [(folder, top)]
    while waiting:
        path, inside = waiting.pop()
        try:
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, inside, status
            elif stat.S_ISDIR(status.st_mode):
                names = sorted(os.listdir(path), reverse=True)  # noqa: PTH208  names are all that is needed
                yield path, inside + "/", status
                waiting += [(path / name, f"{inside}/{name}") for name in names
                            if (hidden or not name.startswith(".")) and accepts(path / name)]
        except OSError:  # it has gone, or cannot be read
            continue


def describe(inside: str, status: os.stat_result) -> zipfile.ZipInfo:
    """The entry of a file or folder. A backslash in its name would be a folder to some, octets no UTF-8 an error."""
    name = inside.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\\", "_")
    moment = time.localtime(max(status.st_mtime, 0))[:6]
    info = zipfile.ZipInfo(name, min(max(moment, _FIRST), _LAST))
    info.external_attr = (status.st_mode & 0xFFFF) << 16
    if name.endswith("/"):
        info.external_attr |= 0x10  # a folder, for MS-DOS
        return info
    info.compress_type = zipfile.ZIP_DEFLATED
    info.file_size = status.st_size  # decides whether the entry is a Zip64 one
    if 1.05 * status.st_size > zipfile.ZIP64_LIMIT:  # zipfile's own condition; it says so from 3.11.4 on
        info.extract_version = zipfile.ZIP64_VERSION
    media_type = mimetypes.guess_type(name)[0] or ""
    setattr(info, _LEVEL, 6 if media_type.startswith("text/") or media_type in _TEXT else 0)
    return info


def _add(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, sink: _Sink) -> Iterator[bytes]:
    """Adds a file. What is appended to it meanwhile is left out: its entry has been begun with its size."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123  a descriptor
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # another thing has taken its place
            return
        remaining = info.file_size
        with archive.open(info, "w") as entry:
            while remaining and (piece := file.read(min(PIECE_SIZE, remaining))):
                remaining -= len(piece)
                entry.write(piece)
                if octets := sink.take():
                    yield octets
