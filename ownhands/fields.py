"""Fields: names and values in order, made from what parser.py found or from a handler's keyword arguments.

Refuses to know what a field means, but for those that are the server's own to send.
"""
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from typing import Any, TypeVar

from .parser import Pair, check_field, encode_field_lines

Result = TypeVar("Result")
KEPT_NAME_SIZE = 128  # characters of a name or a media type that is remembered
FieldArgument = str | int | list[str] | list[int] | tuple[str | int, ...] | None


class Values(Mapping[str, str]):
    """Names and values in order, repeats kept in `pairs`; `values[name]` is the first one. Immutable."""

    __slots__ = ("_index", "pairs")

    def __init__(self, pairs: Iterable[Pair] = ()) -> None:
        self.pairs = tuple(pairs)
        self._index: dict[str, list[str]] | None = None

    @staticmethod
    def _key(name: str) -> str:
        return name

    def get_all(self, name: str) -> list[str]:
        """Every value of the name, in the order they were given."""
        index = self._index
        if index is None:
            index = {}
            for each, value in self.pairs:
                index.setdefault(self._key(each), []).append(value)
            self._index = index  # several threads may come here at once and store equal tables
        return index.get(self._key(name), [])

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(self._key(name) for name, _ in self.pairs))

    def __len__(self) -> int:
        return len({self._key(name) for name, _ in self.pairs})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.get_all(name))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.pairs)!r})"


class Fields(Values):
    """Header or trailer fields: names without regard to case; `fields[name]` joins repeats with ", " (RFC 9110 5.3)."""

    __slots__ = ("is_plain", "octets")

    octets: bytes  # the field lines as they are sent, each with its CRLF
    is_plain: bool  # whether none of them concerns the server, which then sends `octets` as they are

    def __getattr__(self, name: str) -> Any:
        """Makes `octets` or `is_plain` when first asked for: a slot that is empty until then costs nothing after."""
        if name == "octets":
            self.octets = encode_field_lines(self.pairs)
        elif name == "is_plain":
            self.is_plain = SERVER_FIELDS.isdisjoint([each.lower() for each, _ in self.pairs])
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self, name)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, FieldArgument]) -> "Fields":
        """`content_type="text/html"` becomes `Content-Type: text/html`; a list repeats the line, None leaves it out.

        Raises ValueError for what cannot stand in a field, CR, LF and NUL above all.
        """
        return cls(pair for keyword, value in keywords.items() for pair in _field_pairs(keyword, value))

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def without(self, *names: str) -> "Fields":
        """All but those of the names, which are in lower case."""
        return Fields(pair for pair in self.pairs if pair[0].lower() not in names)

    def replaced(self, keywords: Mapping[str, FieldArgument]) -> "Fields":
        """All, with the fields of the keywords in place of those of the same names."""
        names = [field_name(keyword).lower() for keyword in keywords]
        return Fields(self.without(*names).pairs + Fields.from_keywords(keywords).pairs)


SERVER_FIELDS = frozenset(["connection", "content-length", "transfer-encoding", "date", "server", "upgrade"])

MEANT_OTHERWISE = {  # keywords of other libraries, each of which would be a field that nobody means: what to write
    "status": "the status is the second argument, by position",
    "status_code": "the status is the second argument, by position",
    "code": "the status is the second argument, by position",
    "detail": "the detail is the second argument, by position",
    "fields": "each field is a keyword argument: x_request_id='1' is X-Request-Id: 1",
    "headers": "each field is a keyword argument: x_request_id='1' is X-Request-Id: 1",
    "media_type": "write content_type='text/html'",
    "mimetype": "write content_type='text/html'",
    "content": "the content is the first argument, by position; of a request in a test, body=",
    "body": "the content is the first argument, by position",
    "json": "write Response.json(value); for a request in a test, body=json.dumps(value)",
    "data": "the content is the first argument, by position; of a request in a test, body=",
    "params": "write the query into the target: '/path?name=value'",
    "cookies": "give cookie='name=value'",
}


def _field_pairs(keyword: str, value: FieldArgument) -> list[Pair]:
    name = field_name(keyword)
    if value is None:
        return []
    values = value if isinstance(value, (list, tuple)) else (value,)
    for each in values:
        if not isinstance(each, (str, int)):
            raise TypeError(f"the value of {name} is a str, an int or a list of them, not {type(each).__name__}")
    return [check_field(name, str(each)) for each in values]


def kept_if_short(function: Callable[[str], Result]) -> Callable[[str], Result]:
    """Remembers what a function of a name gives, but for long names: many of them would fill memory."""
    kept = lru_cache(maxsize=1024)(function)

    @wraps(function)
    def ask(name: str) -> Result:
        return kept(name) if len(name) <= KEPT_NAME_SIZE else function(name)
    return ask


@kept_if_short
def field_name(keyword: str) -> str:
    """`user_agent` -> `User-Agent`; a trailing underscore, there to avoid a Python keyword, is dropped.

    Raises TypeError for a keyword that means something else: see MEANT_OTHERWISE.
    """
    if keyword in MEANT_OTHERWISE:
        raise TypeError(f"{keyword} is no field here: {MEANT_OTHERWISE[keyword]}")
    return keyword.removesuffix("_").replace("_", "-").title()


NO_FIELDS = Fields()
