"""Request targets, in each of the forms they may have (RFC 9112 3.2), the authorities in them, and what a URI may hold.

Pure functions. Refuses to know of any other part of a message.
"""
import re
from socket import AF_INET6, inet_pton
from urllib.parse import quote

from .grammar import ABSOLUTE_FORM, AUTHORITY, ORIGIN_FORM

# RFC 3986 2: what no URI holds as it is. Not the controls, which no field can hold either: they are to be refused.
_NOT_IN_URI = re.compile(r"%(?![0-9A-Fa-f]{2})|[^\x00-\x08\n-\x1f\x7f!#$%&-;=?-Z\[\]_a-z~]")
_BRACKETS = str.maketrans({"[": "%5B", "]": "%5D"})


def is_target(method: bytes, target: bytes) -> bool:
    """Whether the target has a form that the method may have."""
    if method == b"CONNECT":
        port = target.rpartition(b":")[2].lstrip(b"0")  # RFC 9110 9.3.6: an empty or invalid one is rejected
        return is_authority(target) and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if target == b"*":
        return method == b"OPTIONS"
    if absolute := re.fullmatch(ABSOLUTE_FORM, target):
        return is_authority(absolute[1])
    return re.fullmatch(ORIGIN_FORM, target) is not None


def is_authority(octets: bytes) -> bool:
    """Whether the octets are uri-host [ ":" port ] (RFC 9110 4.2.1, 7.2): a host, a port of digits, no userinfo."""
    match = AUTHORITY.fullmatch(octets)
    if match is None:
        return False
    if octets.startswith(b"[") and octets[1:2] not in b"vV":
        try:
            inet_pton(AF_INET6, match[1][1:-1].decode("ascii"))
        except OSError:
            return False
    return True


def split_absolute_form(target: str) -> tuple[str, str] | None:
    """Authority and the origin-form behind it, or None for a target that is not in absolute-form."""
    match = re.fullmatch(ABSOLUTE_FORM, target.encode("ascii"))
    if match is None:
        return None
    authority, path, query = (group or b"" for group in match.groups())
    return authority.decode("ascii"), (path or b"/").decode("ascii") + query.decode("ascii")


def quote_reference(text: str) -> str:
    """The text as a URI-reference, as Location has it (RFC 9110 10.2.2); what is one already stays as it is."""
    return _NOT_IN_URI.sub(lambda match: quote(match[0]), text)


def quote_origin_form(text: str) -> str:
    """A path or a query as a URI has it: what clients send is often more than that (RFC 3986 3.3, 3.4)."""
    return quote_reference(text).translate(_BRACKETS)
