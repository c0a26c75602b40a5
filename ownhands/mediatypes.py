"""What a file's name says: its media type, whether that compresses well, and how a name is told to a browser.

Tables of its own, so that an answer does not depend on the machine. Refuses to know the file's octets.
"""
import os
import re
from functools import lru_cache
from urllib.parse import quote

DEFAULT = "application/octet-stream"

# Media type: the suffixes that mean it. What a person reads is text/plain, so that a browser shows it.
_TABLE = {
    "text/html": "html htm",
    "text/css": "css",
    "text/javascript": "js mjs cjs",
    "text/markdown": "md markdown mkd",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/calendar": "ics",
    "text/vcard": "vcf vcard",
    "text/vtt": "vtt",
    "text/plain": "txt text log conf cfg ini toml yaml yml rst adoc tex bib srt sub diff patch sql sh bash zsh fish "
                  "bat ps1 py pyi pyx rb pl lua php java kt kts scala groovy c h cc cpp cxx hpp hh cs go rs swift m mm "
                  "r jl hs ml ex exs erl clj el lisp vim ts tsx jsx vue svelte scss sass less styl proto thrift "
                  "graphql gradle cmake mk env properties lock nfo asc pem crt cer key pub sha1 sha256 sha512 md5 list",
    "application/json": "json map webapp ipynb",
    "application/ld+json": "jsonld",
    "application/geo+json": "geojson",
    "application/manifest+json": "webmanifest",
    "application/x-ndjson": "ndjson jsonl",
    "application/xml": "xml xsl xsd wsdl",
    "application/xhtml+xml": "xhtml",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "application/gpx+xml": "gpx",
    "application/vnd.google-earth.kml+xml": "kml",
    "application/wasm": "wasm",
    "application/pdf": "pdf",
    "application/rtf": "rtf",
    "application/postscript": "ps eps ai",
    "application/epub+zip": "epub",
    "application/zip": "zip",
    "application/gzip": "gz tgz",
    "application/x-bzip2": "bz2 tbz2",
    "application/x-xz": "xz txz",
    "application/zstd": "zst",
    "application/x-brotli": "br",
    "application/x-tar": "tar",
    "application/x-7z-compressed": "7z",
    "application/vnd.rar": "rar",
    "application/java-archive": "jar",
    "application/vnd.android.package-archive": "apk",
    "application/vnd.debian.binary-package": "deb",
    "application/x-rpm": "rpm",
    "application/x-apple-diskimage": "dmg",
    "application/x-iso9660-image": "iso",
    "application/vnd.sqlite3": "sqlite sqlite3",
    "application/vnd.apple.mpegurl": "m3u8",
    "application/dash+xml": "mpd",
    "application/ogg": "ogx",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/x-x509-ca-cert": "der",
    "application/x-bittorrent": "torrent",
    "image/png": "png",
    "image/apng": "apng",
    "image/jpeg": "jpg jpeg jpe jfif",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/jxl": "jxl",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/tiff": "tif tiff",
    "image/bmp": "bmp",
    "image/svg+xml": "svg",
    "image/x-icon": "ico cur",
    "image/vnd.adobe.photoshop": "psd",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a m4b",
    "audio/aac": "aac",
    "audio/ogg": "ogg oga spx",
    "audio/opus": "opus",
    "audio/flac": "flac",
    "audio/wav": "wav",
    "audio/webm": "weba",
    "audio/midi": "mid midi",
    "audio/aiff": "aif aiff",
    "video/mp4": "mp4 m4v",
    "video/webm": "webm",
    "video/ogg": "ogv",
    "video/quicktime": "mov qt",
    "video/matroska": "mkv",
    "video/x-msvideo": "avi",
    "video/mpeg": "mpg mpeg mpe",
    "video/mp2t": "m2ts",
    "video/3gpp": "3gp",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "font/collection": "ttc",
    "application/vnd.ms-fontobject": "eot",
    "model/gltf+json": "gltf",
    "model/gltf-binary": "glb",
    "model/stl": "stl",
    "model/obj": "obj",
}
_BY_SUFFIX = {suffix: media_type for media_type, suffixes in _TABLE.items() for suffix in suffixes.split()}
_TEXT_NAMES = frozenset(  # files without a suffix that people look at
    ["authors", "changelog", "changes", "codeowners", "containerfile", "contributing", "copying", "dockerfile",
     "gemfile", "install", "jenkinsfile", "justfile", "licence", "license", "makefile", "news", "notice", "procfile",
     "rakefile", "readme", "todo", "vagrantfile", "version"])

_COMPRESSIBLE = frozenset([
    "application/json", "application/xml", "application/wasm", "application/x-ndjson", "application/rtf",
    "application/postscript", "application/x-tar", "application/vnd.apple.mpegurl", "application/vnd.ms-fontobject",
    "font/ttf", "font/otf", "font/collection", "image/bmp", "image/x-icon", "model/stl", "model/obj"])
_PACKED = re.compile(r"(?:image|audio|video)/(?!svg|bmp|x-icon)|font/woff|application/(?:zip|gzip|x-bzip2|x-xz|zstd|"
                     r"x-brotli|x-7z|vnd\.rar|java-archive|pdf|epub|vnd\.(?:openxml|oasis|android|debian))")


def guess(name: str, charset: str = "utf-8") -> str:
    """The media type of a file of that name, with `charset` where it is text; application/octet-stream if unknown."""
    stem, dot, suffix = name.lower().rpartition(".")
    media_type = _BY_SUFFIX.get(suffix) if dot and stem else None
    if media_type is None and (suffix in _TEXT_NAMES if not dot else not stem):  # a dot file is some program's text
        media_type = "text/plain"
    if media_type is None:
        return DEFAULT
    return f"{media_type}; charset={charset}" if charset and media_type.startswith("text/") else media_type


def is_known(name: str) -> bool:
    """Whether the name has a suffix that means something here."""
    return name.lower().rpartition(".")[2] in _BY_SUFFIX and "." in name


def is_compressible(media_type: str) -> bool:
    """Whether gzip makes it much smaller as a rule."""
    essence = media_type.partition(";")[0]
    return essence.startswith("text/") or essence.endswith(("+xml", "+json")) or essence in _COMPRESSIBLE


def is_packed(media_type: str) -> bool:
    """Whether it is compressed by its nature, so that nobody puts a compressed file beside it."""
    return _PACKED.match(media_type) is not None


@lru_cache(maxsize=1024)
def describe(name: bytes, charset: str) -> tuple[str, bool]:
    """The media type of a file of that name, and whether it `is_packed`."""
    media_type = guess(os.fsdecode(name), charset)
    return media_type, is_packed(media_type)


def disposition(name: str) -> str:
    """The Content-Disposition of a download under any file name (RFC 6266 4.3, RFC 8187).

    A name that is no plain ASCII is given twice: as far as ASCII goes, and encoded in UTF-8 for all of today's clients.
    """
    printable = "".join(each if each.isprintable() else "_" for each in name)  # surrogates are not printable
    plain = re.sub(r'[^ !#-\[\]-~]', "_", printable)  # without quotes and backslashes, which clients read differently
    if plain == printable and "%" not in plain:  # some decode %xx where it is not encoded
        return f'attachment; filename="{plain}"'
    encoded = quote(printable, safe="!#$&+-.^_`|~")  # RFC 8187 3.2.1: attr-char
    return f"attachment; filename=\"{plain.replace('%', '_')}\"; filename*=UTF-8''{encoded}"
