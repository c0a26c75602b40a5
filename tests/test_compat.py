"""What an http.server handler sees of a request and makes of an answer, under ownhands.compat: bytes in, bytes out."""
import contextlib
import functools
import gc
import http
import http.client
import http.server
import io
import logging
import socketserver
import sys
import unittest
import unittest.mock
import weakref
from typing import Any

from nose2.tools import params

from ownhands import compat
from ownhands.compat_exchange import Exchanges
from ownhands.compat_output import AnswerReader, Output
from ownhands.testing import MockConnection, ends_early, in_pieces, parse_replies

ADDRESS = ("192.0.2.1", 4711)


class Quiet(compat.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def answer(self, content: bytes, *fields: tuple[str, str]):
        self.send_response(200)
        for name, value in (*fields, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class Server(compat.ThreadingHTTPServer):
    def __init__(self, handler: Any) -> None:
        super().__init__(("127.0.0.1", 0), handler, bind_and_activate=False)
        self.errors: list[str] = []

    def handle_error(self, request, client_address):
        self.errors.append(type(sys.exc_info()[1]).__name__)


def serve(handler: Any, data: Any, connection_class: Any = MockConnection) -> tuple[bytes, list[str]]:
    """What was sent on a connection that gave `data`, and the errors that were reported."""
    with Server(handler) as server:
        connection = connection_class(data)
        server.finish_request(connection, ADDRESS)
        return connection.sent, server.errors


def doing(method: Any, base: type = Quiet, **attributes: Any) -> type:
    """A handler class that does this for GET and POST."""
    return type("Handler", (base,), {"do_GET": method, "do_POST": method} | attributes)


def writing(octets: bytes, **attributes: Any) -> type:
    return doing(lambda self: self.wfile.write(octets), **attributes)


def request(line: str = "GET / HTTP/1.1", fields: str = "", body: bytes = b"") -> bytes:
    return f"{line}\r\nHost: x\r\n{fields}\r\n".encode("latin-1") + body


CLOSE = "Connection: close\r\n"


class RequestTest(unittest.TestCase):
    @params(
        ("command", "GET"), ("path", "/a%20b?c=d"), ("request_version", "HTTP/1.1"),
        ("requestline", "GET /a%20b?c=d HTTP/1.1"), ("raw_requestline", b"GET /a%20b?c=d HTTP/1.1\r\n"),
        ("client_address", ADDRESS), ("close_connection", True))
    def test_is_told(self, name, value):
        seen = []
        serve(doing(lambda self: seen.append(getattr(self, name))), request("GET /a%20b?c=d HTTP/1.1", CLOSE))
        self.assertEqual(seen, [value])

    @params(
        ("GET / HTTP/1.1", "", "HTTP/1.1", False), ("GET / HTTP/1.1", CLOSE, "HTTP/1.1", True),
        ("GET / HTTP/1.0", "", "HTTP/1.1", True), ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", "HTTP/1.1", False),
        ("GET / HTTP/1.1", "", "HTTP/1.0", True))
    def test_says_whether_the_connection_closes(self, line, fields, protocol, closes):
        seen = []
        serve(doing(lambda self: seen.append(self.close_connection), protocol_version=protocol), request(line, fields))
        self.assertEqual(seen, [closes])

    @params(("//a//b", "/a//b"), ("http://x/a", "http://x/a"), ("https://x/a", "https://x/a"), ("/%2F", "/%2F"))
    def test_has_a_path(self, target, path):
        seen = []
        serve(doing(lambda self: seen.append(self.path)), request(f"GET {target} HTTP/1.1", CLOSE))
        self.assertEqual(seen, [path])

    def test_has_headers_of_http_client(self):
        seen = []
        serve(doing(lambda self: seen.append(self.headers)),
              request(fields="X-Two: 1\r\nContent-Type: text/x; charset=y\r\nx-two: 2\r\n" + CLOSE))
        headers = seen[0]
        self.assertIsInstance(headers, http.client.HTTPMessage)
        self.assertEqual(headers.get_all("X-TWO"), ["1", "2"])
        self.assertEqual((headers.get_content_type(), headers.get_content_charset()), ("text/x", "y"))
        self.assertEqual(headers.get_payload(), "")

    def test_has_headers_of_its_own_each_time(self):
        seen = []
        serve(doing(lambda self: (seen.append(self.headers["X"]), self.answer(b""))),
              request(fields="X: 1\r\n") + request(fields="X: 2\r\n" + CLOSE))
        self.assertEqual(seen, ["1", "2"])

    def test_has_what_is_not_set_not(self):
        def send_error(self, *_):
            seen.append((hasattr(self, "headers"), hasattr(self, "rfile"), hasattr(self, "raw_requestline")))
        seen = []
        serve(doing(None, send_error=send_error), b"no request\r\n\r\n")
        self.assertEqual(seen, [(False, False, False)])

    def test_one_object_serves_a_connection(self):
        class Handler(Quiet):
            count = 0

            def do_GET(self):
                self.count += 1
                self.answer(b"%d" % self.count)
        sent, _ = serve(Handler, request() * 2 + request(fields=CLOSE))
        self.assertEqual([reply.content for reply in parse_replies(sent)], [b"1", b"2", b"3"])

    @params(1, 2, 7, 1000)
    def test_may_come_in_pieces(self, size):
        sent, _ = serve(doing(lambda self: self.answer(self.rfile.read(3))),
                        in_pieces(request("POST / HTTP/1.1", "Content-Length: 3\r\n" + CLOSE, b"abc"), size))
        self.assertEqual([reply.content for reply in parse_replies(sent)], [b"abc"])


class ContentTest(unittest.TestCase):
    @params(
        ("read", (), b"one\ntwo\n"), ("read", (3,), b"one"), ("read1", (100,), b"one\ntwo\n"), ("readline", (), b"one\n"),
        ("readlines", (), [b"one\n", b"two\n"]), ("read", (100,), b"one\ntwo\n"))
    def test_is_read(self, name, arguments, value):
        seen = []
        serve(doing(lambda self: seen.append(getattr(self.rfile, name)(*arguments))),
              request("POST / HTTP/1.1", "Content-Length: 8\r\n" + CLOSE, b"one\ntwo\n"))
        self.assertEqual(seen, [value])

    def test_ends_where_the_request_ends(self):
        seen = []
        serve(doing(lambda self: (seen.append(self.rfile.read()), self.answer(b""))),
              request("POST / HTTP/1.1", "Content-Length: 3\r\n", b"abc") + request(fields=CLOSE))
        self.assertEqual(seen, [b"abc", b""])

    def test_that_is_large_is_read_as_it_comes(self):
        content = b"x" * (2 << 20)
        seen = []
        sent, _ = serve(doing(lambda self: (seen.append(self.rfile.read(len(content))), self.answer(b"ok"))),
                        request("POST / HTTP/1.1", f"Content-Length: {len(content)}\r\n", content)
                        + request(fields=CLOSE))
        self.assertEqual(seen, [content, b""][:1] + seen[1:])
        self.assertEqual(len(parse_replies(sent)), 2)

    def test_in_chunks_is_the_handlers_to_decode(self):
        seen = []
        body = b"3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n"
        sent, _ = serve(doing(lambda self: (seen.append(self.rfile.read()), self.answer(b"ok"))),
                        request("POST / HTTP/1.1", "Transfer-Encoding: chunked\r\n", body) + request(fields=CLOSE))
        self.assertEqual(seen, [body, b""])
        self.assertEqual(len(parse_replies(sent)), 2)

    @params("Content-Length: 40\r\n", "Content-Length: 2000000\r\n", "Transfer-Encoding: chunked\r\n")
    def test_that_is_not_read_is_no_request(self, fields):
        seen = []
        hidden = request("GET /hidden HTTP/1.1")
        body = hidden + b"x" * 2_000_000 if "2000000" in fields else hidden.ljust(40)
        if "chunked" in fields:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        serve(doing(lambda self: (seen.append(self.path), self.answer(b""))),
              request("POST / HTTP/1.1", fields, body))
        self.assertEqual(seen, ["/"])

    def test_that_is_cut_short_is_not_served(self):
        seen = []
        data = request("POST / HTTP/1.1", "Content-Length: 3\r\n", b"abc")
        sent, _ = serve(doing(lambda self: seen.append(self.path)), ends_early(data, len(data) - 1))
        self.assertEqual((seen, parse_replies(sent)[0].status), ([], 400))

    def test_that_is_large_and_cut_short_raises(self):
        data = request("POST / HTTP/1.1", "Content-Length: 2000000\r\n", b"abc")
        sent, errors = serve(doing(lambda self: self.rfile.read()), data)
        self.assertEqual((errors, parse_replies(sent)[0].status), ([], 400))


class ExpectTest(unittest.TestCase):
    HEAD = request("POST / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 3\r\n" + CLOSE)

    def test_is_answered_when_the_content_is_wanted(self):
        sent, _ = serve(doing(lambda self: self.answer(self.rfile.read(3))), [self.HEAD, b"abc"])
        reply = parse_replies(sent)[0]
        self.assertEqual(([head.status for head in reply.interim], reply.content), ([100], b"abc"))

    @params("Content-Length: 2000000\r\n", "Transfer-Encoding: chunked\r\n")
    def test_is_answered_before_an_answer_that_has_begun(self, fields):
        def answer(self):
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"hello")
            self.wfile.flush()
            self.rfile.read(3)
            self.wfile.write(b"world")

        sent, _ = serve(doing(answer), [request("POST / HTTP/1.1", "Expect: 100-continue\r\n" + fields), b"3\r\n", b""])
        reply = parse_replies(sent)[0]
        self.assertEqual(([head.status for head in reply.interim], reply.content), ([100], b"helloworld"))

    def test_alone_is_no_answer_that_has_begun(self):
        output = Output(unittest.mock.Mock(take_continue=lambda: b"HTTP/1.1 100 Continue\r\n\r\n", send_some=len), "POST")
        output.write(b"HTTP/1.1 200 OK\r\n")
        output.flush_late()
        self.assertIsNone(output.rescue(takes_all=False))

    def test_comes_before_what_is_sent_of_an_answer(self):
        exchange = unittest.mock.Mock(_informational=b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(Exchanges.send_some(exchange, b"HTTP/1.1 200 OK\r\n"), 0)
        exchange.connection.send.assert_not_called()

    def test_is_not_answered_where_the_content_is_not_wanted(self):
        head = request("POST / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 2000000\r\n" + CLOSE)
        sent, _ = serve(doing(lambda self: self.answer(b"no")), [head])
        reply = parse_replies(sent)[0]
        self.assertEqual((reply.interim, reply.content), ((), b"no"))

    def test_is_answered_when_a_large_content_is_read(self):
        head = request("POST / HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 2000000\r\n" + CLOSE)
        sent, _ = serve(doing(lambda self: self.answer(self.rfile.read(2_000_000)[:3])), [head, b"abc" + bytes(1_999_997)])
        reply = parse_replies(sent)[0]
        self.assertEqual(([head.status for head in reply.interim], reply.content), ([100], b"abc"))

    def test_is_the_handlers_to_refuse(self):
        def refuse(self):
            self.send_error(417)
            return False
        seen = []
        sent, _ = serve(doing(lambda self: seen.append(1), handle_expect_100=refuse), [self.HEAD, b"abc"])
        self.assertEqual((seen, parse_replies(sent)[0].status, parse_replies(sent)[0].interim), ([], 417, ()))

    def test_a_refusal_is_the_answer_though_the_content_is_malformed(self):
        head = request("POST / HTTP/1.1", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n" + CLOSE)
        sent, _ = serve(doing(lambda self: None, handle_expect_100=lambda self: self.send_error(417)), [head + b"x\r\n"])
        self.assertEqual([reply.status for reply in parse_replies(sent)], [417])

    def test_is_the_handlers_to_accept(self):
        def accept(self):
            seen.append(self.headers["Content-Length"])
            Quiet.handle_expect_100(self)
            self.wfile.flush()
            return True
        seen = []
        sent, _ = serve(doing(lambda self: self.answer(self.rfile.read(3)), handle_expect_100=accept),
                        [self.HEAD, b"abc"])
        reply = parse_replies(sent)[0]
        self.assertEqual((seen, [head.status for head in reply.interim], reply.content), (["3"], [100], b"abc"))


class CutTest(unittest.TestCase):
    def test_an_answer_of_which_some_may_be_out_is_not_given_up_for_another(self):
        output = Output(unittest.mock.Mock(take_continue=bytes, send_all=unittest.mock.Mock(side_effect=TimeoutError)), "GET")
        output.write(OK + b"\r\nsome")
        with self.assertRaises(TimeoutError):
            output.flush()
        self.assertEqual(output.rescue(takes_all=False), b"")


OK = b"HTTP/1.1 200 OK\r\n"


class AnswerTest(unittest.TestCase):
    def test_is_sent_as_it_was_written(self):
        class Handler(Quiet):
            server_version, sys_version = "S/1", "P/2"

            def date_time_string(self, timestamp=None):
                return "today"

            def do_GET(self):
                self.send_response(299, "Fine")
                self.send_header("X", "\xe4")
                self.end_headers()
                self.wfile.write(b"content")
        sent, _ = serve(Handler, request(fields=CLOSE))
        self.assertEqual(sent, b"HTTP/1.1 299 Fine\r\nServer: S/1 P/2\r\nDate: today\r\nX: \xe4\r\n\r\ncontent")

    @params("version_string", "date_time_string", "send_header", "send_response_only")
    def test_has_what_the_class_overrides(self, name):
        def override(self, *arguments):
            seen.append(arguments)
            return getattr(compat.BaseHTTPRequestHandler, name)(self, *arguments)
        seen = []
        sent, _ = serve(doing(lambda self: self.answer(b""), **{name: override}), request(fields=CLOSE))
        self.assertTrue(seen)
        self.assertEqual(parse_replies(sent)[0].fields["Content-Length"], "0")

    @params((200, None, b"200 OK"), (http.HTTPStatus.NOT_FOUND, None, b"404 Not Found"), (299, None, b"299 "),
            (200, "Fine", b"200 Fine"))
    def test_has_a_status(self, code, message, line):
        sent, _ = serve(doing(lambda self: (self.send_response(code, message), self.end_headers())), request())
        self.assertTrue(sent.startswith(b"HTTP/1.1 " + line + b"\r\nServer: BaseHTTP"), sent)

    def test_is_of_http_10_unless_the_class_says_otherwise(self):
        sent, _ = serve(doing(lambda self: self.answer(b""), protocol_version="HTTP/1.0"), request() * 2)
        self.assertTrue(sent.startswith(b"HTTP/1.0 200 OK\r\n"))
        self.assertEqual(len(parse_replies(sent)), 1)

    @params(
        (OK + b"Content-Length: 2\r\n\r\nhi", True), (OK + b"content-length:2\r\n\r\nhi", True),
        (OK + b"Content-Length: 3\r\n\r\nhi", False), (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", False),
        (OK + b"Content-Length: x\r\n\r\nhi", False), (OK + b"\r\nhi", False), (OK + b"\r\n", False),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nno chunk\r\n", False),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", False),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", False),
        (b"HTTP/1.1 204 No\r\n\r\n", True), (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", True),
        (b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 204 No\r\n\r\n", True), (b"HTTP/1.1 100 Go on\r\n\r\n", False),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", True), (b"HTTP/1.1 200 OK\n\nhi", False),
        (b"hello there, this is no HTTP", False), (b"short", False), (b"", False))
    def test_keeps_the_connection_only_where_its_end_is_clear(self, octets, keeps):
        sent, _ = serve(writing(octets), request() * 2)
        self.assertEqual(sent, octets * (1 + keeps))

    @params(
        (OK + b"Content-Length: 2\r\n\r\nhi", b" and more"), (b"HTTP/1.1 204 No\r\n\r\n", b"content"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", OK), (b"HTTP/1.1 304 No\r\n\r\n", b"x"))
    def test_ends_where_its_head_says(self, octets, more):
        with self.assertLogs("ownhands", logging.WARNING):
            sent, _ = serve(writing(octets + more), request() * 2)
        self.assertEqual(sent, octets * 2)

    def test_to_head_has_no_content(self):
        sent, _ = serve(doing(None, do_HEAD=lambda self: self.answer(b"content", ("X", "1"))),
                        request("HEAD / HTTP/1.1") * 2)
        self.assertEqual([reply.fields["Content-Length"] for reply in parse_replies(sent, "HEAD", "HEAD")], ["7", "7"])

    @params(("close_connection", True), ("protocol_version", "HTTP/1.0"))
    def test_closes_where_the_handler_says_so(self, name, value):
        def method(self):
            self.answer(b"")
            setattr(self, name, value)
        sent, _ = serve(doing(method, **({name: value} if name == "protocol_version" else {})), request() * 2)
        self.assertEqual(len(parse_replies(sent)), 1)

    @params(bytearray(b"hi"), memoryview(b"hi"), b"hi")
    def test_takes_what_is_like_bytes(self, piece):
        seen = []
        sent, _ = serve(doing(lambda self: seen.append(self.wfile.write(piece))), request())
        self.assertEqual((sent, seen), (b"hi", [2]))

    def test_does_not_change_with_a_buffer_that_was_written(self):
        def method(self):
            piece = bytearray(b"before")
            self.wfile.write(piece)
            piece[:] = b"after!"
        self.assertEqual(serve(doing(method), request())[0], b"before")

    def test_takes_no_text(self):
        self.assertEqual(serve(writing("text"), request())[1], ["TypeError"])

    def test_is_not_taken_once_it_is_over(self):
        kept = []
        serve(doing(lambda self: (kept.append(self.wfile), self.answer(b""))), request(fields=CLOSE))
        with self.assertRaises(ValueError):
            kept[0].write(b"late")

    def test_may_be_wrapped(self):
        def method(self):
            with io.TextIOWrapper(self.wfile, "latin-1", write_through=True) as text:
                text.write("HTTP/1.1 200 OK\r\n\r\n\xe4")
        self.assertEqual(serve(doing(method), request())[0], OK + b"\r\n\xe4")

    def test_goes_out_when_it_is_flushed(self):
        def method(self):
            self.wfile.write(b"one")
            seen.append(self._served_by.connection.sent)
            self.wfile.write(OK + b"\r\ntwo")
            self.wfile.flush()
            seen.append(self._served_by.connection.sent)
        seen = []
        self.assertEqual(serve(doing(method), request())[0], b"one" + OK + b"\r\ntwo")
        self.assertEqual(seen, [b"", b"one" + OK + b"\r\ntwo"])

    def test_goes_out_when_it_is_large(self):
        def method(self):
            self.wfile.write(OK + b"\r\n")
            self.wfile.write(b"x" * 100_000)
            seen.append(len(self._served_by.connection.sent))
        seen = []
        serve(doing(method), request())
        self.assertEqual(seen, [100_000 + len(OK) + 2])

    def test_goes_out_where_the_client_takes_little(self):
        connection = functools.partial(MockConnection, max_send=3)
        sent, _ = serve(doing(lambda self: (self.answer(b"x" * 100), self.wfile.flush())), request(fields=CLOSE),
                        connection)
        self.assertEqual(parse_replies(sent)[0].content, b"x" * 100)

    def test_tells_the_handler_of_a_client_that_has_gone(self):
        connection = functools.partial(MockConnection, fail_after=10)
        _, errors = serve(doing(lambda self: (self.answer(b"x" * 100), self.wfile.flush())), request(), connection)
        self.assertEqual(errors, ["BrokenPipeError"])


class FramingTest(unittest.TestCase):
    ANSWERS = [OK + b"Content-Length: 2\r\n\r\nhi", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
               b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"]

    @params(*ANSWERS)
    def test_is_the_same_however_it_is_written(self, octets):
        for size in range(1, len(octets) + 1):
            framing = AnswerReader("GET")
            pieces = [framing.take(octets[start:start + size]) for start in range(0, len(octets), size)]
            self.assertEqual((b"".join(pieces) + framing.end(), framing.complete, framing.dropped), (octets, True, 0))

    @params(*ANSWERS)
    def test_drops_what_follows_however_it_is_written(self, octets):
        for size in range(1, len(octets) + 6):
            framing = AnswerReader("GET")
            data = octets + b"hello"
            pieces = [framing.take(data[start:start + size]) for start in range(0, len(data), size)]
            self.assertEqual((b"".join(pieces), framing.complete, framing.dropped), (octets, True, 5))

    @params(("CONNECT", b"HTTP/1.1 200 OK\r\n\r\n"), ("GET", b"HTTP/1.1 101 Switch\r\n\r\n"))
    def test_lets_a_tunnel_through(self, method, head):
        framing = AnswerReader(method)
        self.assertEqual((framing.take(head + b"any"), framing.take(b"thing"), framing.complete),
                         (head + b"any", b"thing", False))


class ObjectTest(unittest.TestCase):
    """What is set on the handler or the server, rather than in its class."""

    def test_methods_of_the_handler_are_called(self):
        seen = []

        def method(self):
            self.date_time_string = lambda: "now"
            self.send_header = lambda name, value: seen.append((name, value))
            self.send_response(204)
            self.end_headers()

        serve(doing(method), request())
        self.assertEqual(seen[1:], [("Date", "now")])

    @params(True, False)
    def test_threads_of_gevents_are_not_waited_for(self, is_patched):
        gevent = unittest.mock.Mock(is_module_patched={"threading": is_patched}.get)
        with Server(Quiet) as server, unittest.mock.patch.dict("sys.modules", {"gevent.monkey": gevent}):
            self.assertEqual(compat.is_classic(server), is_patched)


class ErrorTest(unittest.TestCase):
    def test_of_the_handler_is_answered_and_reported(self):
        def method(self):
            self.send_response(200)
            self.end_headers()
            raise ValueError("secret")
        sent, errors = serve(doing(method), request() * 2)
        self.assertEqual(errors, ["ValueError"])
        self.assertEqual([reply.status for reply in parse_replies(sent)], [500])
        self.assertNotIn(b"secret", sent)

    def test_behind_the_beginning_of_an_answer_ends_it(self):
        def method(self):
            self.wfile.write(OK + b"Content-Length: 10\r\n\r\nhi")
            self.wfile.flush()
            raise ValueError
        self.assertEqual(serve(doing(method), request() * 2), (OK + b"Content-Length: 10\r\n\r\nhi", ["ValueError"]))

    @params((OK + b"Content-Length: 2\r\n\r\nhi", True), (b"HTTP/1.1 204 No\r\n\r\n", True),
            (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True), (OK + b"Content-Length: 3\r\n\r\nhi", False),
            (OK + b"\r\nhi", False))
    def test_behind_an_answer_lets_it_be_sent_where_it_is_whole(self, octets, is_whole):
        def method(self):
            self.wfile.write(octets)
            raise ValueError
        sent, errors = serve(doing(method), request() * 2)
        self.assertEqual((sent == octets, errors), (is_whole, ["ValueError"]))
        self.assertTrue(is_whole or parse_replies(sent)[0].status == 500)

    @params(*[(octets, error, server_class) for octets in (OK + b"\r\nbye", b"HTTP/1.1 2")
              for error in (SystemExit(3), KeyboardInterrupt(), GeneratorExit())
              for server_class in (compat.HTTPServer, compat.ThreadingHTTPServer)])
    def test_that_ends_the_program_lets_what_was_written_be_sent(self, octets, error, server_class):
        def method(self):
            self.wfile.write(octets)
            raise error
        connection = MockConnection(request())
        with server_class(("", 0), doing(method), bind_and_activate=False) as server:
            server.handle_error = lambda *_: None
            ends = self.assertRaises(type(error)) if server_class is compat.HTTPServer else contextlib.nullcontext()
            with ends:
                server.finish_request(connection, ADDRESS)
        self.assertEqual(connection.sent, octets)

    def test_that_handle_error_raises_lets_a_whole_answer_be_sent(self):
        def method(self):
            self.wfile.write(OK + b"Content-Length: 2\r\n\r\nhi")
            raise ValueError

        def handle_error(self, *_):
            raise
        connection = MockConnection(request())
        server_class = type("Failing", (compat.HTTPServer,), {"handle_error": handle_error})
        with server_class(("", 0), doing(method), bind_and_activate=False) as server:
            self.assertRaises(ValueError, server.finish_request, connection, ADDRESS)
        self.assertTrue(connection.sent.endswith(b"hi"))

    @params(
        (b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET  / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505), (request(fields="Content-Length: +1\r\n"), 400),
        (request(f"GET /{'x' * 70_000} HTTP/1.1"), 414), (request(fields="X: y\r\n" * 200), 431),
        (request("BREW / HTTP/1.1"), 501), (request("HEAD / HTTP/1.1"), 501))
    def test_of_the_client_gets_the_page_of_the_handler(self, octets, status):
        handler = doing(lambda self: None, error_message_format="<%(code)d>", error_content_type="text/x")
        sent, errors = serve(handler, octets)
        method = "HEAD" if octets.startswith(b"HEAD") else "GET"
        reply = parse_replies(sent, method)[0]
        self.assertEqual((reply.status, reply.fields["Content-Type"], errors), (status, "text/x", []))
        self.assertEqual(reply.content, b"" if method == "HEAD" else b"<%d>" % status)

    @params(*[(earlier, *row) for earlier in (b"", request("GET /x HTTP/1.1", "Cookie: earlier=1\r\n")) for row in (
        (request("POST /late HTTP/1.1", "Content-Length: 9\r\nCookie: late=1\r\n", b"ab"),
         (400, "POST", "/late", "late=1", "POST /late HTTP/1.1")),
        (b"GET /a b HTTP/1.1\r\nCookie: x\r\n\r\n", (400, None, None, None, "GET /a b HTTP/1.1")))])
    def test_page_is_told_of_its_own_request(self, earlier, octets, told):
        def send_error(self, code, *_):
            headers = getattr(self, "headers", {})
            seen.append((code, self.command, getattr(self, "path", None), headers.get("Cookie"), self.requestline))
            compat.BaseHTTPRequestHandler.send_error(self, code)
        seen = []
        sent, errors = serve(doing(lambda self: self.answer(b""), send_error=send_error), earlier + octets)
        self.assertEqual((seen, errors), ([told], []))
        self.assertEqual(parse_replies(sent)[-1].status, told[0])

    def test_page_may_fail(self):
        def send_error(self, *_):
            raise ValueError
        sent, errors = serve(doing(None, send_error=send_error), b"bad\r\n\r\n")
        self.assertEqual((parse_replies(sent)[0].status, errors), (400, ["ValueError"]))

    def test_of_time_is_logged(self):
        def method(self):
            raise TimeoutError("too late")
        said = []
        sent, errors = serve(doing(method, log_error=lambda self, text, *arguments: said.append(text % arguments)),
                             request())
        self.assertEqual(said[0], "Request timed out: TimeoutError('too late')")
        self.assertEqual((parse_replies(sent)[0].status, errors), (500, []))


    def test_of_a_client_that_is_too_slow_is_408(self):
        class Stalling(MockConnection):
            def recv(self, size, /):
                octets = super().recv(size)
                if not octets:
                    raise BlockingIOError
                return octets

        sent, errors = serve(doing(lambda self: self.rfile.read()), request("POST / HTTP/1.1", "Content-Length: 2000000\r\n"),
                             Stalling)
        self.assertEqual((parse_replies(sent)[0].status, errors), (408, []))


class LogTest(unittest.TestCase):
    def test_is_http_servers(self):
        handler = type("Handler", (compat.BaseHTTPRequestHandler,), {
            "do_GET": lambda self: self.send_error(404), "log_date_time_string": lambda self: "now"})
        with unittest.mock.patch("sys.stderr", io.StringIO()) as stderr:
            serve(handler, request("GET /x HTTP/1.1"))
        self.assertEqual(stderr.getvalue(), '192.0.2.1 - - [now] code 404, message Not Found\n'
                                            '192.0.2.1 - - [now] "GET /x HTTP/1.1" 404 -\n')

    def test_has_what_was_no_request(self):
        with unittest.mock.patch("sys.stderr", io.StringIO()) as stderr:
            serve(compat.BaseHTTPRequestHandler, b"hello there\x1b[m\r\n\r\n")
        self.assertTrue(stderr.getvalue().endswith('"hello there\\x1b[m" 400 -\n'), stderr.getvalue())

    @params((0, "Thu, 01 Jan 1970 00:00:00 GMT"), (1.5e9, "Fri, 14 Jul 2017 02:40:00 GMT"))
    def test_knows_the_date(self, timestamp, text):
        handler = object.__new__(Quiet)
        self.assertEqual(handler.date_time_string(timestamp), text)
        with unittest.mock.patch("time.time", return_value=timestamp):
            self.assertEqual(handler.date_time_string(), text)


class FinishTest(unittest.TestCase):
    @params((request(fields=CLOSE), 1), (request() * 3, 1), (b"", 0), (b"bad\r\n\r\n", 1))
    def test_comes_once_for_a_handler_that_was_made(self, data, count):
        class Handler(Quiet):
            def do_GET(self):
                self.answer(b"")

            def finish(self):
                super().finish()
                seen.append(1)
        seen = []
        serve(Handler, data)
        self.assertEqual(len(seen), count)

    def test_leaves_nothing_to_the_collector(self):
        class Handler(Quiet):
            def do_GET(self):
                self.answer(b"")
                seen.append((weakref.ref(self), weakref.ref(self._served_by), weakref.ref(self.wfile)))
        seen = []
        gc.collect()
        gc.disable()
        try:
            serve(Handler, request(fields=CLOSE))
            self.assertEqual([reference() for reference in seen[0]], [None] * 3)
        finally:
            gc.enable()

    def test_may_fail(self):
        sent, errors = serve(doing(lambda self: self.answer(b""), finish=lambda self: 1 / 0), request(fields=CLOSE))
        self.assertEqual((len(parse_replies(sent)), errors), (1, ["ZeroDivisionError"]))


class Stock(http.server.BaseHTTPRequestHandler):
    """Not one of ours."""


class Given(Quiet):
    def __init__(self, *arguments, value=1):
        """Sets what is given,
and has the base do the rest."""
        self.value = value
        super().__init__(*arguments)


class Returning(Given):
    def __init__(self, *arguments):
        return Given.__init__(self, *arguments, value=2)


class Behind(Quiet):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.value = 1


class Around(Quiet):
    def __init__(self, *arguments):
        with contextlib.suppress(OSError):
            super().__init__(*arguments)


class Below(Behind):
    def __init__(self, *arguments):
        super().__init__(*arguments)


class Twice(Given, Stock):
    def __init__(self, *arguments):
        Given.__init__(self, *arguments)
        Stock.__init__(self, *arguments)


class Decorated(Quiet):
    @functools.wraps(Given.__init__)
    def __init__(self, *arguments):
        super().__init__(*arguments)


SOURCELESS = {}
exec("def __init__(self, *arguments):\n super(type(self), self).__init__(*arguments)", SOURCELESS)


class RulesTest(unittest.TestCase):
    @params((Given, False), (Returning, False), (Behind, True), (Around, True), (Below, True), (Twice, True),
            (Decorated, True), (doing(None, __init__=lambda self, *_: None), True),
            (doing(None, __init__=SOURCELESS["__init__"]), True), (doing(None, Given), False))
    def test_keep_a_handler_classic_whose_init_goes_on_when_its_base_has_served(self, handler, classic):
        self.assertEqual(self.is_classic(handler), classic)

    @params("handle", "handle_one_request", "parse_request", "setup")
    def test_keep_a_handler_classic(self, name):
        self.assertTrue(self.is_classic(doing(None, **{name: lambda self: None})))

    @params(("headers", None), ("rfile", None), ("connection", None), ("request", None), ("raw_requestline", b""),
            ("rbufsize", 0))
    def test_keep_a_handler_classic_whose_class_hides_what_a_request_has(self, name, value):
        self.assertTrue(self.is_classic(doing(None, **{name: value})))

    @params("process_request", "process_request_thread", "finish_request", "get_request")
    def test_keep_a_server_classic(self, name):
        self.assertTrue(self.is_classic(Quiet, **{name: lambda self, *_: None}))
        server = compat.HTTPServer(("127.0.0.1", 0), Quiet, bind_and_activate=False)
        self.addCleanup(server.server_close)
        setattr(server, name, lambda *_: None)
        self.assertTrue(compat.is_classic(server))

    @params("do_PUT", "finish", "send_response", "send_header", "end_headers", "send_error", "log_message",
            "handle_expect_100", "version_string")
    def test_let_a_handler_be_fast(self, name):
        self.assertFalse(self.is_classic(doing(None, **{name: lambda self: None})))

    @params("verify_request", "handle_error", "service_actions", "handle_timeout", "shutdown_request", "server_bind")
    def test_let_a_server_be_fast(self, name):
        self.assertFalse(self.is_classic(Quiet, **{name: lambda self, *_: None}))

    @params((socketserver.ThreadingMixIn, False), (socketserver.ForkingMixIn, True))
    def test_know_the_mixins(self, mixin, classic):
        self.assertEqual(self.is_classic(Quiet, mixin), classic)

    @params((Stock, True), (functools.partial(Stock), True), (functools.partial(functools.partial(Quiet)), False),
            (lambda *arguments: Quiet(*arguments), False), (compat.SimpleHTTPRequestHandler, False))
    def test_know_what_makes_the_handler(self, handler, classic):
        self.assertEqual(self.is_classic(handler), classic)

    def is_classic(self, handler, *mixins, **methods):
        server_class = type("Some", (*mixins, compat.HTTPServer), methods)
        server = object.__new__(server_class)
        server.RequestHandlerClass = handler
        return compat.is_classic(server)


class PatchTest(unittest.TestCase):
    NAMES = ("HTTPServer", "ThreadingHTTPServer", "BaseHTTPRequestHandler", "SimpleHTTPRequestHandler")

    @params(*NAMES)
    def test_puts_ours_in_place_until_it_is_undone(self, name):
        before = getattr(http.server, name)
        patch = compat.patch()
        try:
            self.assertIs(getattr(http.server, name), getattr(compat, name))
            self.assertEqual(getattr(compat, name).__module__, "http.server")
        finally:
            patch.undo()
            patch.undo()
        self.assertIs(getattr(http.server, name), before)
        self.assertEqual(getattr(compat, name).__module__, "ownhands.compat")

    def test_moves_what_http_servers_own_command_serves_with(self):
        before = http.server.test.__defaults__
        with compat.patch():
            self.assertIn(compat.ThreadingHTTPServer, http.server.test.__defaults__)
        self.assertEqual(http.server.test.__defaults__, before)

    def test_moves_what_the_standard_library_builds_on_it(self):
        from wsgiref.simple_server import WSGIServer
        with compat.patch():
            self.assertTrue(issubclass(WSGIServer, compat.HTTPServer))
        self.assertFalse(issubclass(WSGIServer, compat.HTTPServer))

    @params(*NAMES)
    def test_ours_are_subclasses_of_the_standard_ones(self, name):
        self.assertTrue(issubclass(getattr(compat, name), getattr(http.server, name)))
