"""RequestHandler: what a server does with a request. Subclass it; every stage is a method: the hooks `on_...`, and
`log_exchange`.

Refuses to know octets and turns: those are exchange.py's.
"""
import time
from typing import Any

from .accesslog import FORMATS, Answered
from .exchange import ExchangeHandler
from .hints import point_elsewhere
from .logs import access_log, warn_once
from .messages import HTTPError, Request, Response, response_to
from .parser import REASONS, ProtocolError

KNOWN_METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
DO = {method: "do_" + method for method in KNOWN_METHODS}  # the same object each time is found quicker


class RequestHandler(ExchangeHandler):
    """Define `do_GET(self, request)` and its like; return a Response, or a str. `HTTPError` may be raised anywhere.

    One handler object serves one connection, a request at a time, on whichever thread has its turn. It may keep what
    belongs to the connection as attributes, made in `setup` behind super().setup(), and have methods of its own: what
    is not documented here begins with an underscore. Knobs are class attributes.
    """

    log_format = "common"  # or combined, or json: how `log_exchange` writes
    user = ""  # for the log: who was recognised

    def on_head(self, request: Request) -> Response | None:
        """Called once for each request, before any of its content is read: authorise, route, refuse.

        Return None to accept, a Response or raise HTTPError to refuse; a client that waits for 100 (Continue) then
        never sends the content. The default accepts.
        """
        return None

    def on_request(self, request: Request) -> Response | str:
        """Called once for each accepted request, with its content. The default calls `do_<METHOD>`.

        HEAD is asked of do_GET, and content left out. A method of RFC 9110, or PATCH, that the class does not define
        is answered with 405, any other with 501, OPTIONS with what there is. A class without any `do_` says hello.
        """
        method = getattr(self, DO.get(request.method) or _name_of(request.method), None)
        if method is None:
            method = self._other_method(request)
        try:
            return method(request)  # type: ignore[no-any-return]
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:  # of this very call
                error.add_note("It is called with self and the request. For http.server's way see ownhands.compat.")
            raise

    def on_error(self, request: Request | None, error: BaseException) -> Response | str:
        """Called where there is an error to answer; what it returns is what the client sees.

        Where no thread is free it is called on the one that serves, for 408 and 503: it should not wait for anything.

        `request` is None where none could be read. `error` is an HTTPError, a ProtocolError, or whatever a handler has
        raised, which is logged already. The default is a line of text, with the detail of the first two and nothing of
        the last, and Allow with 405. A str is sent with the status and the fields of the first two, else with 500.
        """
        if isinstance(error, (HTTPError, ProtocolError)):
            response = response_to(error, _error_text(error.status, error.detail))
            if error.status == 405 and "Allow" not in response.fields:  # RFC 9110 15.5.6
                return response.with_fields(allow=", ".join(self._allowed_for(request)))
            return response
        return Response(_error_text(500, ""), 500)

    def log_exchange(self, request: Request | None, response: Response, size: int) -> None:
        """Called once an answer is out, or was cut, if `ownhands.access` took INFO when the connection began.

        `size` is what was sent of it, in octets, the head included.
        """
        is_known = isinstance(self.client_address, tuple)  # that of a client on a Unix socket is none
        client = self.client_address[0] if is_known else "-"
        access_log.info(FORMATS[self.log_format](
            Answered(client, self.user, time.time(), request, response.status, size, self._refused_line)))

    @property
    def needs_thread(self) -> bool:
        """Whether the next turn may call a program's code, as none does that only sends on what is all there."""
        outgoing, own = self._outgoing, type(self)
        return (outgoing is None or not outgoing.is_all_there or bool(self._unused)
                or own.finish is not RequestHandler.finish or own.log_exchange is not RequestHandler.log_exchange)

    @classmethod
    def allowed_methods(cls) -> list[str]:
        """The methods that the class defines, and HEAD and OPTIONS where they follow from them."""
        found = {name.removeprefix("do_") for name in _do_names(cls) if name == _name_of(name.removeprefix("do_"))}
        if "GET" in found:
            found.add("HEAD")
        return sorted(found | {"OPTIONS"}) if found else []

    def _allowed_for(self, request: Request | None) -> list[str]:
        """The methods for what is addressed, for Allow: by default all that there are."""
        return self.allowed_methods()

    def _other_method(self, request: Request) -> Any:
        """What answers a method that has no `do_` of its own."""
        allowed = self.allowed_methods()
        mistake = _mistake_of(type(self), request.method, not allowed) if request.method not in allowed else ""
        if mistake and not allowed:
            raise TypeError(mistake)
        if not allowed and request.method != "CONNECT":
            return say_hello
        if request.method == "HEAD" and "HEAD" in allowed:
            return self.do_GET  # type: ignore[attr-defined]
        if request.method == "OPTIONS":
            return lambda _: Response(b"", 204, allow=", ".join(self._allowed_for(request)))
        if request.method in KNOWN_METHODS:
            if mistake:
                warn_once(mistake)  # it may be a helper of another purpose: a client is told of no method
            allow = ", ".join(self._allowed_for(request))
            raise HTTPError(405, f"{request.method} is not for this resource", allow=allow)
        raise HTTPError(501, "the method is not known here")


point_elsewhere(RequestHandler, dict.fromkeys(
    ["wfile", "send_response", "send_header", "end_headers", "send_error"],
    "return a Response, or raise HTTPError; or subclass ownhands.compat.BaseHTTPRequestHandler, which has it") | {
    "rfile": "write request.stream", "headers": "write request.fields", "path": "write request.path",
    "command": "write request.method"})


def _mistake_of(handler: type, method: str, is_bare: bool) -> str:
    """What is wrong if the class has a method that was meant for this one: do_get, doGet and their like.

    In a bare one, without any `do_`, also get, GET and on_get: in others those may be helpers.
    """
    lower = method.lower()
    name = next((each for each in _do_names(handler) if each.lower().replace("_", "") == "do" + lower), None)
    if name is None and is_bare and method in KNOWN_METHODS:
        name = next((each for each in (lower, method, f"on_{lower}", f"on_{method}")
                     if callable(getattr(handler, each, None)) and not hasattr(RequestHandler, each)), None)
    return "" if name is None else f"{handler.__name__}.{name} is never called: write do_{method}"


def _do_names(handler: type) -> set[str]:
    """Of what is called do something. `dir` would take five times as long, and longer than to answer a request."""
    return {name for each in handler.__mro__ for name in vars(each) if name.startswith(("do", "Do", "DO"))}


def _name_of(method: str) -> str:
    """Of what answers a method of the user's own: in capitals, as all are, so that no helper is taken for one."""
    return "do_" + method if method.isupper() else ""


def say_hello(request: Request) -> Response:
    """The answer of a server without a handler of its own."""
    return Response(b"Hi there!\n", content_type="text/plain")


def _error_text(status: int, detail: str) -> str:
    reason = REASONS.get(status, "Error")
    return f"{status} {reason}: {detail}\n" if detail else f"{status} {reason}\n"
