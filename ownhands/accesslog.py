"""A line for each answer, in the formats that log readers know. Pure functions of what was asked and answered.

Refuses to know where the lines go.
"""
import time
from functools import lru_cache
from typing import NamedTuple

from .messages import Request

MAX_VALUE_SIZE = 1 << 10  # characters of a target or a field that are logged: a head may hold 64 times that
# By code: a quote, a backslash, what controls a terminal, and what is not ASCII.
_ESCAPED = [chr(code) if 32 <= code < 127 and chr(code) not in '"\\' else f"\\x{code:02x}" for code in range(256)]


class Answered(NamedTuple):
    """What a line tells; `moment` in seconds since the epoch, `size` in octets sent, head and all."""

    client: str
    user: str
    moment: float
    request: Request | None  # None where none could be read
    status: int
    size: int
    refused: str = ""  # the first line of what was no request


def common(answered: Answered) -> str:
    """The Common Log Format; its last number is Apache's %O, the head included."""
    client, user, moment, request, status, size, refused = answered
    line = f"{request.method} {cut(request.target)} {request.version}" if request is not None else refused
    return f'{client} - {escape(cut(user)) or "-"} [{_local_time(int(moment))}] "{escape(line) or "-"}" {status} {size}'


def combined(answered: Answered) -> str:
    """Common, and by which page and which program."""
    return f'{common(answered)} "{_field(answered, "Referer")}" "{_field(answered, "User-Agent")}"'


def as_json(answered: Answered) -> str:
    """One JSON object a line, the time in UTC."""
    import json  # takes long to import
    client, user, moment, request, status, size, refused = answered
    entry: dict[str, object] = {"time": f"{_utc(int(moment))}.{int(moment % 1 * 1000):03}Z", "client": client}
    if user:
        entry["user"] = cut(user)
    if request is not None:
        entry |= {"method": request.method, "target": cut(request.target), "version": request.version}
    elif refused:
        entry["refused"] = refused
    entry |= {"status": status, "size": size}
    if request is not None:
        found = {"host": request.host, "referer": request.fields.get("Referer", ""),
                 "user_agent": request.fields.get("User-Agent", "")}
        entry |= {name: cut(value) for name, value in found.items() if value}
    return json.dumps(entry)


FORMATS = {"common": common, "combined": combined, "json": as_json}


def escape(text: str) -> str:
    """Text from outside between quotes: no quote, no control and nothing beyond ASCII as it came."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.translate(_ESCAPED).encode("ascii", "backslashreplace").decode()


def cut(text: str) -> str:
    """The text, or as much of it as a line should hold, and dots to tell."""
    return text if len(text) <= MAX_VALUE_SIZE else text[:MAX_VALUE_SIZE] + "..."


def _field(answered: Answered, name: str) -> str:
    value = answered.request.fields.get(name, "") if answered.request is not None else ""
    return escape(cut(value)) or "-"


@lru_cache(maxsize=2)
def _local_time(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S %z", time.localtime(second))


@lru_cache(maxsize=2)
def _utc(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
