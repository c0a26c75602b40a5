"""FileHandler: a folder over HTTP. Which file a request means, in which coding, and what a folder's own answer is.

Knows paths and fields. How a path is kept within the root is folder.py's, what conditions and ranges get
representation.py's, the page listing.py's.
"""
import os
import re
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import quote

from . import mediatypes
from .auth import AuthHandler
from .codings import IDENTITY, SUFFIXES, GzipCache, acceptable_codings, gzip, prefers_json
from .conditions import MAX_RANGES
from .fields import FieldArgument, Fields
from .fileslice import FileSlice
from .folder import Names, Opened, find_steps, has_hidden, list_entries, open_beneath, split_path
from .framing import SMALL_SIZE
from .logs import warn_once
from .messages import HTTPError, Request, Response
from .parser import Pair
from .representation import (
    IS_FORBIDDEN,
    IS_MISSING,
    PACKED,
    asked_ranges,
    close,
    describe_file,
    etag_of,
    heed_conditions,
    in_memory,
    missing,
    modified_of,
    read_all,
    read_error,
    read_now,
    response_of,
    select,
)
from .smallfiles import Key, SmallFiles, identity_of, is_settled
from .storing import Place, Terms, is_partial
from .targets import quote_origin_form
from .upload import check_upload, receive_form, receive_put

MAX_KEPT_PATH = 512  # characters; of a longer path the names are not kept, which can take twenty times its size
_SIBLING_SLACK = 2.0  # seconds that a compressed file may seem older than the file, having been copied along with it
_EXPOSED = "Accept-Ranges, Content-Disposition, Content-Encoding, Content-Range, Date, ETag, Location"
# Whether fields are there that decide: splitting them all takes longer than sending a small file.
_NEGOTIATES = re.compile(rb"\r\naccept-encoding:", re.I)
_SELECTS = re.compile(rb"\r\n(?:if-[a-z-]+|range):", re.I)

gzip_cache = GzipCache()
small_files = SmallFiles()


