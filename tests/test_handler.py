"""The hooks of RequestHandler: what a method's answer may be, what a missing method and an error look like."""
import io
import unittest
from asyncio import CancelledError
from unittest import mock

from nose2.tools import params

from ownhands import HTTPError, HTTPServer, ProtocolError, RequestHandler, Response
from ownhands.testing import MockClient, MockConnection, Reply, fails, parse_replies

from .turns import GET, GET_CLOSE, Session, post


def answer_of(handler, method: str = "GET", **options) -> Reply:
    return MockClient(HTTPServer(handler=handler))("/", method=method, **options)


class Pages(RequestHandler):
    """GET and POST."""

    def do_GET(self, request):
        return Response("a page", etag='"1"')

    def do_POST(self, request):
        return Response(request.content)


class Dispatch(unittest.TestCase):
    @params(
        ("GET", 200, b"a page"),
        ("POST", 200, b""),
        ("HEAD", 200, b""),
        ("OPTIONS", 204, b""),
        ("DELETE", 405, b"405 Method Not Allowed: DELETE is not for this resource\n"),
        ("TRACE", 405, b"405 Method Not Allowed: TRACE is not for this resource\n"),
        ("FROB", 501, b"501 Not Implemented: the method is not known here\n"),
        ("get", 501, b"501 Not Implemented: the method is not known here\n"),  # RFC 9110 9.1: case matters
    )
    def test_method(self, method, status, content):
        reply = answer_of(Pages, method)
        self.assertEqual((reply.status, reply.content), (status, content))

    @params("DELETE", "TRACE", "OPTIONS")
    def test_allow_lists_what_the_class_defines(self, method):
        self.assertEqual(answer_of(Pages, method).fields["Allow"], "GET, HEAD, OPTIONS, POST")

    def test_head_has_the_fields_of_get(self):
        head, get = answer_of(Pages, "HEAD").fields, answer_of(Pages).fields
        for name in ("Content-Length", "Content-Type", "ETag"):
            self.assertEqual(head[name], get[name])

    def test_a_class_may_have_its_own_head_and_options(self):
        class Own(Pages):
            def do_HEAD(self, request):
                return Response(b"", etag='"head"')

            def do_OPTIONS(self, request):
                return "what you like"

        self.assertEqual(answer_of(Own, "HEAD").fields["ETag"], '"head"')
        self.assertEqual(answer_of(Own, "OPTIONS").content, b"what you like")

    def test_no_helper_is_taken_for_a_method(self):
        class Helped(Pages):
            def do_work(self):
                raise AssertionError

        reply = answer_of(Helped, "work")
        self.assertEqual((reply.status, answer_of(Helped, "OPTIONS").fields["Allow"]), (501, "GET, HEAD, OPTIONS, POST"))

    def test_no_head_without_get(self):
        class PostOnly(RequestHandler):
            def do_POST(self, request):
                return ""

        reply = answer_of(PostOnly, "HEAD")
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, "OPTIONS, POST"))

    def test_methods_may_come_and_go(self):
        class Pages(RequestHandler):
            pass

        def ask():
            return [answer_of(Pages, method).status for method in ("HEAD", "OPTIONS", "DELETE")]

        before = ask()
        with mock.patch.object(Pages, "do_GET", lambda *_: "", create=True):
            between = ask(), answer_of(Pages, "OPTIONS").fields["Allow"]
        self.assertEqual((before, between, ask()), ([200] * 3, ([200, 204, 405], "GET, HEAD, OPTIONS"), [200] * 3))

    def test_options_of_the_whole_server(self):
        reply = MockClient(HTTPServer(handler=Pages))("*", method="OPTIONS")
        self.assertEqual((reply.status, reply.fields["Allow"]), (204, "GET, HEAD, OPTIONS, POST"))

    def test_connect_opens_no_tunnel(self):
        reply = MockClient(HTTPServer(handler=Pages))("a.example:443", method="CONNECT")
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, "GET, HEAD, OPTIONS, POST"))

    @params("GET", "POST", "DELETE", "FROB")
    def test_a_server_without_a_handler_says_hello(self, method):
        reply = answer_of(RequestHandler, method)
        self.assertEqual((reply.status, reply.content), (200, b"Hi there!\n"))
        self.assertEqual(reply.fields["Content-Type"], "text/plain")
        self.assertRegex(reply.fields["Server"], r"^OwnHands/\d")

    def test_hello_does_not_connect(self):
        reply = MockClient(HTTPServer())("a.example:443", method="CONNECT")
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, ""))

    def test_a_handlers_own_names_are_its_own(self):
        class Trader(RequestHandler):
            def setup(self):
                super().setup()
                self.exchange, self.unread, self.outgoing, self.clock = "LSE", [1], 2, "noon"

            def error_response(self, reason):
                return Response(reason, 400)

            proceed = linger = send_answer = error_response

            def do_GET(self, request):
                return self.error_response(f"{self.exchange} {self.unread} {self.outgoing} {self.clock}")

        session = Session(Trader)
        session.send(GET + GET)
        self.assertEqual([reply.content for reply in session.replies()], [b"LSE [1] 2 noon"] * 2)

    def test_on_request_may_be_replaced(self):
        class Router(RequestHandler):
            def on_request(self, request):
                return f"{request.method} {request.path}"

        self.assertEqual(MockClient(HTTPServer(handler=Router))("/x", method="FROB").content, b"FROB /x")


