"""Content codings: which of them a client takes, and gzip made on the fly, kept within bounds.

Refuses to know files and fields other than Accept-Encoding.
"""
import re
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache

IDENTITY = "identity"
SUFFIXES = {"br": b".br", "gzip": b".gz"}  # of the file beside the file, the better coding first
GZIP_LEVEL = 6
# Octets of compressed content kept, in all: more than a large application has. With less than what is asked for in turn
# the oldest always goes just before it is asked for again, and each request costs the compression.
GZIP_CACHE_SIZE = 16 << 20

MAX_PREFERENCES = 1 << 10  # characters of what a client accepts; browsers send 150, and no client means much more

_WEIGHT = re.compile(r"[01](?:\.[0-9]{0,3})?")


def parse_qualities(value: str) -> dict[str, float]:
    """Names in lower case and their q-values (RFC 9110 12.4.2); one whose weight is malformed counts as not there."""
    found = {}
    for member in value.split(","):
        name, *parameters = [part.strip(" \t").lower() for part in member.split(";")]
        pairs = [part.partition("=") for part in parameters]
        weight = next((weight.lstrip(" \t") for key, _, weight in pairs if key.rstrip(" \t") == "q"), "1")
        if _WEIGHT.fullmatch(weight):
            found[name] = min(float(weight), 1.0)
    return found


def acceptable_codings(value: str | None) -> tuple[str, ...]:
    """Of br, gzip and identity those that Accept-Encoding takes, the best first (RFC 9110 12.5.3).

    Without the field only identity, which is also the last resort where nothing else remains and it is not refused.
    A value that is too long counts as not there.
    """
    return (IDENTITY,) if value is None or len(value) > MAX_PREFERENCES else _rank_codings(value)


@lru_cache(maxsize=64)  # clients of a kind say the same
def _rank_codings(value: str) -> tuple[str, ...]:
    qualities = parse_qualities(value)
    if "x-gzip" in qualities:  # RFC 9110 8.4.1.3: equivalent to gzip
        qualities.setdefault("gzip", qualities["x-gzip"])
    others = qualities.get("*")
    ranked = [(qualities.get(coding, others or 0.0), coding) for coding in SUFFIXES]
    ranked.append((qualities.get(IDENTITY, 0.0005 if others is None else others), IDENTITY))  # taken, but last
    ranked.sort(key=lambda each: -each[0])  # stable: of equals the better coding
    return tuple([coding for quality, coding in ranked if quality > 0])


def gzip(octets: bytes, level: int = GZIP_LEVEL) -> bytes:
    """The octets in gzip coding; the same octets give the same result, for there is no time in it."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(octets) + compressor.flush()


class GzipCache:
    """What was compressed lately, so that it need not be again. From any thread; the lock is not held meanwhile."""

    def __init__(self, max_size: int = GZIP_CACHE_SIZE) -> None:
        self.max_size = max_size
        self.size = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, bytes | None] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], bytes], may_keep: bool = True) -> bytes | None:
        """The content of `key` compressed, `read` giving it plain; None where that saves less than a tenth.

        With `may_keep` false another content may be of the same key by now: it is neither looked up nor kept.
        """
        if not may_keep:
            return _pack(read())
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        packed = _pack(read())
        with self._lock:
            if key not in self._entries:
                self._entries[key] = packed
                self.size += _cost(packed)
            while self.size > self.max_size:
                self.size -= _cost(self._entries.popitem(last=False)[1])
        return packed


def _pack(plain: bytes) -> bytes | None:
    compressed = gzip(plain)
    return compressed if len(compressed) <= len(plain) * 0.9 else None


def _cost(packed: bytes | None) -> int:
    return 500 + len(packed or b"")  # with its key


def prefers_json(accept: str) -> bool:
    """Whether Accept names application/json, and HTML not at all or as less welcome; not if it is too long."""
    if len(accept) > MAX_PREFERENCES:
        return False
    qualities = parse_qualities(accept)
    json = qualities.get("application/json", 0.0)
    return json > max(qualities.get("text/html", 0.0), qualities.get("application/xhtml+xml", 0.0))
