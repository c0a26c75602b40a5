"""WSGI (PEP 3333): WSGIHandler serves an application, make_server stands in for wsgiref.simple_server's.

Owns how an application is called, and what it gives. Refuses to know how that is framed and sent: see wsgi_answers.py.
"""
from io import BytesIO
from itertools import chain
from socketserver import TCPServer
from typing import Any
from wsgiref.types import WSGIApplication

from .connection import INTERRUPTS
from .content import Outgoing
from .framing import NO_CONTENT, SMALL_SIZE, check_length, regular_rest
from .gateway import (
    FileWrapper,
    WSGIResponse,
    check_bytes,
    decode_path,
    fault_of_call,
    field_variables,
    pieces_of,
    server_environ,
    size_of,
)
from .loading import LoadError, load_object
from .messages import HTTPError, Request, Response
from .parser import KEPT_HEAD_SIZE, RequestHead
from .server import HTTPServer
from .wsgi_answers import WSGIAnsweringHandler


class WSGIHandler(WSGIAnsweringHandler):
    """Set `application` to a WSGI application. It is called with the whole content, or, with `stream_content`, before.

    It runs on the thread that has the turn, in several threads at once, and may wait as long as it likes.
    """

    application: WSGIApplication | None = None  # never bound as a method; without one, the server's is called

    def setup(self) -> None:
        super().setup()
        self._call_application = type(self).application
        if self._call_application is None:
            self._call_application = getattr(self.server, "application", None)
        self._connection_environ: dict[str, Any] = {}  # what all requests on the connection have in common
        self._environ: dict[str, Any] = {}  # of the last short head, as it was before the application had it
        self._environ_head: RequestHead | None = None  # the head that it describes

    # ---- the request ------------------------------------------------------------------------------------------------

    def on_request(self, request: Request) -> Response:
        """Calls the application, and its iterable for the first octets: until then it may call start_response."""
        if self._call_application is None:
            raise TypeError(f"{type(self).__name__} has no application")
        response = WSGIResponse(self)
        try:
            result = self._call_application(self.make_environ(request, response), response.start_response)
            if ((type(result) is list or type(result) is tuple) and (content := _joined(result)) is not None
                    and response.head is not None and not response.was_written):
                self._take_whole(request, response, content)
            else:
                self._begin_iterable(request, response, result)
        except INTERRUPTS:
            raise
        except BaseException as error:
            if not response.was_written:
                if (fault := fault_of_call(self._call_application, error)) is not None:
                    raise fault from None
                raise
            response.failure = error
        finally:
            response.handler = None
        response.is_sent = True
        return response

    def make_environ(self, request: Request, response: WSGIResponse) -> dict[str, Any]:
        """The environ of a request: a new one each time, for applications change it."""
        head = request.head
        if head is self._environ_head:
            environ = self._environ.copy()
        else:
            environ = self._describe(request)
            if head.end <= KEPT_HEAD_SIZE:
                self._environ, self._environ_head = environ.copy(), head
        environ["wsgi.early_hints"] = response.early_hints
        if not head.control.has_content:
            environ["wsgi.input"] = BytesIO()
        else:
            environ["wsgi.input"] = request.stream
            if head.control.chunked and self._reception is None:  # known by now, and many applications insist
                environ["CONTENT_LENGTH"] = str(request.stream.seek(0, 2))
                request.stream.seek(0)
        return environ

    def _describe(self, request: Request) -> dict[str, Any]:
        """What of an environ follows from the head and the connection."""
        head, last, target = request.head, self._environ_head, request.target
        if request.method == "CONNECT":
            raise HTTPError(501, "this is not a proxy")
        if (last is not None and last.section == head.section and last.control is head.control
                and last.target.startswith("/")):
            environ = self._environ.copy()
        else:
            if not self._connection_environ:
                self._connection_environ = self._describe_connection(request)
            environ = self._connection_environ.copy()
            environ["SERVER_PROTOCOL"] = request.version
            environ.update(field_variables(head.section))
        if target.startswith("/"):
            path, _, query = target.partition("?")
        else:
            environ["HTTP_HOST"], path, query = request.split_target()  # RFC 9112 3.2.2: absolute-form beats Host
        environ["REQUEST_METHOD"] = request.method
        environ["PATH_INFO"] = decode_path(path) if path != "*" else ""
        environ["QUERY_STRING"] = query
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        return environ

    def _describe_connection(self, request: Request) -> dict[str, Any]:
        host, port = self.server.server_address[:2]
        environ = server_environ(host, port, request.scheme, self.server.max_threads > 1).copy()
        if isinstance(self.client_address, tuple):  # that of a client on a Unix socket is none
            # Without the prefix of an IPv4 client on a socket for both: applications look for 127.0.0.1.
            environ["REMOTE_ADDR"] = self.client_address[0]
            environ["REMOTE_PORT"] = str(self.client_address[1])
        return environ

    # ---- the answer -------------------------------------------------------------------------------------------------

    def _take_whole(self, request: Request, response: WSGIResponse, content: bytes) -> None:
        """The content has come in one piece, so its length is known."""
        head = response.head
        assert head is not None
        length = len(content)
        response.content = content
        response.is_headless = request.head.method == "HEAD" or head.status in NO_CONTENT
        if not response.is_headless:
            check_length(head.length, length)
            response.is_whole = not head.has_own_lines and length <= SMALL_SIZE
        response.length = None if response.was_dropped else length

    def _begin_iterable(self, request: Request, response: WSGIResponse, result: Any) -> None:
        """Asks the iterable for its first octets. What goes wrong before they are there is answered with 500."""
        response.close = getattr(result, "close", None)
        try:
            if type(result) is FileWrapper and self._begin_file(request, response, result):
                return
            pieces = pieces_of(result)
            first = next((piece for piece in pieces if check_bytes(piece)), b"")
            if response.head is None:
                raise RuntimeError("the application gave content, or its end, and has not called start_response")
            if response.was_written:
                response.content = chain((first,), pieces)
            elif not first or _has_one_item(result):
                self._take_whole(request, response, first)
                response.is_whole = response.is_whole and response.close is None
            else:
                self._take_pieces(request, response, first, pieces, size_of(result))
        except BaseException:
            if response.close is not None:
                Outgoing(b"", None, response.close).close()
            raise

    def _take_pieces(self, request: Request, response: WSGIResponse, first: bytes, pieces: Any,
                     size: int | None = None) -> None:
        """The content comes piece by piece; only the application may know its `size`."""
        head = response.head
        assert head is not None
        response.is_headless = request.head.method == "HEAD" or head.status in NO_CONTENT
        if head.length is not None and not response.is_headless and (size is not None or len(first) > head.length):
            check_length(head.length, len(first) if size is None else size)
        response.content, response.length = chain((first,), pieces), head.length
        response.is_all_there = size is not None

    def _begin_file(self, request: Request, response: WSGIResponse, wrapper: FileWrapper) -> bool:
        """A plain file as content: its length is known, and it need not pass through here. False for any other."""
        head, place = response.head, regular_rest(wrapper.filelike)
        if head is None or response.was_written:
            wrapper.length = response.length  # what write() has left of it
            return False
        offset, size = place or (None, None)
        wrapper.length = length = size if head.length is None else head.length
        if size is None or length is None:
            return False
        self._take_pieces(request, response, b"", iter(wrapper))
        if length > size and not response.is_headless:
            check_length(head.length, size)
        response.length, response.offset, response.filelike = length, offset, wrapper.filelike
        response.is_all_there = True
        return True


