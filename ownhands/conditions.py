"""Which answer a conditional request gets, and which octets a range request: RFC 9110 13 and 14.

Pure functions of field values. Refuses to know files, handlers and how an answer is made.
"""
import re
from collections.abc import Mapping

from .dates import parse_date

Range = tuple[int, int]  # the first octet, and the one behind the last

MAX_RANGES = 32  # in one request; more are an attack or a mistake
NEAR = 128  # octets; ranges no farther apart than what a part costs are sent as one

_OPAQUE_TAG = r'"[!#-~\x80-\xff]*"'
_TAG = rf"(?:W/)?{_OPAQUE_TAG}"
_TAGS = re.compile(rf"[ \t,]*+{_TAG}(?:[ \t]*+(?:,[ \t]*+)++{_TAG})*+[ \t,]*+")
_RANGES = re.compile(r"[ \t]*bytes[ \t]*=([-0-9, \t]+)", re.I)
_ONE_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_MAX_DIGITS = 18


# ---- conditions -----------------------------------------------------------------------------------------------------

def names_tag(value: str, etag: str | None, is_strong: bool) -> bool:
    """Whether If-Match or If-None-Match names the entity tag; None stands for a resource that does not exist.

    Strong comparison wants both strong and the same, weak one does not look at W/ (RFC 9110 8.8.3.2). A list that is
    malformed names nothing.
    """
    if etag is None:
        return False
    if value == "*":
        return True
    opaque = etag.removeprefix("W/")
    if opaque not in value or not _TAGS.fullmatch(value):  # the quick look first: a list may be long
        return False
    if is_strong:
        return opaque == etag and etag in re.findall(_TAG, value)
    return opaque in re.findall(_OPAQUE_TAG, value)


def evaluate(method: str, fields: Mapping[str, str], etag: str | None, modified: int | None) -> int | None:
    """304, 412, or None to go on: the preconditions in the order of RFC 9110 13.2.2.

    `etag` as it is sent, None where nothing exists; `modified` in seconds since the epoch, None if there is no date.
    """
    is_read = method in ("GET", "HEAD")
    if (value := fields.get("If-Match")) is not None:
        if not names_tag(value, etag, is_strong=True):
            return 412
    elif _is_older(fields.get("If-Unmodified-Since"), modified) is True:
        return 412
    if (value := fields.get("If-None-Match")) is not None:
        if names_tag(value, etag, is_strong=False):
            return 304 if is_read else 412
    elif is_read and _is_older(fields.get("If-Modified-Since"), modified) is False:
        return 304
    return None


def _is_older(value: str | None, modified: int | None) -> bool | None:
    """Whether the date is before the last modification; None where either is missing, or is no date."""
    moment = None if value is None or modified is None else parse_date(value)
    return None if moment is None or modified is None else moment < modified


def range_applies(value: str | None, etag: str | None, modified: int | None, now: float) -> bool:
    """Whether If-Range, if it is there, lets Range count (RFC 9110 13.1.5): only what is strong identifies octets."""
    if value is None:
        return True
    if value.startswith(('"', "W/")):
        return value == etag and not value.startswith("W/")
    # 8.8.2.2: within a second that is not over the file may change again, and its date stay the same.
    return modified is not None and modified < int(now) and parse_date(value) == modified


# ---- ranges ---------------------------------------------------------------------------------------------------------

def parse_ranges(value: str, size: int, max_ranges: int = MAX_RANGES) -> list[Range] | None:
    """The ranges that Range asks for of `size` octets, in its order, those that touch made one.

    An empty list: none can be satisfied, or there are too many, 416. None: the field is to be ignored, for its unit
    is unknown, it is malformed (RFC 9110 14.2), or the end of nothing is asked for, which 206 cannot express.
    """
    match = _RANGES.fullmatch(value)
    if match is None:
        return None
    if match[1].count(",") > max_ranges + MAX_RANGES:  # whatever they are, and empty ones: thousands would take long
        return []
    members = [member.strip(" \t") for member in match[1].split(",")]
    found = [_ONE_RANGE.fullmatch(member) for member in members if member]
    if not found or not all(each is not None and _is_range(each[1], each[2]) for each in found):
        return None
    if len(found) > max_ranges:
        return []
    limits = [_limits(each[1], each[2], size) for each in found if each is not None]
    if not size and any(each is not None and not each[1] and each[2].strip("0") for each in found):
        return None
    return _coalesce([each for each in limits if each[0] < each[1]])


def _is_range(first: str, last: str) -> bool:
    """RFC 9110 14.1.1: one number is given at least, and the last octet is not before the first."""
    return bool(first or last) and not (first and last and _number(last) < _number(first))


def _limits(first: str, last: str, size: int) -> Range:
    if not first:
        return max(size - _number(last), 0), size
    return _number(first), min(_number(last) + 1, size) if last else size


def _number(digits: str) -> int:
    """Never an error: what is beyond any file's size is as good as the largest."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS


def _coalesce(ranges: list[Range]) -> list[Range]:
    """Ranges that overlap or nearly touch become one, where the first of them stood (RFC 9110 15.3.7.2)."""
    merged: list[Range] = []
    for first, end in ranges:
        near = [each for each in merged if first <= each[1] + NEAR and each[0] <= end + NEAR]
        if not near:
            merged.append((first, end))
            continue
        place = merged.index(near[0])
        union = min(first, *(each[0] for each in near)), max(end, *(each[1] for each in near))
        merged = merged[:place] + [union] + [
            each for each in merged[place:] if each not in near]
    return merged