class FileHandler(AuthHandler):
    """Serves the files below `root` to GET and HEAD, nothing outside of it. Subclass it and set what differs."""

    root: str | os.PathLike[str] = "."  # the folder, relative to the current one
    index: str | None = "index.html"  # the file that is a folder's page
    listing = True  # whether a folder without that file is listed, and can be had as a zip
    hidden = False  # whether names that begin with a dot are served
    follow_symlinks = False  # whether links may lead out of the root
    spa = False  # whether the root's index answers for paths that do not exist, as an application in the browser wants
    cors: bool | str = False  # whether pages of other sites may read; or of which one, as in "https://example.org"
    cache: int | None = None  # seconds that an answer may be used without asking again; always asked by default
    compress = True  # whether text is compressed, and a .br or .gz file beside the file is sent in its place
    charset = "utf-8"  # of text files
    min_gzip_size = 1 << 10  # octets; less is not worth it
    max_gzip_size = 1 << 20  # octets; more would take too long for one request
    max_ranges = MAX_RANGES  # in one request; 416
    _can_upload = False  # UploadHandler can

    def setup(self) -> None:
        super().setup()
        self._common = common_pairs(self.cache, self.cors, self.auth is not None)
        self._varying = (*self._common, ("Vary", "Accept-Encoding"))

    def is_public(self, request: Request) -> bool:
        """A browser asks without credentials whether another site's page may ask with them."""
        return bool(self.cors) and request.method == "OPTIONS" and "Access-Control-Request-Method" in request.fields

    def on_error(self, request: Request | None, error: BaseException) -> Response | str:
        response = super().on_error(request, error)
        if self.cors and isinstance(response, Response):
            return response.with_fields(**dict(pair for pair in self._common if "Access" in pair[0]))
        return response

    def do_OPTIONS(self, request: Request) -> Response:
        fields: dict[str, FieldArgument] = {"allow": ", ".join(self._allowed_for(request))}
        if self.cors:  # only reading is for everybody
            fields |= {"access_control_allow_methods": "GET, HEAD", "access_control_allow_headers": "*, Authorization",
                       "access_control_allow_origin": dict(self._common)["Access-Control-Allow-Origin"],
                       "access_control_max_age": 86400}
        return Response(b"", 204, **fields)

    def do_GET(self, request: Request) -> Response:
        path = request.split_target()[1]
        names = self._names_of(path)
        if path.endswith("/"):
            return self._answer_folder(request, names)
        known = small_files.get(self._key_of(names))
        if known is not None:
            return self._answer_file(request, names, *known)
        try:
            opened = self._open(names)
        except OSError as error:
            return self._answer_missing(request, names, error)
        if opened.is_folder:
            opened.close()
            return self._answer_without_slash(request, names)
        return self._answer_file(request, names, FileSlice(opened.fd, 0, opened.status.st_size), opened.status)

    # ---- which file -------------------------------------------------------------------------------------------------

    def _names_of(self, path: str) -> Names:
        """What a path means below the root; raises HTTPError(404) for what no request may name."""
        find = _kept_names if len(path) <= MAX_KEPT_PATH else servable_names
        names = find(path, self.hidden)
        if names is None:
            raise missing()
        return names

    def _key_of(self, names: Names) -> Key:
        root = os.fsencode(self.root) or b"."
        return b"/".join([root, *names]), root, self.follow_symlinks, self.hidden

    def _open(self, names: Names) -> Opened:
        """Opens a file or folder below the root; raises OSError."""
        return open_beneath(os.fspath(self.root), names, self.follow_symlinks, self.hidden)

    def _open_file(self, names: Names) -> tuple[FileSlice | bytes, os.stat_result] | None:
        """Opens a file below the root, or takes it from memory; None if there is none."""
        known = small_files.get(self._key_of(names))
        if known is not None:
            return known
        try:
            opened = self._open(names)
        except OSError as error:
            if error.errno in IS_MISSING or error.errno in IS_FORBIDDEN:
                return None
            raise read_error(error) from error
        if not opened.is_folder:
            return FileSlice(opened.fd, 0, opened.status.st_size), opened.status
        opened.close()
        return None

    def _answer_missing(self, request: Request, names: Names, error: OSError) -> Response:
        """What cannot be opened: an error, or the application's page in its place. Raises HTTPError."""
        if self.spa and self.index and error.errno in IS_MISSING:
            if not is_page(request, names):
                raise missing(vary="Accept") from error  # RFC 9110 12.5.5: others get the page
            index = (os.fsencode(self.index),)
            found = self._open_file(index)
            if found is not None:
                answer = self._answer_file(request, index, *found)
                answer.fields = vary_by_accept(answer.fields.pairs)
                return answer
        if error.errno in IS_MISSING and not Path(self.root).is_dir():
            warn_once(f"the root of {type(self).__name__} is no folder: {self.root}")
        raise read_error(error) from error

    # ---- a file -----------------------------------------------------------------------------------------------------

    def _answer_file(self, request: Request, names: Names, content: FileSlice | bytes,
                     status: os.stat_result) -> Response:
        """A file that is open: in a coding that the client takes, after conditions and ranges."""
        now = time.time()  # before the content is read: what is written behind that may not show
        if isinstance(content, FileSlice) and content.length <= SMALL_SIZE and request.method != "HEAD":
            content = read_now(content)
            small_files.put(self._key_of(names), status, content)
        media_type, is_packed = mediatypes.describe(names[-1], self.charset)
        if not self.compress or is_packed:
            response = self._whole_file(content, status, now, media_type, self._common)
        elif not _NEGOTIATES.search(request.head.section):
            response = self._whole_file(content, status, now, media_type, self._varying)
        else:
            response = self._encoded_file(request, names, content, status, now, media_type)
        if request.split_target()[2] and "download" in request.query:
            name = mediatypes.disposition(os.fsdecode(names[-1]))
            response.fields = Fields((*response.fields.pairs, ("Content-Disposition", name)))
        if _SELECTS.search(request.head.section):
            response = select(request, response, self.max_ranges)
        return in_memory(request, response)

    def _whole_file(self, content: FileSlice | bytes, status: os.stat_result, now: float, media_type: str,
                    others: tuple[Pair, ...], coding: str = "", variant: str = "") -> Response:
        return response_of(content, 200, describe_file(
            etag_of(status, now, variant), modified_of(status, now), media_type, coding, others))

    def _encoded_file(self, request: Request, names: Names, content: FileSlice | bytes, status: os.stat_result,
                      now: float, media_type: str) -> Response:
        """The file in the best coding that there is of those that the client takes; raises HTTPError(406)."""
        codings = acceptable_codings(request.fields.get("Accept-Encoding"))
        for coding in codings:
            if coding == IDENTITY:
                return self._whole_file(content, status, now, media_type, self._varying)
            found = self._open_beside(names, SUFFIXES[coding])
            if found is not None and found[1].st_mtime + _SIBLING_SLACK >= status.st_mtime:
                close(content)
                return self._whole_file(*found, time.time(), media_type, self._varying, coding)
            # A range of what is compressed on the fly is of little use: it is of the file, where that is taken.
            if (coding == "gzip" and self.min_gzip_size <= status.st_size <= self.max_gzip_size
                    and mediatypes.is_compressible(media_type)
                    and not (IDENTITY in codings and self._has_ranges(request, status, now))):
                packed = gzip_cache.get(identity_of(status), lambda: read_all(content), is_settled(status, now))
                if packed is not None:
                    close(content)
                    return self._whole_file(packed, status, now, media_type, self._varying, coding, PACKED)
        raise HTTPError(406, "the file can be had as it is, in no coding")

    def _open_beside(self, names: Names, suffix: bytes) -> tuple[FileSlice | bytes, os.stat_result] | None:
        """Opens the compressed file beside a file, None if there is none."""
        beside = (*names[:-1], names[-1] + suffix)
        # What anybody may send here must not become the content of another file. And most files have none beside
        # them: to look takes a third of the time of opening in vain.
        is_there = not self._can_upload and os.path.lexists(self._key_of(beside)[0])
        return self._open_file(beside) if is_there else None

    def _has_ranges(self, request: Request, status: os.stat_result, now: float) -> bool:
        """Whether ranges of the file as it is are asked for; not where Range is to be ignored (RFC 9110 14.2)."""
        return "Range" in request.fields and asked_ranges(  # If-Range by date is none: the file compressed has the same
            request, etag_of(status, now), None, status.st_size, self.max_ranges) is not None

    # ---- a folder ---------------------------------------------------------------------------------------------------

    def _answer_without_slash(self, request: Request, names: Names) -> Response:
        """A folder, asked for as a file is: relative links in it would miss."""
        location, query = "/" + "".join([quote(name) + "/" for name in names]), request.split_target()[2]
        location += "?" + quote_origin_form(query) if query else ""
        return response_of(b"", 301, Fields([("Location", location), *self._common]))

    def _answer_folder(self, request: Request, names: Names) -> Response:
        """What is asked for with a slash at the end: the folder's own page, a zip, or what is in it."""
        wants_zip = self.listing and bool(request.split_target()[2]) and "zip" in request.query
        if self.index and not wants_zip:
            index = (*names, os.fsencode(self.index))
            found = self._open_file(index)
            if found is not None:
                return self._answer_file(request, index, *found)
        try:
            opened = self._open(names)
        except OSError as error:
            return self._answer_missing(request, names, error)
        try:
            if not opened.is_folder:
                raise missing()
            if not self.listing:
                raise HTTPError(403, "this folder is not listed")
            return heed_conditions(
                request, self._answer_zip(names) if wants_zip else self._answer_listing(request, names, opened.fd))
        finally:
            opened.close()

    def _answer_listing(self, request: Request, names: Names, folder: int) -> Response:
        """What is in a folder, as a page or as JSON."""
        from . import listing  # its style and its script are hashed first, by what takes long to import
        root = os.fspath(self.root)
        entries = [entry for entry in list_entries(folder, root, names, self.follow_symlinks, self.hidden)
                   if not is_partial(entry.name)]
        path = "/" + "".join([os.fsdecode(name) + "/" for name in names])
        if prefers_json(request.fields.get("Accept", "")):
            text, media_type = listing.as_json(path, entries), "application/json"
        else:
            query = request.query
            text = listing.render(path, entries, query.get("sort", "name"), query.get("order", ""),
                                  can_upload=self._can_upload, home=Path(root).resolve().name or "Files")
            media_type = "text/html; charset=utf-8"
        content = text.encode("utf-8", "replace")
        pairs = [("Content-Type", media_type), ("Content-Security-Policy", listing.CONTENT_SECURITY_POLICY),
                 ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"),
                 *(pair for pair in self._common if pair[0] != "Cache-Control"),
                 ("Cache-Control", "no-cache"), ("Vary", "Accept, Accept-Encoding")]
        codings = acceptable_codings(request.fields.get("Accept-Encoding"))
        if (self.compress and len(content) >= self.min_gzip_size
                and [coding for coding in codings if coding in ("gzip", IDENTITY)][:1] == ["gzip"]):  # the best of both
            content = gzip(content, 1)
            pairs.append(("Content-Encoding", "gzip"))
        return response_of(content, 200, Fields(pairs))

    def _answer_zip(self, names: Names) -> Response:
        """A folder with all that may be served of it, packed while it is sent."""
        from .archive import zip_pieces  # zipfile takes long to import
        try:
            base, steps = find_steps(os.fspath(self.root), names, self.follow_symlinks, self.hidden)
        except OSError as error:  # it has just changed
            raise read_error(error) from error
        name = os.fsdecode(names[-1] if names else os.path.basename(base)) or "files"  # noqa: PTH119  octets
        pieces = zip_pieces(Path(os.fsdecode(base)), steps, name=name, hidden=self.hidden,
                            accepts=lambda path: not is_partial(path.name))
        return response_of(pieces, 200, Fields([
            ("Content-Type", "application/zip"), ("X-Content-Type-Options", "nosniff"), *self._common,
            ("Content-Disposition", mediatypes.disposition(name + ".zip"))]))