def _joined(items: list[bytes] | tuple[bytes, ...]) -> bytes | None:
    """The content that is all there, if it is worth copying into one piece."""
    if len(items) == 1:
        return check_bytes(items[0])
    return b"".join(map(check_bytes, items)) if sum(map(len, items)) <= SMALL_SIZE else None


def _has_one_item(result: Any) -> bool:
    """PEP 3333, 'Handling the Content-Length Header': then the first piece is the whole content."""
    try:
        return len(result) == 1
    except Exception:  # it need not know
        return False


# ---- in place of wsgiref.simple_server ------------------------------------------------------------------------------

class WSGIServer(HTTPServer):
    """wsgiref's server class on this engine. `with` closes it, as there, and does not start it."""

    application: WSGIApplication | None = None

    def __init__(self, server_address: tuple[str, int], RequestHandlerClass: Any = WSGIHandler,
                 bind_and_activate: bool = True, **knobs: Any) -> None:
        super().__init__(*server_address[:2], RequestHandlerClass, **knobs)
        if bind_and_activate:
            self.open()

    def server_bind(self) -> None:
        super().server_bind()
        host, port = self.server_address[:2]
        environ = server_environ(str(host), int(port), "http", False)
        self.server_name, self.server_port = environ["SERVER_NAME"], int(port)
        # What wsgiref's own handler classes make their environ of; they are served too.
        self.base_environ = {"SERVER_NAME": self.server_name, "SERVER_PORT": str(port), "SCRIPT_NAME": "",
                             "GATEWAY_INTERFACE": "CGI/1.1", "REMOTE_HOST": "", "CONTENT_LENGTH": ""}

    def get_app(self) -> WSGIApplication | None:
        return self.application

    def set_app(self, application: WSGIApplication | None) -> None:
        self.application = application

    def __enter__(self) -> "WSGIServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.server_close()


def make_server(host: str, port: int, app: WSGIApplication, server_class: Any = WSGIServer,
                handler_class: Any = WSGIHandler) -> Any:
    """wsgiref.simple_server.make_server: a server that listens on host and port. Raises OSError.

    TypeError for a server class that is socketserver's or wsgiref's, which this engine would not serve.
    """
    is_theirs = isinstance(server_class, type) and issubclass(server_class, TCPServer)
    if is_theirs and not issubclass(server_class, HTTPServer):
        raise TypeError(f"{server_class.__name__} is not served here: leave server_class out, or subclass "
                        "ownhands.wsgi.WSGIServer, which is threading already, without ThreadingMixIn")
    server = server_class((host, port), handler_class)
    server.set_app(app)
    return server


def load_handler(spec: str) -> type[WSGIHandler]:
    """A handler class for the application that "package.module:name" names.

    "module:make()" calls what it finds. Raises LoadError where there is no such application, and whatever the module
    raises as it is imported.
    """
    module_name, _, name = spec.partition(":")
    found, is_factory = load_object(module_name, name.removesuffix("()")), name.endswith("()")
    application = found() if is_factory else found
    if not callable(application):
        raise LoadError(f"{spec} is no WSGI application: it cannot be called")
    return type("WSGIHandler", (WSGIHandler,), {"application": staticmethod(application)})
