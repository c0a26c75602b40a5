"""Which http.server programs the engine can serve: the table of methods that, when overridden, keep a class classic.

Looks at classes only. Refuses to know how either path works.
"""
import functools
import http.server
import socketserver
import types
from collections.abc import Callable
from typing import Any

from .knobs import handler_class

OURS = frozenset(["socketserver", "http.server"])  # and this package: modules whose methods the engine stands in for

CLASSIC_SERVER = {  # method of a server class: why an override of it keeps the class on socketserver's own loop
    "process_request": "it decides how each connection gets its thread or process",
    "process_request_thread": "it decides what is done on a connection's thread",
    "finish_request": "it makes the handler, and counts on the connection being over when it returns",
    "get_request": "it accepts the connection, and may give something else than a socket",
    "_handle_request_noblock": "it replaces a step of socketserver's own loop",
}
CLASSIC_HANDLER = {  # the same of a handler class
    "handle": "it runs the connection from its first octet to its end",
    "handle_one_request": "it reads the request from the connection itself",
    "parse_request": "it parses the request itself",
    "setup": "it may replace the connection or its files before a request is read",
}
ON_DEMAND = ("connection", "headers", "raw_requestline", "request", "rfile")  # made when a handler asks for them
CLASSIC_INIT = ("it does more behind or around super().__init__(), which serves the connection in http.server; or its "
                "source is not there to tell")


def server_reasons(server_class: type) -> list[str]:
    """Why a server class is served by socketserver's loop, one line for each override; empty where it is not."""
    reasons = _overrides(server_class, CLASSIC_SERVER)
    if issubclass(server_class, socketserver.ThreadingMixIn) and not is_threading(server_class):
        return reasons or [f"{server_class.__name__}: ThreadingMixIn is behind another process_request"]
    return reasons


def handler_reasons(handler: Any) -> list[str]:
    """The same of a handler class, or a functools.partial of one; empty for a function, which only a call can tell."""
    handler = handler_class(handler)
    if not isinstance(handler, type):
        return []
    return _handler_class_reasons(handler)


@functools.lru_cache(maxsize=256)
def _handler_class_reasons(handler: type) -> list[str]:
    if not issubclass(handler, http.server.BaseHTTPRequestHandler) or not hasattr(handler, "_served_by"):
        return [f"{handler.__name__} is no subclass of ownhands.compat.BaseHTTPRequestHandler"]
    unseen = [_reason(handler, name, "it stands in front of what the request has") for name in ON_DEMAND
              if not _is_our_module(_owner(handler, name).__module__)]
    if handler.rbufsize == 0:
        unseen.append(_reason(handler, "rbufsize", "what comes is left on the connection"))
    makers = [owner for owner in handler.__mro__[:handler.__mro__.index(socketserver.BaseRequestHandler)]
              if "__init__" in vars(owner) and not _is_ours(owner, "__init__")]
    return _overrides(handler, CLASSIC_HANDLER) + unseen + [
        f"{owner.__qualname__}.__init__: {CLASSIC_INIT}" for owner in makers
        if not _serves_last(vars(owner)["__init__"])]


def _serves_last(init: Any) -> bool:
    """Whether the source of a function says so, see `ends_by_serving`."""
    import ast  # takes long to import, as inspect does, and most classes have no __init__
    import inspect
    if not isinstance(init, types.FunctionType) or hasattr(init, "__wrapped__"):
        return False
    try:
        source = inspect.getsource(init)
        tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    except (OSError, SyntaxError):
        return False
    return any(ends_by_serving(node) for node in (tree.body[0], *ast.iter_child_nodes(tree.body[0])))


def ends_by_serving(init: Any) -> bool:
    """Whether a syntax tree is that of an __init__ whose very last act is to call a base's, with nothing around it."""
    import ast
    if not isinstance(init, ast.FunctionDef) or init.decorator_list:
        return False
    calls = [node for node in ast.walk(init) if isinstance(node, ast.Attribute) and node.attr == "__init__"]
    last = init.body[-1]
    call = last.value if isinstance(last, (ast.Expr, ast.Return)) else None
    return isinstance(call, ast.Call) and calls == [call.func]


def is_threading(server_class: Any) -> bool:
    """Whether connections are served beside each other, by ThreadingMixIn's own means."""
    return bool(server_class.process_request is socketserver.ThreadingMixIn.process_request)


def _overrides(found: type, table: dict[str, str]) -> list[str]:
    return [_reason(found, name, why) for name, why in table.items() if not _is_ours(found, name)]


def _reason(found: type, name: str, why: str) -> str:
    return f"{_owner(found, name).__qualname__}.{name}: {why}"


def _owner(found: type, name: str) -> type:
    """The class that the attribute comes from."""
    return next((owner for owner in found.__mro__ if name in vars(owner)), found)


def _is_our_module(name: str) -> bool:
    return name in OURS or name.partition(".")[0] == __package__


def _is_ours(found: type, name: str) -> bool:
    """Whether the class has the method from the standard library, for which the engine stands in, or from here."""
    method: Callable[..., Any] | None = getattr(found, name, None)
    if method is None:
        return True
    if _owner(found, name) is socketserver.__dict__.get("ForkingMixIn"):
        return False
    return _is_our_module(getattr(method, "__module__", None) or "")