class UploadHandler(FileHandler):
    """A FileHandler that takes files as well: PUT of a file, POST of a form to a folder.

    A compressed file beside another is not sent in its place here, for anybody may have sent it.
    """

    _can_upload = True
    index: str | None = None  # what one visitor sends must not take the page, and with it uploading, from all others
    overwrite = False  # whether a file may take the place of another
    max_upload: int | None = None  # octets of one file; 413

    def setup(self) -> None:
        super().setup()
        if self.spa and self.index is None:
            self.index = FileHandler.index  # of the application's own files, which are there first

    def on_head(self, request: Request) -> Response | None:
        """Refuses before the content is read what would not be stored; what goes on is gathered in the folder."""
        refused = super().on_head(request)
        if refused is None and request.method in ("PUT", "POST"):
            self.gather_this(*check_upload(request, *self._place_of(request), self._terms()))
        return refused

    def do_PUT(self, request: Request) -> Response:
        return receive_put(request, *self._place_of(request), self._terms())

    def do_POST(self, request: Request) -> Response:
        return receive_form(request, self._place_of(request)[0], self._terms())

    def _allowed_for(self, request: Request | None) -> list[str]:
        """A form is sent to a folder, a file to a name of its own."""
        allowed = super()._allowed_for(request)
        if request is None or request.target == "*":
            return allowed
        other = "PUT" if request.split_target()[1].endswith("/") else "POST"
        return [method for method in allowed if method != other]

    def _terms(self) -> Terms:
        return Terms(self.overwrite, self.hidden, self.max_upload)

    def _place_of(self, request: Request) -> tuple[Callable[[], Place], str]:
        """What opens the folder, and the name in it or "", that a path means for what is sent; raises HTTPError."""
        path = request.split_target()[1]
        names = split_path(path) or ()
        if not (self.hidden or path.endswith("/") or has_hidden(names[:-1])) and has_hidden(names[-1:]):
            raise HTTPError(400, "a name cannot begin with a dot here")
        names = self._names_of(path)
        folder, name = (names, b"") if path.endswith("/") else (names[:-1], names[-1])
        return partial(self._open_place, folder), os.fsdecode(name)

    def _open_place(self, names: Names) -> Place:
        """Opens a folder that is sent to; raises HTTPError and OSError."""
        try:
            opened = self._open(names)
        except OSError as error:
            raise read_error(error) from error
        if opened.is_folder:
            return Place(opened.fd, os.path.realpath(os.path.join(self.root, *map(os.fsdecode, names))))  # noqa: PTH118
        opened.close()
        raise HTTPError(409, "there is no such folder")