class Answers(unittest.TestCase):
    @params(
        ("text", b"text", "text/plain; charset=utf-8"),
        ("caf\xe9", b"caf\xc3\xa9", "text/plain; charset=utf-8"),
        (b"octets", b"octets", None),
        (Response("made", content_type="text/x"), b"made", "text/x"),
        (Response([b"pie", b"", b"ces"]), b"pieces", None),
    )
    def test_what_a_method_may_return(self, answer, content, media_type):
        class Any(RequestHandler):
            def do_GET(self, request):
                return answer

        reply = answer_of(Any)
        self.assertEqual((reply.status, reply.content, reply.fields.get("Content-Type")), (200, content, media_type))

    @params(None, 7, [b"list"], {"a": 1}, Response)
    def test_what_it_may_not(self, answer):
        class Wrong(RequestHandler):
            def do_GET(self, request):
                return answer

        with self.assertLogs("ownhands", "ERROR") as logs:
            self.assertEqual(answer_of(Wrong).status, 500)
        self.assertEqual(len(logs.records), 1)
        self.assertIs(logs.records[0].exc_info[0], TypeError)


    @params(b"small", b"large" * 100_000, iter([b"made"]))
    def test_a_handler_may_end_the_connection(self, content):
        class Last(RequestHandler):
            def do_GET(self, request):
                self.close_connection = True
                return Response(content)

        session = Session(Last)
        session.send(GET + GET)
        reply, = session.replies()
        self.assertEqual((reply.fields["Connection"], session.wire.is_shut_down), ("close", True))


class Failing(RequestHandler):
    """Raises what a test has put here, in do_GET or in on_head."""

    error: BaseException = ValueError("the secret")
    fails_in_head = False

    def on_head(self, request):
        if self.fails_in_head:
            raise self.error

    def do_GET(self, request):
        raise self.error

    do_POST = do_GET


class Elsewhere(Exception):
    """Of what was asked of another server, as urllib has."""

    status = 304


