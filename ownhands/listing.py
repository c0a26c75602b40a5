"""A folder's contents as a page for people and as JSON for programs.

Pure functions of entries that somebody else has found. Refuses to know files and requests; the page is listing.html.
"""
import hashlib
import json
import re
import time
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from pkgutil import get_data  # importlib.resources takes longer to import than all else that a first page needs
from urllib.parse import quote

from .folder import Entry

_PIECES = re.split(r"\{\{(\w+)\}\}", (get_data(__package__, "listing.html") or b"").decode())


def _hash_of(tag: str) -> str:
    """The source expression that allows this element of the page and no other (CSP 3, 2.3.1)."""
    match = re.search(f"<{tag}>(.*?)</{tag}>", "".join(_PIECES[::2]), re.S)
    assert match is not None
    return f"'sha256-{b64encode(hashlib.sha256(match[1].encode()).digest()).decode()}'"


# The value of the page's Content-Security-Policy: nothing runs or loads but what is in it.
CONTENT_SECURITY_POLICY = "; ".join([
    "default-src 'none'", f"style-src {_hash_of('style')}", f"script-src {_hash_of('script')}", "img-src data:",
    "connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"])

SORTS = {"name": "Name", "size": "Size", "time": "Modified"}
_FIRST_ORDER = {"name": "asc", "size": "desc", "time": "desc"}  # of a column that is sorted by for the first time
GROUP_SIZE = 50  # rows; listing.html has it too
_ARROWS = {"asc": " ↑", "desc": " ↓"}
_UNITS = ["kB", "MB", "GB", "TB", "PB", "EB"]
_IS_PLAIN = re.compile(r"[A-Za-z0-9._~-]+").fullmatch  # the same in HTML and in a URL
_DIGITS = re.compile(r"[0-9]+")
_ESCAPES = {code: chr(0x2400 + code) for code in range(32)} | {
    0x7f: "\u2421", ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;", ord("'"): "&#39;"}
_KINDS = {suffix: kind for kind, suffixes in {
    "i": "jpg jpeg png gif webp avif svg heic heif bmp tif tiff ico jxl",
    "v": "mp4 m4v mov webm mkv avi mpg mpeg ogv ts",
    "a": "mp3 m4a aac flac ogg oga opus wav aiff wma",
    "z": "zip gz tgz bz2 xz zst 7z rar tar br lz4 jar whl deb rpm iso dmg",
}.items() for suffix in suffixes.split()}


# ---- what people see ------------------------------------------------------------------------------------------------

def render(path: str, entries: Iterable[Entry], sort: str = "name", order: str = "asc", *, can_upload: bool = False,
           home: str = "Files") -> str:
    """The page for the folder at `path`, which begins and ends with a slash and is decoded like the entries' names.

    `sort` and `order` come from the query, so anything may stand there. `home` is what the topmost folder is called.
    """
    sort = sort if sort in SORTS else "name"
    order = order if order in _ARROWS else _FIRST_ORDER[sort]
    found = sort_entries(entries, sort, order)
    names = path.strip("/").split("/") if path.strip("/") else []
    parts = {"title": escape(names[-1] if names else home), "crumbs": _crumbs(names, home),
             "tools": _tools(bool(found), can_upload), "summary": _summary(found),
             "list": _list(found, sort, order, bool(names), can_upload)}
    return "".join([piece if index % 2 == 0 else parts[piece] for index, piece in enumerate(_PIECES)])


def sort_entries(entries: Iterable[Entry], sort: str, order: str) -> list[Entry]:
    """Folders first, then in order; those that are equal in it by name. 2 comes before 10."""
    ordered = sorted(entries, key=lambda entry: (_DIGITS.sub(_pad, entry.name.casefold()), entry.name),
                     reverse=sort == "name" and order == "desc")
    if sort == "size":
        ordered.sort(key=lambda entry: 0 if entry.is_dir else entry.size, reverse=order == "desc")
    elif sort == "time":
        ordered.sort(key=lambda entry: entry.mtime, reverse=order == "desc")
    ordered.sort(key=lambda entry: not entry.is_dir)
    return ordered


def _pad(digits: re.Match[str]) -> str:
    return digits[0].zfill(20)


def escape(text: str) -> str:
    """Text for HTML: controls as pictures of them, octets that are no UTF-8 as U+FFFD."""
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.translate(_ESCAPES)


def link(entry: Entry) -> str:
    """The reference to an entry, relative to its folder: its name to the octet, nothing of it with a meaning."""
    return quote(entry.name, safe="", errors="surrogateescape") + ("/" if entry.is_dir else "")


def human_size(size: int) -> str:
    """Octets as people say them: 999 B, 1.2 kB, 35 MB."""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in _UNITS:
        amount /= 1000
        if amount < 9.95:
            return f"{amount:.1f} {unit}"
        if amount < 999.5:
            return f"{amount:.0f} {unit}"
    return f"{amount:.0f} {_UNITS[-1]}"


def _crumbs(names: list[str], home: str) -> str:
    shown = [f"<bdi>{escape(name)}</bdi>" for name in (home, *names)]
    links = [f'<a href="{"../" * (len(names) - depth)}">{name}</a><i>/</i>' for depth, name in enumerate(shown[:-1])]
    return "".join(links) + shown[-1]


def _tools(has_entries: bool, can_upload: bool) -> str:
    search = ('<div class="search" hidden><input type="search" placeholder="Search" aria-label="Search this folder" '
              'autocomplete="off" spellcheck="false"></div>')
    upload = ('<form method="post" enctype="multipart/form-data"><label class="button first" for="pick">Upload</label>'
              '<input type="file" name="files" id="pick" aria-label="Files to upload" multiple required>'
              '<button class="button first">Upload</button></form>')
    archive = '<a class="button" href="?zip" download>Download all</a>'
    has_entries = has_entries or can_upload  # there may be some soon
    return search * has_entries + archive * has_entries + upload * can_upload


def _list(found: list[Entry], sort: str, order: str, has_parent: bool, can_upload: bool) -> str:
    parent = '<li class="u"><a href="../">Parent folder</a></li>' if has_parent else ""
    if not found:
        note = "This folder is empty." + (" Drop files here to upload them." if can_upload else "")
        return f'<ul class="files">{parent}</ul>\n<p class="note empty">{note}</p>\n<p class="note none" hidden></p>'
    heads = "".join([_head(each, sort, order) for each in SORTS])
    rows = _rows(found)
    # A browser lays out no more than the groups that are seen, which is what makes a long list open quickly.
    groups = ["\n".join(rows[start:start + GROUP_SIZE]) for start in range(0, len(rows), GROUP_SIZE)]
    lists = '\n</ul>\n<ul class="files">\n'.join(groups)
    return (f'<nav class="row" aria-label="Sort">{heads}</nav>\n<ul class="files">{parent}\n{lists}\n</ul>\n'
            '<p class="note none" hidden>Nothing here has such a name.</p>')


def _head(each: str, sort: str, order: str) -> str:
    """The link that sorts by a column, the other way round if it is sorted by already."""
    if each != sort:
        return f'<a href="?sort={each}&amp;order={_FIRST_ORDER[each]}">{SORTS[each]}</a>'
    other = "desc" if order == "asc" else "asc"
    return f'<a href="?sort={each}&amp;order={other}" aria-current="true">{SORTS[each]}{_ARROWS[order]}</a>'


def _rows(found: list[Entry]) -> list[str]:
    localtime, kinds, is_plain = time.localtime, _KINDS, _IS_PLAIN
    rows = []
    for entry in found:
        name = reference = entry.name
        if not is_plain(name):
            name, reference = escape(name), quote(name, safe="", errors="surrogateescape")
        try:
            year, month, day, hour, minute, *_ = localtime(entry.mtime)
            moment = f"{year}-{month:02}-{day:02} {hour:02}:{minute:02}"
        except (ValueError, OverflowError, OSError):  # a time that the system's calendar does not have
            moment = ""
        if entry.is_dir:
            zipped = f'<a class="zip" href="{reference}/?zip" download aria-label="Download {name} as a zip">zip</a>'
            rows.append(f'<li class="d"><a href="{reference}/">{name}</a>{zipped}<span>{moment}</span></li>')
        else:
            kind = kinds.get(entry.name.rpartition(".")[2].lower(), "f")
            rows.append(f'<li class="{kind}"><a href="{reference}">{name}</a><span>{human_size(entry.size)}</span>'
                        f"<span>{moment}</span></li>")
    return rows


def _summary(found: list[Entry]) -> str:
    folders = sum(entry.is_dir for entry in found)
    size = sum(entry.size for entry in found if not entry.is_dir)
    counts = [f"{count:,} {word}{'' if count == 1 else 's'}"
              for count, word in ((folders, "folder"), (len(found) - folders, "file")) if count]
    return ", ".join(counts + ([human_size(size)] if size else []))


# ---- what programs read ---------------------------------------------------------------------------------------------

def as_json(path: str, entries: Iterable[Entry]) -> str:
    """The folder as JSON, by name: `href` leads to an entry whatever octets its name has; times are in UTC."""
    return json.dumps({"path": path, "entries": [
        {"name": entry.name, "type": "folder" if entry.is_dir else "file", "href": link(entry),
         "size": None if entry.is_dir else entry.size, "modified": _iso_time(entry.mtime)}
        for entry in sort_entries(entries, "name", "asc")]})


def _iso_time(mtime: float) -> str | None:
    try:
        return datetime.fromtimestamp(int(mtime), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None