@lru_cache(maxsize=64)
def common_pairs(cache: int | None, cors: bool | str, is_private: bool) -> tuple[Pair, ...]:
    """The fields that every answer of a handler class has."""
    policy = "no-cache" if cache is None else f"{'private, ' if is_private else ''}max-age={cache}"
    pairs: list[Pair] = [("Cache-Control", policy)]
    if cors:
        pairs += [("Access-Control-Allow-Origin", "*" if cors is True else cors),
                  ("Access-Control-Expose-Headers", _EXPOSED), ("Cross-Origin-Resource-Policy", "cross-origin")]
    return tuple(pairs)


def servable_names(path: str, hidden: bool) -> Names | None:
    """The names in a path, None where one of them is none that a request may name."""
    names = split_path(path)
    if names is None or not has_hidden(names):
        return names
    # A file that has not come whole is hidden, and more than that.
    return None if not hidden or any(map(is_partial, map(os.fsdecode, names))) else names


_kept_names = lru_cache(maxsize=256)(servable_names)


def is_page(request: Request, names: Names) -> bool:
    """Whether a missing path may be one of an application's own: not what looks like a file that a page asks for."""
    return (not names or not mediatypes.is_known(os.fsdecode(names[-1]))
            or "text/html" in request.fields.get("Accept", ""))


@lru_cache(maxsize=64)
def vary_by_accept(pairs: tuple[Pair, ...]) -> Fields:
    """The fields of an application's page where others get 404: see `is_page`."""
    return Fields(pairs).replaced({"vary": "Accept, Accept-Encoding"})