class Errors(unittest.TestCase):
    @params(
        (HTTPError(404), b"404 Not Found\n"),
        (HTTPError(404, "no such thing"), b"404 Not Found: no such thing\n"),
        (HTTPError(499, "odd"), b"499 Error: odd\n"),
        (ProtocolError(422, "no such form"), b"422 Unprocessable Content: no such form\n"),
    )
    def test_an_error_that_is_an_answer(self, error, content):
        for fails_in_head in (False, True):
            with self.assertNoLogs("ownhands", "ERROR"):
                reply = MockClient(HTTPServer(handler=Failing, error=error, fails_in_head=fails_in_head))()
            self.assertEqual((reply.status, reply.content), (error.status, content))

    def test_its_fields_take_the_place_of_ours(self):
        class Refusing(RequestHandler):
            def do_GET(self, request):
                raise HTTPError(401, "<b>who?</b>", content_type="text/html", www_authenticate=["Basic", "Digest"])

        fields = answer_of(Refusing).fields
        self.assertEqual(fields.get_all("Content-Type"), ["text/html"])
        self.assertEqual(fields.get_all("WWW-Authenticate"), ["Basic", "Digest"])

    @params("transfer_encoding", "content_length", "connection")
    def test_its_fields_never_frame_the_answer(self, field):
        class Framing(RequestHandler):
            def do_GET(self, request):
                raise HTTPError(400, "x", **{field: {"content_length": "3"}.get(field, "chunked")})

        session = Session(Framing)
        with self.assertLogs("ownhands") if field == "content_length" else self.assertNoLogs("ownhands"):
            session.send(GET + GET)
        first, second = session.replies()
        self.assertEqual(first.status, second.status)
        self.assertNotIn("Transfer-Encoding", first.fields)

    @params(ValueError, OSError, ConnectionResetError, BlockingIOError, SystemExit, RecursionError, CancelledError)
    def test_any_other_is_500_and_one_log_record_with_the_traceback(self, kind):
        for fails_in_head in (False, True):
            server = HTTPServer(handler=Failing, error=kind("the secret"), fails_in_head=fails_in_head)
            connection = MockConnection(GET + GET_CLOSE)
            with self.assertLogs("ownhands", "DEBUG") as logs:
                server.on_connect(connection, None)
            records = [record for record in logs.records if record.name == "ownhands"]
            first, second = parse_replies(connection.sent)
            self.assertEqual((first.status, first.content), (500, b"500 Internal Server Error\n"))
            self.assertEqual(second.status, 500)  # the connection goes on
            self.assertEqual([record.levelname for record in records], ["ERROR", "ERROR"])
            self.assertIs(records[0].exc_info[0], kind)
            self.assertNotIn(b"secret", connection.sent)

    def test_an_answer_to_a_client_that_has_gone_is_logged_as_cut(self):
        with self.assertLogs("ownhands.access", "INFO") as logs:
            session = Session(Pages)
            session.wire.is_shut_down = True
            session.send(GET)
        self.assertRegex(logs.output[-1], r" 200 0\Z")

    def test_the_keyboard_means_the_program(self):
        with self.assertLogs("ownhands", "ERROR"), self.assertRaises(KeyboardInterrupt):
            Session(Failing, error=KeyboardInterrupt()).send(GET)

    @params("on_head", "on_request", "on_error", "first piece", "second piece")
    def test_wherever_it_interrupts(self, where):
        class Interrupted(RequestHandler):
            def on_head(self, request):
                self.maybe("on_head")

            def on_request(self, request):
                self.maybe("on_request")
                if where == "on_error":
                    raise HTTPError(404)
                return Response(self.pieces())

            def on_error(self, request, error):
                self.maybe("on_error")
                return "never"

            def pieces(self):
                self.maybe("first piece")
                yield b"x"
                self.maybe("second piece")

            def maybe(self, here):
                if here == where:
                    raise KeyboardInterrupt

        session = Session(Interrupted)
        with self.assertLogs("ownhands", "ERROR"), self.assertRaises(KeyboardInterrupt):
            session.send(post(b"Content-Length: 5", body=b"hello"))
        self.assertNotIn(b"500", session.wire.sent)

    @params(({}, "GET, HEAD, OPTIONS"), ({"allow": "PUT"}, "PUT"), ({"allow": ""}, ""))
    def test_405_says_what_is_allowed(self, fields, allow):
        class Refusing(RequestHandler):
            def do_GET(self, request):
                raise HTTPError(405, **fields)

        reply = MockClient(HTTPServer(handler=Refusing))("/")
        self.assertEqual((reply.status, reply.fields.get_all("Allow")), (405, [allow]))

    def test_on_error_says_what_an_error_looks_like(self):
        class Styled(Failing):
            def on_error(self, request, error):
                return Response.html(f"<h1>{type(error).__name__} at {request and request.path}</h1>",
                                     getattr(error, "status", 500))

        server = HTTPServer(handler=Styled)
        connection = MockConnection(GET + b"GET / HTTP/1.1\r\n\r\n")
        with self.assertLogs("ownhands", "ERROR"):
            server.on_connect(connection, None)
        self.assertEqual([(reply.status, reply.content) for reply in parse_replies(connection.sent)],
                         [(500, b"<h1>ValueError at /</h1>"), (400, b"<h1>ProtocolError at None</h1>")])

    @params((ValueError("secret"), 500), (HTTPError(418, allow="GET"), 418), (Elsewhere(), 500))
    def test_text_from_on_error_has_the_status_and_fields_of_the_error(self, error, status):
        class Brief(Failing):
            def on_error(self, request, error):
                return "sorry"

        session = Session(Brief, error=error)
        with self.assertLogs("ownhands") if status == 500 else self.assertNoLogs("ownhands"):
            session.send(GET)
        reply, = session.replies()
        self.assertEqual((reply.status, reply.content), (status, b"sorry"))
        self.assertEqual(reply.fields.get("Allow"), None if status == 500 else "GET")

    def test_beside_others_it_is_named_once_and_405(self):
        handler = type("Both", (RequestHandler,), {"do_delete": lambda *_: "", "do_GET": lambda *_: ""})
        client = MockClient(HTTPServer(handler=handler))
        with self.assertLogs("ownhands", "WARNING") as logs:
            self.assertEqual([client(method="DELETE").status for _ in range(2)], [405, 405])
        self.assertEqual(logs.output, ["WARNING:ownhands:Both.do_delete is never called: write do_DELETE"])

    @params("do_get", "doGET", "do_Get", "get", "GET", "on_get", "on_GET")
    def test_a_method_that_is_spelt_otherwise_is_a_mistake_that_is_named(self, name):
        handler = type("Small", (RequestHandler,), {name: lambda self, request: "never"})
        with self.assertLogs("ownhands", "ERROR") as logs:
            reply = MockClient(HTTPServer(handler=handler))()
        self.assertEqual(reply.status, 500)
        self.assertIn(f"Small.{name} is never called: write do_GET", logs.output[0])

    @params(("wfile", "return a Response"), ("headers", "write request.fields"), ("path", "write request.path"))
    def test_what_http_server_has_in_a_handler_is_named_with_what_to_write(self, name, instead):
        class Handler(RequestHandler):
            def do_GET(self, request):
                return getattr(self, name)

        with self.assertLogs("ownhands", "ERROR") as logged:
            MockClient(HTTPServer(handler=Handler))()
        self.assertIn(f"Handler has no attribute {name!r}: {instead}", logged.output[0])

    @params((lambda self: None, True), (lambda self, request: len(), False), (lambda self, request: None + 1, False))
    def test_a_method_that_takes_no_request_is_a_mistake_with_a_hint(self, method, has_hint):
        with self.assertLogs("ownhands", "ERROR") as logs:
            self.assertEqual(answer_of(type("Old", (RequestHandler,), {"do_GET": method})).status, 500)
        self.assertEqual("ownhands.compat" in logs.output[0], has_hint)

    @params(({"get": None}, "GET", 200), ({"get": print}, "POST", 200), ({"on_head": lambda *_: None}, "HEAD", 200),
            ({"work": print}, "WORK", 200), ({"get": print, "on_get": print, "do_POST": print}, "GET", 405))
    def test_a_helper_is_none(self, members, method, status):
        with self.assertNoLogs("ownhands", "WARNING"):
            self.assertEqual(answer_of(type("Small", (RequestHandler,), members), method).status, status)

    @params((None, "the method has no return"), ({}, "Response.json"), (("a", 404), r"Response\(text, status\)"),
            (HTTPError(404), "raise it"))
    def test_what_no_answer_is_made_of_is_named_with_what_to_write(self, answer, instead):
        handler = type("Wrong", (RequestHandler,), {"do_GET": lambda *_: answer})
        with self.assertLogs("ownhands", "ERROR") as logs:
            self.assertEqual(MockClient(HTTPServer(handler=handler))().status, 500)
        self.assertRegex(logs.output[0], f"not {type(answer).__name__}: .*{instead}")

    def test_a_file_in_place_of_what_opens_one_is_a_mistake(self):
        handler = type("Wrong", (RequestHandler,), {"on_head": lambda self, _: self.gather_this(9, io.BytesIO())})
        with self.assertLogs("ownhands", "ERROR") as logs:
            self.assertEqual(MockClient(HTTPServer(handler=handler))(method="POST", body="x").status, 500)
        self.assertIn("open_file is a function", logs.output[0])

    @params((HTTPError(403), 403, False), (RuntimeError("no bucket"), 500, True))
    def test_what_opens_a_file_for_the_content_may_fail(self, error, status, is_logged):
        def open_file():
            raise error

        handler = type("Failing", (RequestHandler,), {"on_head": lambda self, _: self.gather_this(1 << 20, open_file)})
        with (self.assertLogs if is_logged else self.assertNoLogs)("ownhands", "ERROR"):
            reply = MockClient(HTTPServer(handler=handler, max_memory_size=10))(method="POST", body="x" * 100)
        self.assertEqual(reply.status, status)

    @params(None, 7, ValueError("on_error fails"), HTTPError(404), SystemExit(),
            Response(b"wrong", content_length="3"), Response([1]), Response(["text"]))
    def test_an_on_error_that_fails_is_answered_all_the_same(self, outcome):
        class Broken(Failing):
            def on_error(self, request, error):
                if isinstance(outcome, BaseException):
                    raise outcome
                return outcome

        for octets in (GET_CLOSE, b"GET / HTTP/9.1\r\n\r\n"):
            connection = MockConnection(octets)
            with self.assertLogs("ownhands", "ERROR"):
                HTTPServer(handler=Broken).on_connect(connection, None)
            reply, = parse_replies(connection.sent)
            self.assertEqual((reply.status, reply.content), (500, b"500 Internal Server Error\n"))

    def test_nothing_that_is_raised_leaves_a_turn(self):
        class Broken(RequestHandler):
            def log_exchange(self, request, response, size):
                raise ValueError("the log is full")

            def finish(self):
                super().finish()
                raise ValueError("no end")

        with self.assertLogs("ownhands", "INFO") as logs:
            session = Session(Broken)
            session.send(GET)
            self.assertFalse(session.is_over)
            session.send(b"")
        self.assertEqual([str(record.exc_info[1]) for record in logs.records], ["the log is full", "no end"])


