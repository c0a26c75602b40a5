"""What a WSGI application answers: bytes in, bytes out."""
import socket
import threading
import unittest
from http import HTTPStatus
from typing import Any
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.testing import MockClient, MockConnection, Reply, in_pieces, parse_replies
from ownhands.wsgi import WSGIHandler

from .applications import TEXT, answering, head, hello, make, send, server_for, without_log
from .turns import Session


class AnswerTest(unittest.TestCase):
    def reply(self, application: Any, method: str = "GET", version: str = "1.1") -> Reply:
        return parse_replies(send(application, head(method=method, version=version)).sent, method)[0]

    def test_keeps_reason_order_and_repeats(self) -> None:
        headers = [("X-B", "1"), ("X-A", "2"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X-L", "\xe4")]
        sent = send(answering([b"x"], "200 Quite Fine", headers), head()).sent
        self.assertRegex(sent, rb"(?s)\AHTTP/1.1 200 Quite Fine\r\n.*"
                               rb"X-B: 1\r\nX-A: 2\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-L: \xe4\r\n")

    @params(([b"abc"], b"abc", "3"), ((b"a", b"bc"), b"abc", "3"), ([], b"", "0"), ([b""], b"", "0"),
            ([b"x" * 70_000], b"x" * 70_000, "70000"), (iter([]), b"", "0"), ({b"one": 1}, b"one", "3"),
            (iter([b"", b"a", b"", b"b"]), b"ab", None), ([b"x" * 40_000] * 2, b"x" * 80_000, None))
    def test_has_the_length_that_is_known(self, result: Any, content: bytes, length: str | None) -> None:
        reply = self.reply(answering(result))
        self.assertEqual((reply.content, reply.fields.get("Content-Length")), (content, length))

    @params(69_999, 71_001)
    def test_a_list_that_is_not_as_long_as_it_says_is_500(self, length: int) -> None:
        with self.assertLogs("ownhands", "ERROR"):
            reply = self.reply(answering([b"x" * 1000] * 71, headers=[("Content-Length", str(length))]))
        self.assertEqual(reply.status, 500)

    def test_says_that_the_connection_ends_where_a_hook_has_said_so(self) -> None:
        class Closing(WSGIHandler):
            application = staticmethod(hello)

            def on_head(self, request: Any) -> None:
                self.close_connection = True

        connection = MockConnection(head())
        HTTPServer(handler=Closing).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent)[0].fields["Connection"], "close")

    def test_in_one_piece_is_sent_at_once(self) -> None:
        connection = MockConnection(head())
        with mock.patch.object(connection, "send", wraps=connection.send) as sending:
            server_for(hello).on_connect(connection)
        self.assertEqual(sending.call_count, 1)

    @params(([b"x" * 10] * 20_000, 5), ((b"x" * 10,) * 20_000, 5), ([b"", b"x" * 100_000, b"", b"y" * 100_000, b""], 3),
            ([b"x" * 40_000] * 3, 4))
    def test_in_many_pieces_that_are_there_is_sent_in_few(self, result: Any, count: int) -> None:
        connection = MockConnection(head())
        with mock.patch.object(connection, "send", wraps=connection.send) as sending:
            server_for(answering(result)).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent)[0].content, b"".join(result))
        self.assertEqual(sending.call_count, count)

    def test_of_a_generator_goes_out_piece_by_piece(self) -> None:
        connection = MockConnection(head())
        seen = []

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            for piece in (b"", b"one", b"two"):
                seen.append(connection.sent[-8:])
                yield piece

        server_for(application).on_connect(connection)
        self.assertEqual(seen, [b"", b"", b"3\r\none\r\n"])

    def test_of_a_generator_ends_the_connection_of_http_1_0(self) -> None:
        fields = "Connection: keep-alive\r\n"
        sent = send(answering(iter([b"a", b"b"])), head(fields=fields, version="1.0")).sent
        self.assertTrue(sent.endswith(b"\r\nConnection: close\r\n\r\nab"), sent)

    def test_in_one_piece_keeps_the_connection_of_http_1_0(self) -> None:
        sent = send(hello, head(fields="Connection: keep-alive\r\n", version="1.0") * 2).sent
        self.assertEqual([reply.fields["Connection"] for reply in parse_replies(sent)], ["keep-alive"] * 2)

    @params(("200 OK", [b"abc"], [], "3"), ("200 OK", [b""], [], None),
            ("200 OK", [b""], [("Content-Length", "9")], "9"),
            ("200 OK", iter([b"ab", b"c"]), [], None), ("304 Not Modified", [b""], [("Content-Length", "9")], "9"))
    def test_to_head_is_that_to_get_without_content(self, status: str, result: Any, headers: Any,
                                                    length: str | None) -> None:
        sent = send(answering(result, status, headers), head(method="HEAD")).sent
        self.assertTrue(sent.endswith(b"\r\n\r\n"), sent)
        self.assertEqual(parse_replies(sent, "HEAD")[0].fields.get("Content-Length"), length)

    @params(("204 No Content", None), ("304 Not Modified", None), ("205 Reset Content", "0"))
    def test_without_content_by_its_status(self, status: str, length: str | None) -> None:
        headers = [("Content-Length", "3")] if status[:3] != "304" else []
        sent = send(answering([b"abc"], status, headers), head() * 2).sent
        replies = parse_replies(sent)
        self.assertEqual([reply.fields.get("Content-Length") for reply in replies], [length] * 2)

    @params(("Date", "Mon, 05 Jun 2006 18:49:54 GMT"), ("Server", "Mine/1"))
    def test_has_the_field_of_the_application(self, name: str, value: str) -> None:
        reply = self.reply(answering([b""], headers=[(name.lower(), value)]))
        self.assertEqual(reply.fields.get_all(name), [value])

    def test_not_taken_at_once_is_sent_to_its_end(self) -> None:
        connection = MockConnection(head(), max_send=7)
        server_for(hello).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent)[0].content, b"hello")

    def test_survives_every_split_of_the_request(self) -> None:
        octets = head() + head(method="POST", fields="Content-Length: 2\r\n") + b"ab"
        self.assertEqual(len(parse_replies(send(hello, in_pieces(octets)).sent)), 2)

    def test_can_be_given_fields_by_a_subclass(self) -> None:
        class Secured(WSGIHandler):
            application = staticmethod(hello)

            def on_request(self, request: Any) -> Any:
                return super().on_request(request).with_fields(x_frame_options="DENY")

        reply = MockClient(HTTPServer(handler=Secured))("/")
        self.assertEqual((reply.content, reply.fields["X-Frame-Options"]), (b"hello", "DENY"))


