"""Knobs: which class attributes can be given by keyword, and how a handler class gets them.

Refuses to know what any of them does.
"""
from functools import partial
from types import FunctionType
from typing import Any

from .hints import Elsewhere

NOT_HERE = {  # what socketserver has as class attributes, and to be said where one of them is given
    "timeout": "idle_timeout, head_timeout and their like bound what a client may take; handle_request waits for "
               "`server.timeout` seconds, which is set on the object",
    "address_family": "the host decides",
    "socket_type": "connections are streams",
    "allow_reuse_port": "bind a socket of your own, and set it as `socket`",
}

STATE = frozenset(["is_paused", "ends_in_reset", "user"])  # defaults of what belongs to one connection
OR_NONE = frozenset(["cache", "lanes", "max_requests", "max_upload", "switch_interval"])  # numbers, or None
COUNTS = frozenset(["max_threads", "max_connections"])  # of what there must be one at least
HANDLER_ARGUMENTS = 3
CO_VARARGS = 4  # inspect's; that takes long to import


def is_knob(owner: Any, name: str) -> bool:
    """Whether `name` is a public class attribute of `owner` that holds a value, not a method or a property."""
    if name.startswith("_") or name in STATE:
        return False
    for each in getattr(owner, "__mro__", ()):
        if name in vars(each) and not isinstance(vars(each)[name], Elsewhere):  # a class behind may have it
            return not isinstance(vars(each)[name], (FunctionType, classmethod, property))
    return False


def check_knob(name: str, value: Any, owners: list[Any], server: Any, handler: Any) -> None:
    """Raises TypeError for what is no knob of any of the `owners`, or cannot be; ValueError for a number that cannot.

    The owners are those of the two classes, `server` and `handler`, that have it.
    """
    if name in NOT_HERE and owners in ([], [server]):
        raise TypeError(f"{name} is no keyword here: {NOT_HERE[name]}")
    if not owners:
        hint = _hint(name, server, handler)
        raise TypeError(f"{name!r} is not a setting of {server.__name__} or of its handler{hint}")
    is_optional = name in OR_NONE
    if (is_optional or is_number(getattr(owners[-1], name))) and not is_number(value) and not (
            value is None and is_optional) and (isinstance(value, str) or _is_ours(owners[-1], name)):
        raise TypeError(f"{name} is a number{' or None' if is_optional else ''}, not {value!r}")
    if name in COUNTS and owners[-1] is server and (not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} is a whole number from 1 on, not {value!r}")


def _hint(name: str, *owners: Any) -> str:
    """The knob that may have been meant."""
    from difflib import get_close_matches  # takes long to import, and is for mistakes
    known = {each for owner in owners for each in dir(owner) if is_knob(owner, each)} - set(NOT_HERE)
    return "".join(f": is it {each}?" for each in get_close_matches(name, sorted(known), 1))


def _is_ours(owner: Any, name: str) -> bool:
    """Whether the package gave the knob its meaning: what others may stand for in a program's own, only that knows."""
    return any(name in vars(each) and each.__module__.partition(".")[0] == __package__ for each in owner.__mro__)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def check_handler(handler: Any) -> None:
    """Raises TypeError for what can make no handler, as far as that can be seen."""
    if not callable(handler):
        raise TypeError(f"handler is a class, or what makes a handler, not {handler!r}")
    if isinstance(handler, FunctionType) and handler.__code__.co_argcount < HANDLER_ARGUMENTS and not (
            handler.__code__.co_flags & CO_VARARGS):
        raise TypeError(f"{handler.__name__} is called with a connection, its client's address and the server; "
                        "a WSGI application is served by ownhands.wsgi.WSGIHandler")


def handler_class(handler: Any) -> Any:
    """What a handler is made by, behind any functools.partial."""
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def with_attributes(handler: Any, values: dict[str, Any]) -> Any:
    """A subclass of the handler class that has these attributes; of a functools.partial, one that makes it."""
    if isinstance(handler, partial):
        return partial(with_attributes(handler.func, values), *handler.args, **handler.keywords)
    return type(handler.__name__, (handler,), values | {"__module__": handler.__module__})
