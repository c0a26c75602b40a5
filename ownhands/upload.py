"""Files sent to a folder: which requests to store them are heeded, and what is answered.

Refuses to know who is authorised and which folder a path means: the handler gives what opens it.
"""
import functools
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from urllib.parse import quote

from .codings import IDENTITY
from .conditions import evaluate
from .content import PIECE_SIZE
from .messages import HTTPError, Request, Response
from .multipart import Part, parse_boundary, read_parts
from .parser import REASONS
from .representation import PACKED, etag_of, modified_of
from .storing import Partial, Place, Terms, clean_name, open_form, open_partial, store, too_large
from .targets import quote_origin_form

UNLIMITED = 1 << 62

OpenPlace = Callable[[], Place]  # opens the folder that the path means now; raises HTTPError and OSError


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


def check_upload(request: Request, open_place: OpenPlace, name: str, terms: Terms) -> tuple[int, Callable[[], Partial]]:
    """For `on_head`: whether this PUT or POST may go on, `name` being "" where the folder itself is addressed.

    Gives what `gather_this` takes. Raises HTTPError: 400, 403, 404, 405, 409, 412, 413, 415 and 507. All is looked at
    again once the content has come, but a refusal spares sending it.
    """
    check_origin(request)
    length = request.head.control.content_length or 0  # of chunks only their end tells
    max_size = UNLIMITED if terms.max_size is None else terms.max_size
    with open_place() as place:
        if request.method == "POST":
            if name:
                raise HTTPError(405, "a form is sent to a folder")
            boundary = check_form(request)
            length *= 2  # the form, and the files in it
        else:
            check_put(request, place, name, terms)
            if length > max_size:
                raise too_large(max_size)
        if length > place.free_size():
            raise HTTPError(507, "there is not enough space")
    if request.method == "POST":
        return UNLIMITED, lambda: open_form(open_place(), boundary, max_size)
    return max_size, lambda: open_partial(open_place())


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


def check_put(request: Request, place: Place, name: str, terms: Terms) -> None:
    """Whether a file of this very name can be put here: what a PUT addresses is not renamed."""
    if not name:
        raise HTTPError(409, "this is a folder; give the file a name")
    if clean_name(name, terms.hidden) != name:
        raise HTTPError(400, "a file cannot have this name here")
    check_coding(request)
    if "Content-Range" in request.fields:
        raise HTTPError(400, "this takes whole files")  # RFC 9110 14.5
    check_conditions(request, place, name)
    if place.has(name) and not terms.overwrite:
        raise HTTPError(409, "it exists already")


def check_conditions(request: Request, place: Place, name: str) -> None:
    """Whether it is, and still is, the file that is meant (RFC 9110 13.1). Raises HTTPError: 412; 409 for a folder."""
    etag, modified, now = None, None, time.time()
    with suppress(OSError):
        status = place.status(name)
        if stat.S_ISDIR(status.st_mode):
            raise HTTPError(409, "a folder has this name")
        tags = etag_of(status, now, PACKED), etag_of(status, now)
        named = request.fields.get("If-Match", "") + request.fields.get("If-None-Match", "")
        etag = next((tag for tag in tags if tag in named), tags[-1])  # of either form in which it may have been got
        modified = modified_of(status, now)
    if _is_for_new(request) and place.has(name):
        raise HTTPError(412, "it exists already")
    if evaluate(request.method, request.fields, etag, modified) is not None:
        raise HTTPError(412, "there is no such file" if etag is None else "the file has changed")


def _is_for_new(request: Request) -> bool:
    return request.fields.get("If-None-Match", "").strip(" \t") == "*"


# ---- answering ------------------------------------------------------------------------------------------------------

def own_path(request: Request) -> str:
    """The path that was addressed, for Location: two slashes at its beginning would lead to another host."""
    return "/" + quote_origin_form(request.split_target()[1].lstrip("/"))


def receive_put(request: Request, open_place: OpenPlace, name: str, terms: Terms) -> Response:
    """Stores the content of a PUT that `check_upload` let through: 201, or 204 where it took the place of another."""
    with open_place() as place:
        check = functools.partial(check_put, request, place, name, terms)
        overwrite = terms.overwrite and not _is_for_new(request)  # another process may make it behind the look
        if isinstance(request.stream, Partial):
            is_new = request.stream.publish(place, name, overwrite, check)
        else:
            pieces = iter(functools.partial(request.stream.read, PIECE_SIZE), b"")
            is_new = store(place, name, pieces, terms._replace(overwrite=overwrite), check)
    return Response("stored\n", 201, location=own_path(request)) if is_new else Response(b"", 204)


def receive_form(request: Request, open_place: OpenPlace, terms: Terms) -> Response:
    """Stores the files of a form, each on its own: one that cannot be stored does not keep out the others.

    201 with a line for each, or 303 back to the folder for a browser; the status of the first refusal, if there is one.
    """
    boundary = check_form(request)
    # The form is closed here, for a second copy of all should be there no longer than it must.
    with open_place() as place, request.stream as form:
        return _store_parts(request, read_parts(boundary, functools.partial(form.read, PIECE_SIZE)), place, terms)


def _store_parts(request: Request, parts: Iterable[Part], place: Place, terms: Terms) -> Response:
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
            store(place, name, part, terms)
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