class StartResponseTest(unittest.TestCase):
    @params(
        ("200", TEXT), ("200OK", TEXT), ("20X OK", TEXT), ("100 Continue", TEXT), ("101 Switching", TEXT),
        ("200 OK\r\nX: y", TEXT), ("200 O\x00K", TEXT), ("200 \u20ac", TEXT), (200, TEXT), (b"200 OK", TEXT),
        ("200 OK", tuple(TEXT)), ("200 OK", [("X", "a\r\nSet-Cookie: b")]), ("200 OK", [("X", "a\nb")]),
        ("200 OK", [("X", "a\rb")]), ("200 OK", [("X", "a\x00b")]), ("200 OK", [("X", "\u20ac")]),
        ("200 OK", [("X", 1)]),
        ("200 OK", [("X", b"a")]), ("200 OK", [("X\r\nY", "a")]), ("200 OK", [("X: a\r\nY", "a")]),
        ("200 OK", [("X ", "a")]),
        ("200 OK", [("", "a")]), ("200 OK", [(1, "a")]), ("200 OK", [("Connection", "close")]),
        ("200 OK", [("transfer-encoding", "chunked")]), ("200 OK", [("Keep-Alive", "1")]),
        ("200 OK", [("Upgrade", "x")]),
        ("200 OK", [("Content-Length", "+5")]), ("200 OK", [("Content-Length", "5"), ("Content-Length", "6")]),
        ("200 OK", [("Content-Length", "-1")]), ("200 OK", [("Content-Length", "")]), ("200 OK", [("X",)]))
    @without_log
    def test_refuses(self, status: Any, headers: Any) -> None:
        sent = send(answering([b"hello"], status, headers), head()).sent
        self.assertEqual([(reply.status, b"hello" in sent) for reply in parse_replies(sent)], [(500, False)])

    @params(
        ("200 OK", [("X-Name", "a\r\nb")], "the value of X-Name holds a character that no field value may: 'a\\r\\nb'"),
        ("200 OK", [("Content-Length", 5)], "the value of Content-Length is a str, not 5"),
        ("200 OK", [("X", b"a")], "the value of X is a str, not b'a'"),
        ("200 OK", [(b"X", "a")], "the name of a field is a str, not b'X'"),
        ("200 OK", [["A", "b"]], "each of the headers is a tuple of a name and a value, not ['A', 'b']"),
        ("200 OK", [("A", ["b"])], "the value of A is a str, not ['b']"),
        ("200 OK", [("X",)], "each of the headers is a tuple of a name and a value, not ('X',)"),
        (HTTPStatus.OK, TEXT, "a status is a str such as '200 OK', not <HTTPStatus.OK: 200>"),
        (200, TEXT, "a status is a str such as '200 OK', not 200"),
        ("200", TEXT, "a space and words: '200'"))
    def test_names_what_it_refuses(self, status: Any, headers: Any, words: str) -> None:
        with self.assertLogs("ownhands", "ERROR") as logged:
            send(answering([b""], status, headers), head())
        self.assertIn(words, logged.output[0].splitlines()[-1])

    @without_log
    def test_comes_once(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)
            start_response("200 OK", TEXT)
            return [b""]

        self.assertIn(b" 500 ", send(application, head()).sent)

    def test_comes_again_with_exc_info(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [("X-First", "1")])
            try:
                raise ValueError
            except ValueError as error:
                start_response("503 Sorry", TEXT, exc_info=(type(error), error, error.__traceback__))
            return [b"sorry"]

        reply = parse_replies(send(application, head()).sent)[0]
        self.assertEqual((reply.status, reply.reason, "X-First" in reply.fields), (503, "Sorry", False))

    @without_log
    def test_with_exc_info_raises_it_when_the_head_is_out(self) -> None:
        caught = []

        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", TEXT)
            yield b"one"
            error = ValueError("mine")
            try:
                start_response("500 No", TEXT, (ValueError, error, None))
            except ValueError as raised:
                caught.append(raised is error)
                raise

        sent = send(application, head() * 2).sent
        self.assertEqual((caught, sent.count(b"HTTP/1.1"), sent.endswith(b"3\r\none\r\n")), ([True], 1, True))

    def test_may_come_with_the_first_piece(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            yield b""
            start_response("200 OK", TEXT)
            yield b"late"

        self.assertEqual(parse_replies(send(application, head()).sent)[0].content, b"late")

    @params(lambda environ, start: [b"x"], lambda environ, start: iter([b"x"]), lambda environ, start: [],
            lambda environ, start: None, lambda environ, start: 1 / 0)
    @without_log
    def test_missing_is_an_error(self, application: Any) -> None:
        self.assertIn(b" 500 ", send(application, head()).sent)


class Scoped:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Iterable:
    def __iter__(self) -> Any:
        return 1 + None  # type: ignore[operator]


class MistakeTest(unittest.TestCase):
    """What is no application, or returns no iterable: the log says which, and what was expected."""

    @params(
        (answering(None), "returns an iterable of bytes, not None"),
        (answering(make), "returns an iterable of bytes, not <function make"),
        (answering("text"), "gives bytes, not str"),
        (answering(b"octets"), "returns a list of bytes, not bytes themselves"),
        (Scoped(), "Scoped object at"), (Scoped(), "missing 1 required positional argument"),
        (Scoped(), "one for ASGI needs another server"),
        (make, "<function make"), (make, "is to be called first"),
        (lambda environ: [], "was called with environ and start_response"),
        (answering(Iterable()), "unsupported operand"),
        (lambda environ, start: make(environ), "TypeError: make() takes 0 positional arguments but 1 was given"))
    def test_is_named(self, application: Any, words: str) -> None:
        with self.assertLogs("ownhands", "ERROR") as logged:
            self.assertIn(b" 500 ", send(application, head()).sent)
        self.assertIn(words, logged.output[0].splitlines()[-1])

    def test_keeps_the_reason_of_an_error(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            raise TypeError("mine") from KeyError("reason")

        with self.assertLogs("ownhands", "ERROR") as logged:
            send(application, head())
        self.assertIn("KeyError: 'reason'", logged.output[0])


class WriteTest(unittest.TestCase):
    @staticmethod
    def writing(*pieces: Any, result: Any = (), headers: Any = TEXT) -> Any:
        def application(environ: Any, start_response: Any) -> Any:
            write = start_response("200 OK", headers)
            for piece in pieces:
                if isinstance(piece, Exception):
                    raise piece
                write(piece)
            return result
        return application

    @params(((b"a", b"b"), (), b"ab"), ((b"a",), [b"b", b"c"], b"abc"), ((b"",), [b"b"], b"b"),
            ((b"a",), iter([b""]), b"a"))
    def test_comes_before_what_is_returned(self, pieces: Any, result: Any, content: bytes) -> None:
        sent = send(self.writing(*pieces, result=result), head() * 2).sent
        self.assertEqual(parse_replies(sent)[0].content, content)

    def test_comes_behind_the_100_that_the_client_waits_for(self) -> None:
        def application(environ: Any, start_response: Any) -> Any:
            write = start_response("200 OK", TEXT)
            write(b"hello ")
            return [environ["wsgi.input"].read(3)]

        request = head(method="POST", fields="Expect: 100-continue\r\nContent-Length: 3\r\n")
        reply = parse_replies(send(application, [request, b"abc"], stream_content=True).sent)[0]
        self.assertEqual(([each.status for each in reply.interim], reply.content), ([100], b"hello abc"))

    def test_is_sent_before_the_application_goes_on(self) -> None:
        connection = MockConnection(head())

        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", TEXT)(b"first")
            return [b"sent" if b"first" in connection.sent else b"kept"]

        server_for(application).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent)[0].content, b"firstsent")

    def test_waits_for_a_client_that_takes_it_slowly(self) -> None:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        far.sendall(head(fields="Connection: close\r\n"))
        server = server_for(self.writing(bytes(1 << 20)))
        thread = threading.Thread(target=server.on_connect, args=(near, ("127.0.0.1", 1)))
        thread.start()
        with far, far.makefile("rb") as file:
            self.assertEqual(parse_replies(file.read())[0].content, bytes(1 << 20))
        thread.join()

    def test_keeps_to_the_content_length(self) -> None:
        sent = send(self.writing(b"ab", result=[b"c"], headers=[("Content-Length", "3")]), head() * 2).sent
        self.assertEqual([reply.content for reply in parse_replies(sent)], [b"abc"] * 2)

    @params(((b"ab", b"cd"), ()), ((b"a",), ()), ((b"ab",), [b"cd"]))
    @without_log
    def test_that_breaks_the_content_length_ends_the_connection(self, pieces: Any, result: Any) -> None:
        sent = send(self.writing(*pieces, result=result, headers=[("Content-Length", "3")]), head() * 2).sent
        self.assertEqual((sent.count(b"HTTP/1.1"), sent.endswith(pieces[0])), (1, True))

    def test_beyond_the_content_length_is_an_error_while_nothing_is_sent(self) -> None:
        with self.assertLogs("ownhands", "ERROR") as logged:
            sent = send(self.writing(b"one", headers=[("Content-Length", "2")]), head() * 2).sent
        self.assertEqual([reply.status for reply in parse_replies(sent)], [500, 500])
        self.assertIn("write() was given 3 octets, and Content-Length leaves 2", logged.output[0])

    def test_beyond_the_content_length_leaves_room_for_another_answer(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            try:
                start_response("200 OK", [("Content-Length", "2")])(b"one")
            except Exception as error:
                start_response("503 Sorry", TEXT, (type(error), error, error.__traceback__))
            return [b"sorry"]

        reply = parse_replies(send(application, head()).sent)[0]
        self.assertEqual((reply.status, reply.content), (503, b"sorry"))

    @without_log
    def test_beyond_the_content_length_keeps_what_comes_before_the_answer(self) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            with mock.patch.object(connection, "send", side_effect=BlockingIOError):
                environ["wsgi.early_hints"]([("Link", "</a>")])
            start_response("200 OK", [("Content-Length", "2")])(b"one")
            return []

        connection = MockConnection(head())
        server_for(application).on_connect(connection)
        reply = parse_replies(connection.sent)[0]
        self.assertEqual((reply.status, [each.status for each in reply.interim]), (500, [103]))

    @without_log
    def test_then_an_exception_ends_the_connection(self) -> None:
        sent = send(self.writing(b"abc", ValueError()), head() * 2).sent
        self.assertEqual((sent.count(b"HTTP/1.1"), sent.endswith(b"3\r\nabc\r\n")), (1, True))

    def test_to_head_sends_nothing(self) -> None:
        sent = send(self.writing(b"abc", result=[b"d"]), head(method="HEAD")).sent
        self.assertEqual((sent.count(b"Content-Length"), sent.endswith(b"\r\n\r\n")), (0, True))

    @without_log
    def test_takes_bytes_only(self) -> None:
        self.assertIn(b" 500 ", send(self.writing("abc"), head()).sent)

    def test_is_over_when_the_application_has_returned(self) -> None:
        kept = []

        def application(environ: Any, start_response: Any) -> list[bytes]:
            kept.append(start_response("200 OK", TEXT))
            return [b"x"]

        send(application, head())
        with self.assertRaises(RuntimeError):
            kept[0](b"late")

    def test_waits_for_a_client_that_takes_little(self) -> None:
        connection = MockConnection(head(), max_send=3)
        server_for(self.writing(b"abcdefgh")).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent)[0].content, b"abcdefgh")

    def test_to_a_client_that_has_gone_is_no_error(self) -> None:
        connection = MockConnection(head(), fail_after=10)
        with self.assertNoLogs("ownhands", "WARNING"):
            server_for(self.writing(b"abc")).on_connect(connection)
        self.assertTrue(connection.is_closed)

    @params((b"1.1", None, False), (b"1.0", None, False), (b"1.1", ValueError(), False), (b"1.0", ValueError(), True))
    def test_is_logged_with_what_was_sent_however_it_ends(self, version: bytes, error: Any, resets: bool) -> None:
        def application(environ: Any, start_response: Any) -> list[bytes]:
            start_response("200 OK", [])(b"x" * 1000)
            if error is not None:
                raise error
            return []

        with self.assertLogs("ownhands", "INFO") as logs:
            session = Session(type("Handler", (WSGIHandler,), {"application": application}))
            session.send(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        lines = [record.getMessage() for record in logs.records if record.name == "ownhands.access"]
        self.assertEqual([f"200 {len(session.wire.sent)}"], [line.rpartition('" ')[2] for line in lines])
        self.assertEqual(resets, session.handler.ends_in_reset)
