"""WSGI (PEP 3333): WSGIHandler serves an application, make_server stands in for wsgiref.simple_server's.

Owns the order of an exchange with an application and how its answer is framed. Refuses to know turns and who polls.
"""
from io import BytesIO
from itertools import chain
from socketserver import TCPServer
from time import time
from typing import Any
from wsgiref.types import WSGIApplication

from .connection import INTERRUPTS, wait_until_taken
from .content import ContentError, FileOutgoing, Outgoing, can_send_files, send
from .framing import CLOSE, KEEP_ALIVE, NO_CONTENT, SMALL_SIZE, encode_pieces, regular_rest, server_lines, without_lines
from .gateway import (
    FileWrapper,
    WSGIResponse,
    check_bytes,
    check_length,
    decode_path,
    fault_of_call,
    field_variables,
    pieces_of,
    server_environ,
    size_of,
)
from .handler import RequestHandler
from .loading import LoadError, load_object
from .logs import log
from .messages import HTTPError, Request, Response
from .pace import Pace
from .parser import KEPT_HEAD_SIZE, RequestHead, encode_chunk
from .server import HTTPServer


class WSGIHandler(RequestHandler):
    """Set `application` to a WSGI application. It is called with the whole content, or, with `stream_content`, before.

    It runs on the thread that has the turn, in several threads at once, and may wait as long as it likes.
    """

    application: WSGIApplication | None = None  # never bound as a method; without one, the server's is called

    def setup(self) -> None:
        super().setup()
        self._call_application = type(self).application or getattr(self.server, "application", None)
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
        if request.method == "HEAD" or head.status in NO_CONTENT:
            response.is_headless = True
        elif head.length is not None and head.length != length:
            check_length(head.length, length)
        else:
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
        response.is_headless = request.method == "HEAD" or head.status in NO_CONTENT
        if head.length is not None and not response.is_headless and (size is not None or len(first) > head.length):
            check_length(head.length, len(first) if size is None else size)
        response.content, response.length = chain((first,), pieces), head.length

    def _begin_file(self, request: Request, response: WSGIResponse, wrapper: FileWrapper) -> bool:
        """A plain file as content: its length is known, and it need not pass through here. False for any other."""
        head, place = response.head, regular_rest(wrapper.filelike)
        if head is None or response.was_written:
            return False
        offset, size = place or (None, None)
        wrapper.length = length = size if head.length is None else head.length
        if size is None or length is None:
            return False
        self._take_pieces(request, response, b"", iter(wrapper))
        if length > size and not response.is_headless:
            check_length(head.length, size)
        response.length, response.offset, response.filelike = length, offset, wrapper.filelike
        return True

    def send_written(self, response: WSGIResponse, octets: bytes) -> None:
        """What was given to write(), with the head if it is not out; the application's thread waits for the client."""
        request, head = self._exchange, response.head
        assert request is not None and head is not None
        if not octets or request.method == "HEAD" or head.status in NO_CONTENT:
            response.was_dropped = response.was_dropped or bool(octets)
            return
        octets_of_head, length = b"", response.length if response.was_written else head.length
        if length is not None and len(octets) > length:
            raise ContentError(f"write() was given {len(octets)} octets, and Content-Length leaves {length}")
        if not response.was_written:
            if self._expects_continue:  # now, for the application may still read, and then it would stand in the answer
                self._expects_continue = False
                self.send_informational(100)
            response.length = length
            octets_of_head, self._informational = self._informational + self._encode_head(request, response), b""
            response.is_sent = response.was_written = True
        if length is not None:
            response.length = length - len(octets)
        self._send_and_wait(response, octets_of_head + (encode_chunk(octets) if response.is_chunked else octets))

    def _send_and_wait(self, response: WSGIResponse, octets: bytes) -> None:
        """Sends all of it, at the client's pace, within limits. Raises ClientHasGone."""
        pace = Pace(self._clock(), 0, self.send_timeout, self.min_rate, self.rate_grace)
        left = memoryview(octets)
        while left:
            try:
                sent = send(self.connection, left)
                response.written_size += sent
                left = left[sent:]
            except BlockingIOError:
                deadline = pace.deadline(self._clock(), len(octets) - len(left))
                if not wait_until_taken(self.connection, deadline - self._clock()):
                    raise ClientHasGone("the client takes no more") from None
            except OSError as error:
                raise ClientHasGone(str(error)) from error

    def _send_answer(self, request: Request, response: Response) -> None:
        if type(response) is not WSGIResponse:
            return super()._send_answer(request, response)
        if not response.is_whole or self._informational or self._unread is not None or self.close_connection:
            return self._send_other(request, response)
        control, content = request.head.control, response.content
        head = response.head
        assert head is not None
        self._persistent = persistent = self._persistent and not self.server.is_stopping
        octets = b"%b%b%b%b%b\r\n%b" % (
            head.status_line, server_lines(int(time())), head.fields.octets,
            (KEEP_ALIVE if control.is_10 else b"") if persistent else CLOSE,
            b"Content-Length: %d\r\n" % len(content) if head.length is None else b"", content)
        self._send_whole(response, octets)

    def _send_other(self, request: Request, response: WSGIResponse) -> None:
        """An answer in pieces, from a file, without content, or one whose head is out."""
        if response.failure is not None:
            return self._cut_short(request, response, response.failure)
        octets = self._encode_head(request, response) if not response.was_written else b""
        content = response.content
        if response.is_headless:
            outgoing = Outgoing(octets, None, response.close)
        elif type(content) is bytes:
            outgoing = Outgoing(octets, iter((content,)), response.close)
        elif response.offset is not None and can_send_files(self.connection):
            outgoing = FileOutgoing(octets, response.filelike, response.offset, response.length or 0)
        else:
            pieces = encode_pieces(content, response.length, response.is_chunked)
            first = b"" if response.was_written else next(pieces, b"")  # the next may fail, this one is here
            outgoing = Outgoing(octets + first, pieces, response.close)
            outgoing.until_close = response.length is None and not response.is_chunked
        outgoing.size = response.written_size
        self._begin_sending(response, outgoing)

    def _cut_short(self, request: Request, response: WSGIResponse, failure: BaseException) -> None:
        """The application has failed with the head out: the connection ends, so that the client can tell."""
        if isinstance(failure, ClientHasGone):
            log.debug("%s has gone: %s", self.client_address, failure)
        else:
            log.error("%s while writing the answer to %r", type(failure).__name__, request, exc_info=failure)
        self._outgoing = outgoing = Outgoing(b"")  # of which `finish` makes an answer that was cut
        outgoing.response, outgoing.size = response, response.written_size
        outgoing.until_close = response.length is None and not response.is_chunked
        self.close_connection = True

    def _encode_head(self, request: Request, response: WSGIResponse) -> bytes:
        """The head of any answer. Decides how the content is framed and whether the connection goes on."""
        head = response.head
        assert head is not None
        is_10, fields, framing = request.head.control.is_10, head.fields, b""
        persistent = (self._persistent and not self.server.is_stopping and self._can_drop_unread()
                      and not self.close_connection)
        if head.status in NO_CONTENT:
            if head.status != 304:  # RFC 9110 8.6 and 15.3.6
                fields = fields.without("content-length")
                framing = b"Content-Length: 0\r\n" if head.status == 205 else b""
        elif head.length is None and response.length is not None:
            if response.length or not response.is_headless:  # an empty content in answer to HEAD says nothing of GET's
                framing = b"Content-Length: %d\r\n" % response.length
        elif head.length is None and not response.is_headless:
            response.is_chunked = not is_10
            persistent = persistent and not is_10  # RFC 9112 6.3 item 8: the connection's end is the content's
            framing = b"" if is_10 else b"Transfer-Encoding: chunked\r\n"
        self._persistent = persistent
        lines = server_lines(int(time()))
        if head.has_own_lines:
            lines = without_lines(lines, fields)
        connection_line = CLOSE if not persistent else KEEP_ALIVE if is_10 else b""
        return b"%b%b%b%b%b\r\n" % (head.status_line, lines, fields.octets, connection_line, framing)


class ClientHasGone(ConnectionError):
    """Raised by write(), where nobody is left to write to."""


def _joined(items: list[bytes] | tuple[bytes, ...]) -> bytes | None:
    """The content that is all there, if it is worth copying into one piece."""
    if len(items) == 1:
        return check_bytes(items[0])
    return b"".join(map(check_bytes, items)) if sum(map(len, items)) <= SMALL_SIZE else None


def _has_one_item(result: Any) -> bool:
    """PEP 3333, 'Handling the Content-Length Header': then the first piece is the whole content."""
    try:
        return len(result) == 1
    except (TypeError, AttributeError):
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