class ClientsThatLeave(unittest.TestCase):
    @params(
        (b"", ConnectionResetError()),
        (GET[:10], ConnectionResetError()),
        (post(b"Content-Length: 9", body=b"abc"), ConnectionResetError()),
        (GET, BrokenPipeError()),
        (GET, TimeoutError()),
    )
    def test_one_debug_line(self, octets, error):
        with self.assertLogs("ownhands", "DEBUG") as logs:
            connection = MockConnection(fails(octets, len(octets), error))
            HTTPServer(handler=Pages).on_connect(connection, ("192.0.2.7", 1))
        logs.records[:] = [record for record in logs.records if record.name == "ownhands"]
        self.assertEqual([record.levelname for record in logs.records], ["DEBUG"])
        self.assertIn("192.0.2.7", logs.records[0].getMessage())
        self.assertIsNone(logs.records[0].exc_info)

    @params(0, 1, 100, 1000)
    def test_in_the_answer(self, after):
        class Large(RequestHandler):
            def do_GET(self, request):
                return Response(b"x" * 100_000)

        connection = MockConnection(GET, fail_after=after)
        with self.assertLogs("ownhands", "DEBUG") as logs:
            HTTPServer(handler=Large).on_connect(connection, None)
        debug, access = logs.records
        self.assertEqual((debug.levelname, access.name), ("DEBUG", "ownhands.access"))
        self.assertRegex(access.getMessage(), rf'"GET / HTTP/1\.1" 200 {after}$')  # and so far it came
        self.assertTrue(connection.is_closed)

    def test_before_the_answer(self):
        class Hinting(RequestHandler):
            def do_GET(self, request):
                self.send_informational(103)
                return "x"

        with self.assertLogs("ownhands", "DEBUG") as logs:
            HTTPServer(handler=Hinting).on_connect(MockConnection(GET, fail_after=0), None)
        self.assertNotIn("ERROR", [record.levelname for record in logs.records])

    @params(GET, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
    def test_one_that_takes_no_answer_is_no_error(self, octets):
        connection = MockConnection(octets, fail_after=0)
        with self.assertNoLogs("ownhands", "WARNING"):
            HTTPServer(handler=RequestHandler).on_connect(connection, None)
        self.assertEqual(connection.sent, b"")

    def test_an_end_between_requests_is_not_worth_a_line(self):
        connection = MockConnection(GET)
        with self.assertLogs("ownhands", "DEBUG") as logs:
            HTTPServer(handler=Pages).on_connect(connection, None)
        self.assertEqual([record.name for record in logs.records], ["ownhands.access"])
        self.assertEqual(len(parse_replies(connection.sent)), 1)


class AccessLog(unittest.TestCase):
    def test_a_line_for_each_answer(self):
        with self.assertLogs("ownhands.access", "INFO") as logs:
            session = Session(Pages)
            session.send(GET, b"\r\nGET /?\"\xff HTTP/1.1\r\n\r\n")
        good, bad = [record.getMessage() for record in logs.records]
        size = session.wire.sent.index(b"HTTP/1.1 400")
        self.assertRegex(good, rf'^192\.0\.2\.1 - - \[[^]]+\] "GET / HTTP/1\.1" 200 {size}$')
        self.assertRegex(bad, r'^192\.0\.2\.1 - - \[[^]]+\] "GET /\?\\x22\\xff HTTP/1\.1" 400 \d+$')

    def test_nothing_where_nobody_listens(self):
        with self.assertNoLogs("ownhands.access", "WARNING"):
            Session(Pages).send(GET)
