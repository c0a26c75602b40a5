"""What a WSGI application is given: environ, input, errors; and how it is found and served."""
import io
import socketserver
import threading
import unittest
from http.client import HTTPConnection
from typing import Any
from unittest import mock
from wsgiref import simple_server
from wsgiref.simple_server import WSGIRequestHandler
from wsgiref.validate import validator

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.testing import MockClient, MockConnection, parse_replies
from ownhands.wsgi import WSGIHandler, WSGIServer, load_handler, make_server

from .applications import TEXT, answering, head, hello, send, server_for


def environ_of(octets: bytes, **knobs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def application(environ: Any, start_response: Any) -> list[bytes]:
        found.update(environ, content=environ["wsgi.input"].read())
        return hello(environ, start_response)

    send(application, octets, **knobs)
    return found


class EnvironTest(unittest.TestCase):
    @params(
        ("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", ""), ("SERVER_PROTOCOL", "HTTP/1.1"), ("HTTP_HOST", "example.com"),
        ("REMOTE_ADDR", "192.0.2.1"), ("REMOTE_PORT", "4711"), ("SERVER_NAME", "127.0.0.1"), ("SERVER_PORT", "8001"),
        ("PATH_INFO", "/a b\xc3\xa4\xff/%"), ("QUERY_STRING", "x=%20&y"),
        ("REQUEST_URI", "/a%20b%C3%A4%FF/%25?x=%20&y"), ("RAW_URI", "/a%20b%C3%A4%FF/%25?x=%20&y"),
        ("wsgi.version", (1, 0)), ("wsgi.url_scheme", "http"), ("wsgi.multithread", True), ("wsgi.multiprocess", False),
        ("wsgi.run_once", False), ("wsgi.input_terminated", True), ("content", b""))
    def test_says(self, name: str, value: Any) -> None:
        environ = environ_of(head("/a%20b%C3%A4%FF/%25?x=%20&y"), host="127.0.0.1", port=8001)
        self.assertEqual(environ[name], value)

    @params(
        ("X-One: 1\r\nX-One: 2\r\n", "HTTP_X_ONE", "1,2"),
        ("Cookie: a=1\r\nCookie: b=2\r\n", "HTTP_COOKIE", "a=1; b=2"),
        ("X-Latin: \xe4\r\n", "HTTP_X_LATIN", "\xe4"),
        ("Content-Type: text/x\r\n", "CONTENT_TYPE", "text/x"),
        ("Content-Type: text/x\r\n", "HTTP_CONTENT_TYPE", None),
        ("Content-Length: 0\r\n", "CONTENT_LENGTH", "0"),
        ("X_User: spoofed\r\n", "HTTP_X_USER", None),
        ("Proxy: http://evil.example/\r\n", "HTTP_PROXY", None),
        ("X-User: real\r\nX_User: spoofed\r\n", "HTTP_X_USER", "real"),
        ("Content_Length: 9\r\n", "CONTENT_LENGTH", None))
    def test_has_fields(self, fields: str, name: str, value: str | None) -> None:
        self.assertEqual(environ_of(head(fields=fields)).get(name), value)

    @params(
        ("http://other.example:81/p?q", "HTTP_HOST", "other.example:81"),
        ("http://other.example/p?q", "PATH_INFO", "/p"),
        ("http://other.example/p?q", "QUERY_STRING", "q"),
        ("http://other.example", "PATH_INFO", "/"))
    def test_of_an_absolute_form(self, target: str, name: str, value: str) -> None:
        self.assertEqual(environ_of(head(target))[name], value)

    def test_of_an_asterisk_has_no_path(self) -> None:
        self.assertEqual(environ_of(head("*", "OPTIONS"))["PATH_INFO"], "")

    def test_forgets_the_authority_of_the_request_before(self) -> None:
        hosts = []

        def application(environ: Any, start_response: Any) -> list[bytes]:
            hosts.append(environ["HTTP_HOST"])
            return hello(environ, start_response)

        send(application, head("http://other.example/") + head("/"))
        self.assertEqual(hosts, ["other.example", "example.com"])

    def test_is_new_for_each_request(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            environ["PATH_INFO"] += "!"
            environ.pop("HTTP_HOST")
            return [environ["PATH_INFO"].encode(), environ.setdefault("seen", "no").encode()]

        sent = send(application, [head("/a"), head("/a"), head("/b")]).sent
        self.assertEqual([reply.content for reply in parse_replies(sent)], [b"/a!no", b"/a!no", b"/b!no"])

    def test_without_a_client_address(self) -> None:
        self.assertEqual(MockClient(server_for(validator(hello)))("/").content, b"hello")

    def test_errors_go_to_stderr(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            environ["wsgi.errors"].writelines(["one\n", "two\n"])
            environ["wsgi.errors"].flush()
            return hello(environ, start_response)

        with mock.patch("sys.stderr", io.StringIO()) as stderr:
            send(application, head())
        self.assertEqual(stderr.getvalue(), "one\ntwo\n")

    def test_errors_without_stderr(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            environ["wsgi.errors"].write("lost")
            return hello(environ, start_response)

        with mock.patch("sys.stderr", None):
            self.assertIn(b"200 OK", send(application, head()).sent)


class InputTest(unittest.TestCase):
    CHUNKED = (head(method="POST", fields="Transfer-Encoding: chunked\r\n")
               + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 1\r\n\r\n")

    @params(
        ({}, "CONTENT_LENGTH", "5"), ({}, "content", b"abcde"), ({}, "HTTP_TRANSFER_ENCODING", None),
        ({"max_memory_size": 2}, "content", b"abcde"), ({"max_memory_size": 2}, "CONTENT_LENGTH", "5"),
        ({"stream_content": True}, "content", b"abcde"), ({"stream_content": True}, "CONTENT_LENGTH", None))
    def test_of_chunks(self, knobs: dict[str, Any], name: str, value: Any) -> None:
        self.assertEqual(environ_of(self.CHUNKED, **knobs).get(name), value)

    @params({}, {"max_memory_size": 2}, {"stream_content": True})
    def test_ends_where_the_content_ends(self, knobs: dict[str, Any]) -> None:
        sent = send(lambda environ, start: [*hello(environ, start), environ["wsgi.input"].read()],
                    head(method="POST", fields="Content-Length: 3\r\n") + b"abc" + head(), **knobs).sent
        self.assertEqual([reply.content for reply in parse_replies(sent)], [b"helloabc", b"hello"])

    def test_has_lines(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            source = environ["wsgi.input"]
            return [source.readline(), b"|", *source.readlines(), b"|", *source]

        sent = send(application, head(method="POST", fields="Content-Length: 6\r\n") + b"a\nb\nc\n").sent
        self.assertEqual(parse_replies(sent)[0].content, b"a\n|b\nc\n|")

    def test_is_there_for_a_streaming_iterable(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            yield b"<"
            yield environ["wsgi.input"].read()

        pieces = [head(method="POST", fields="Content-Length: 3\r\n"), b"a", b"bc"]
        self.assertEqual(parse_replies(send(application, pieces, stream_content=True).sent)[0].content, b"<abc")

    def test_not_read_is_not_the_next_request(self) -> None:
        hidden = head("/hidden")
        octets = head(method="POST", fields=f"Content-Length: {len(hidden)}\r\n") + hidden + head()
        self.assertEqual(len(parse_replies(send(hello, octets, stream_content=True).sent)), 2)


class ValidatorTest(unittest.TestCase):
    """wsgiref.validate on both sides of the interface."""

    @params(
        head(), head("/p%20q?a=b"), head(method="HEAD"), head("*", "OPTIONS"), head("http://a/"), head(version="1.0"),
        head(method="POST", fields="Content-Length: 3\r\nContent-Type: text/plain\r\n") + b"abc", InputTest.CHUNKED)
    def test_has_no_objection(self, octets: bytes) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            environ["wsgi.input"].read(10)
            environ["wsgi.errors"].flush()
            write = start_response("200 OK", [("Content-Type", "text/plain")])
            write(b"written ")
            return [b"returned"]

        reply = parse_replies(send(validator(application), octets).sent, octets.split()[0].decode())[0]
        self.assertEqual((reply.status, reply.content), (200, b"" if b"HEAD" in octets else b"written returned"))


class MakeServerTest(unittest.TestCase):
    """In place of wsgiref.simple_server.make_server: what its documentation shows."""

    def get(self, server: Any) -> tuple[int, bytes]:
        client = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        try:
            client.request("GET", "/")
            reply = client.getresponse()
            return reply.status, reply.read()
        finally:
            client.close()

    @params(WSGIHandler, WSGIRequestHandler)
    def test_serves_until_shutdown(self, handler_class: Any) -> None:
        class Quiet(handler_class):  # type: ignore[misc]
            def log_message(self, *_: Any) -> None:
                pass

        with make_server("127.0.0.1", 0, hello, handler_class=Quiet) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            self.assertEqual(self.get(server), (200, b"hello"))
            server.shutdown()
            thread.join(10)
            self.assertFalse(thread.is_alive())

    def test_handles_one_request(self) -> None:
        with make_server("127.0.0.1", 0, hello) as server:
            found: list[Any] = []
            thread = threading.Thread(target=lambda: found.append(self.get(server)))
            thread.start()
            server.handle_request()
            thread.join(10)
        self.assertEqual(found, [(200, b"hello")])

    def test_tells_that_nobody_came(self) -> None:
        with make_server("127.0.0.1", 0, hello) as server:
            server.timeout = 0
            with mock.patch.object(server, "handle_timeout") as told:
                server.handle_request()
        told.assert_called_once_with()

    def test_waits_for_as_long_as_its_class_says(self) -> None:
        class Impatient(WSGIServer):
            timeout = 0

        with make_server("127.0.0.1", 0, hello, Impatient) as server, mock.patch.object(server, "handle_timeout") as told:
            server.handle_request()
        told.assert_called_once_with()

    def test_takes_another_application(self) -> None:
        with make_server("127.0.0.1", 0, hello) as server:
            server.set_app(answering([b"other"]))
            self.assertEqual(MockClient(server)("/").content, b"other")

    @params(simple_server.WSGIServer, type("Mixed", (socketserver.ThreadingMixIn, simple_server.WSGIServer), {}))
    def test_says_why_it_takes_no_server_class_of_wsgirefs(self, server_class) -> None:
        with self.assertRaisesRegex(TypeError, "ownhands.wsgi.WSGIServer, which is threading already"):
            make_server("127.0.0.1", 0, hello, server_class)

    def test_takes_a_server_class_of_its_own(self) -> None:
        class Own(WSGIServer):
            pass
        with make_server("127.0.0.1", 0, hello, Own) as server:
            self.assertIsInstance(server, Own)


class LoadTest(unittest.TestCase):
    @params("tests.applications:hello", "tests.applications:Namespace.application", "tests.applications:make()")
    def test_finds(self, spec: str) -> None:
        self.assertEqual(MockClient(HTTPServer(handler=load_handler(spec)))("/").content, b"hello")

    @params("nowhere.at_all:app", "tests.nowhere:app", "tests.applications:nothing",
            "tests.applications", "tests.applications:TEXT")
    def test_says_what_is_missing(self, spec: str) -> None:
        with self.assertRaisesRegex(ValueError, "^[^\n]+$"):
            load_handler(spec)
