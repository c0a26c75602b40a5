"""Dates as HTTP writes them: seconds since the epoch to text, and back from each of three forms (RFC 9110 5.6.7).

Pure functions.
"""
import re
from functools import lru_cache
from time import gmtime

MAX_DATE_SIZE = 40  # characters; the longest form has 33

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH, _TIME = "(?P<month>" + "|".join(_MONTHS) + ")", "(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
_DAY = "(?:" + "|".join(_DAYS) + ")"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
# RFC 9110 5.6.7: IMF-fixdate, and the two obsolete forms that must still be understood.
_DATES = (  # uncompiled, for most servers serve no files: `re` compiles one when it is first asked for, and keeps it
    f"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
    f"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
    f"{_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})")


def encode_date(timestamp: float) -> str:
    """Seconds since the epoch as an IMF-fixdate (RFC 9110 5.6.7)."""
    year, month, day, hour, minute, second, weekday, _, _ = gmtime(timestamp)
    return (f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} GMT")


def parse_date(value: str, now: float | None = None) -> int | None:
    """An HTTP-date as seconds since the epoch, in any of its three forms; None for what is none of them.

    `now` decides the century of a year of two digits: it is not more than 50 years ahead (RFC 9110 5.6.7).
    """
    return _parse_date(value, gmtime(now).tm_year) if len(value) <= MAX_DATE_SIZE else None


@lru_cache(maxsize=256)  # a server is asked again and again about the same files
def _parse_date(value: str, this_year: int) -> int | None:
    match = next((found for found in (re.fullmatch(form, value) for form in _DATES) if found), None)
    if match is None:
        return None
    hour, minute, second = map(int, match["time"].split(":"))
    year, month, day = int(match["year"]), _MONTHS.index(match["month"]) + 1, int(match["day"])
    if len(match["year"]) == 2:
        year += this_year // 100 * 100
        year -= 100 if year > this_year + 50 else 0
    moment = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + min(second, 59)  # 60 is a leap second
    try:
        is_real = gmtime(moment)[:5] == (year, month, day, hour, minute) and second <= 60
    except (OverflowError, OSError, ValueError):
        return None
    return moment if is_real else None


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the Gregorian calendar; years are counted from March, so that leap days end them."""
    year, month = (year - 1, month + 9) if month <= 2 else (year, month - 3)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719469
