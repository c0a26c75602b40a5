"""Contents that are not in memory: requests read as they come, answers made piece by piece, files, slow readers."""
import io
import os
import selectors
import socket
import tempfile
import unittest
from unittest.mock import patch

from nose2.tools import params

from ownhands import HTTPError, HTTPServer, RequestHandler, Response
from ownhands.connection import wait_until_ready
from ownhands.content import PIECE_SIZE, TURN_PIECES, in_chunks
from ownhands.testing import MockClient, MockConnection, in_pieces, parse_replies

from .turns import GET, GET_CLOSE, Session, Source, answering, post, statuses

CHUNKED = b"Transfer-Encoding: chunked"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")


class Reading(RequestHandler):
    """What a path asks for: all of a content, its first octets, none of it, or it back piece by piece."""

    stream_content = True

    def do_GET(self, request):
        return "x"

    def do_POST(self, request):
        return getattr(self, request.path[1:] or "all")(request)

    def all(self, request):
        return Response(request.content)

    def none(self, request):
        return "unread"

    def first(self, request):
        return Response(request.stream.read(2))

    def back(self, request):
        return Response(iter(lambda: request.stream.read1(100), b""))

    def file(self, request):
        return Response(request.stream)

    def trailers(self, request):
        content = request.stream.read()
        return Response(f"{content} {dict(request.trailers)}")

    def stubborn(self, request):
        for _ in range(2):
            try:
                request.stream.read()
            except Exception:
                pass
        return "never mind"

    def answers_first(self, request):
        def pieces():
            yield b"before "
            yield request.stream.read()
        return Response(pieces())


class Requests(unittest.TestCase):
    @params(
        (post(b"Content-Length: 5", body=b"hello"), b"hello"),
        (post(CHUNKED, body=HELLO), b"hello"),
        (post(b"Content-Length: 5", target=b"/back", body=b"hello"), b"hello"),
        (post(CHUNKED, target=b"/back", body=HELLO), b"hello"),
        (post(CHUNKED, target=b"/file", body=HELLO), b"hello"),
        (post(b"Content-Length: 5", target=b"/first", body=b"hello"), b"he"),
        (post(b"Content-Length: 5", target=b"/none", body=b"hello"), b"unread"),
        (post(CHUNKED, target=b"/trailers", body=HELLO[:-2] + b"X-A: b\r\nHost: c\r\n\r\n"),
         b"b'hello' {'x-a': 'b'}"),
        (post(b"Content-Length: 0"), b""),
        (post(), b""),
        (GET, b"x"),
    )
    def test_every_split(self, octets, content):
        for size in (1, 2, 3, 5, 11, 1000):
            connection = MockConnection(in_pieces(octets + GET, size))
            HTTPServer(handler=Reading).on_connect(connection, None)
            self.assertEqual([reply.content for reply in parse_replies(connection.sent)], [content, b"x"])

    @params(b"/none", b"/first", b"/back", b"/stubborn")
    def test_what_is_not_read_never_becomes_a_request(self, target):
        for octets in (post(b"Content-Length: 99999", target=target, body=GET * 100),
                       post(CHUNKED, target=target, body=b"ffff\r\n" + GET * 100)):
            connection = MockConnection([octets, GET, GET])
            with self.assertLogs("ownhands", "DEBUG"):
                HTTPServer(handler=Reading).on_connect(connection, None)
            self.assertEqual(connection.sent.count(b"HTTP/1.1 "), 1)

    @params((b"X\r\n", b"0\r\n\r\n" + GET), (b"64\r\n" + b"x" * 100, b"\r\n0\r\n\r\n" + GET))
    def test_what_was_refused_once_stays_refused(self, *pieces):
        connection = MockConnection([post(CHUNKED, target=b"/stubborn"), *pieces])
        HTTPServer(handler=Reading, max_content_size=50).on_connect(connection, None)
        reply, = parse_replies(connection.sent)
        self.assertEqual((reply.content, reply.fields["Connection"]), (b"never mind", "close"))

    @params(
        (post(b"Content-Length: 99999", target=b"/none"), "close"),
        (post(b"Content-Length: 999", target=b"/none"), None),  # awaited and dropped
        (post(b"Content-Length: 999", b"Expect: 100-continue", target=b"/none"), "close"),
        (post(CHUNKED, target=b"/none"), "close"),
        (post(CHUNKED, target=b"/none", body=b"0\r\n\r\n"), None),
    )
    def test_the_answer_tells_whether_the_connection_goes_on(self, octets, said):
        session = Session(Reading)
        session.send(octets)
        reply, = session.replies()
        self.assertEqual((reply.content, reply.fields.get("Connection")), (b"unread", said))
        self.assertEqual(session.wire.is_shut_down, said == "close")

    @params(("POST", [b"unread"]), ("POST", (b"unread",)), ("POST", None), ("HEAD", iter([b"unread"])))
    def test_so_does_one_for_which_no_more_is_read(self, method, content):
        with tempfile.TemporaryFile() as file:
            file.write(b"unread")
            file.seek(0)

            class Refusing(RequestHandler):
                stream_content = True

                def on_request(self, request):
                    return Response(file if content is None else content, 403)

            session = Session(Refusing)
            session.send(post(b"Content-Length: 99999").replace(b"POST", method.encode()))
        self.assertEqual(session.replies(method)[0].fields.get("Connection"), "close")

    def test_a_file_that_is_closed_is_500(self):
        class Closing(RequestHandler):
            stream_content = True

            def do_POST(self, request):
                with tempfile.TemporaryFile() as file:
                    return Response(file)

        session = Session(Closing)
        with self.assertLogs("ownhands", "ERROR"):
            session.send(post(b"Content-Length: 9"))
        self.assertEqual(statuses(session.replies()), [500])

    def test_a_short_rest_is_dropped(self):
        session = Session(Reading)
        session.send(post(b"Content-Length: %d" % (2 * len(GET)), target=b"/none"), GET, GET, GET)
        self.assertEqual([reply.content for reply in session.replies()], [b"unread", b"x"])

    @params(
        (post(b"Content-Length: 9", body=b"hel"), 400),
        (post(CHUNKED, body=b"5\r\nhel"), 400),
        (post(CHUNKED, body=b"5\r\nhelloX"), 400),
        (post(CHUNKED, target=b"/back", body=b"zz\r\n"), 400),
        (post(CHUNKED, body=b"zz\r\n"), 400),
    )
    def test_one_that_is_cut_short_or_malformed(self, octets, status):
        for pieces in ([octets], in_pieces(octets)):
            connection = MockConnection(pieces)
            with self.assertNoLogs("ownhands", "ERROR"):
                HTTPServer(handler=Reading).on_connect(connection, None)
            reply, = parse_replies(connection.sent)
            self.assertEqual((reply.status, reply.fields["Connection"]), (status, "close"))

    def test_one_that_is_cut_short_behind_the_head_of_the_answer(self):
        connection = MockConnection([post(b"Content-Length: 9", target=b"/answers_first"), b"abc"])
        with self.assertNoLogs("ownhands", "ERROR"):
            HTTPServer(handler=Reading).on_connect(connection, None)
        self.assertTrue(connection.sent.endswith(b"7\r\nbefore \r\n"))

    @params(
        (post(b"Expect: 100-continue", b"Content-Length: 5"), True),
        (post(b"Expect: 100-continue", CHUNKED, target=b"/back"), True),
        (post(b"Expect: 100-continue", b"Content-Length: 5", target=b"/none"), False),
        (post(b"Expect: 100-continue", b"Content-Length: 5", version=b"1.0"), False),
        (post(b"Content-Length: 5"), False),
        (post(b"Expect: 100-continue", b"Content-Length: 5", target=b"/answers_first"), False),
    )
    def test_it_is_invited_at_the_first_read(self, octets, is_invited):
        connection = MockConnection([octets, b"5\r\nhello\r\n0\r\n\r\n" if CHUNKED in octets else b"hello"])
        HTTPServer(handler=Reading).on_connect(connection, None)
        self.assertEqual(connection.sent.count(CONTINUE), is_invited)
        self.assertEqual(connection.sent.startswith(CONTINUE), is_invited)

    def test_nothing_is_read_once_the_answer_is_made(self):
        errors = []

        class Late(RequestHandler):
            stream_content = True

            def do_POST(self, request):
                return Response(b"abc", content_length="7")

            def on_error(self, request, error):
                try:
                    request.stream.read()
                except ValueError as late:
                    errors.append(str(late))
                return Response("no", 500)

        session = Session(Late)
        with self.assertLogs("ownhands", "ERROR"):
            session.send(post(b"Content-Length: 5"))
        self.assertEqual((statuses(session.replies()), len(errors)), ([500], 1))

    def test_on_head_refuses_before(self):
        class Refusing(Reading):
            def on_head(self, request):
                raise HTTPError(413)

        session = Session(Refusing)
        session.send(post(b"Content-Length: 5", b"Expect: 100-continue"))
        self.assertEqual([(reply.status, reply.interim) for reply in session.replies()], [(413, ())])


class RequestPace(unittest.TestCase):
    """The handler's thread waits for the content; only what it waits counts against the client."""

    def post(self, waits: list, before_reading: float = 0, target: bytes = b"/all") -> tuple[Session, list[float]]:
        """`waits`: what comes after how many seconds of waiting, None being nothing until the time is over."""
        class Later(Reading):
            def do_POST(self, request):
                self.server.clock.now += before_reading
                return super().do_POST(request)

        session = Session(Later)
        asked = []

        def wait(connection, for_writing, timeout):
            asked.append(timeout)
            seconds, octets = waits.pop(0) if waits else (timeout, None)
            session.clock.now += min(seconds, timeout)
            if octets is None or seconds > timeout:
                return False
            session.wire.coming.append(octets)
            return True

        with patch("ownhands.connection.wait_until_ready", wait):
            session.send(post(b"Content-Length: 1000", target=target))
        return session, asked

    def test_in_time(self):
        session, asked = self.post([(4, b"x" * 900), (4, b"x" * 100)])
        self.assertEqual(len(session.replies()[0].content), 1000)
        self.assertEqual(asked[0], 5)

    def test_too_late(self):
        session, _ = self.post([(4, b"x" * 10)])
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (408, "close"))
        self.assertTrue(session.wire.is_shut_down)

    def test_the_time_of_the_handler_does_not_count(self):
        session, asked = self.post([(1, b"x" * 1000)], before_reading=100)
        self.assertEqual(statuses(session.replies()), [200])
        self.assertEqual(asked, [5])

    def test_what_a_mock_never_sends_comes_too_slowly(self):
        connection = MockConnection([post(b"Content-Length: 5"), BlockingIOError()])
        HTTPServer(handler=Reading).on_connect(connection, None)
        self.assertEqual(statuses(parse_replies(connection.sent)), [408])

    def test_it_is_asked_for_once_more_in_vain(self):
        session, _ = self.post([], target=b"/stubborn")
        reply, = session.replies()
        self.assertEqual((reply.content, reply.fields["Connection"]), (b"never mind", "close"))


class Iterables(unittest.TestCase):
    @params((), (b"",), (b"one",), (b"", b"one", b"", b"two", b""), (bytearray(b"one"), memoryview(b"two")))
    def test_in_chunks(self, *pieces):
        source = Source(*pieces)
        session = Session(answering(source))
        session.send(GET + HEAD)
        first, second = session.replies("GET", "HEAD")
        self.assertEqual((first.content, first.fields["Transfer-Encoding"]), (b"".join(pieces), "chunked"))
        self.assertNotIn("Content-Length", first.fields)
        self.assertFalse(session.is_over)

    def test_to_http_10_until_the_end(self):
        for connection in (b"close", b"keep-alive"):
            source = Source(b"one", b"two")
            session = Session(answering(source))
            session.send(b"GET / HTTP/1.0\r\nConnection: " + connection + b"\r\n\r\n" + GET)
            reply, = session.replies()
            self.assertEqual((reply.content, reply.fields["Connection"]), (b"onetwo", "close"))
            self.assertNotIn("Transfer-Encoding", reply.fields)
            self.assertEqual(source.closed, 1)

    @params((b"1.0", {}, ValueError(), True), (b"1.0", {}, b"two", False), (b"1.1", {}, ValueError(), False),
            (b"1.0", {"content_length": 6}, ValueError(), False))
    def test_no_client_takes_what_was_cut_for_the_whole(self, version, fields, second, is_reset):
        options = []
        with self.assertLogs("ownhands", "INFO"):  # the error, or the access
            session = Session(answering(Source(b"one", second), **fields))
            session.wire.setsockopt = lambda *arguments: options.append(arguments[:2])
            session.send(b"GET / HTTP/%b\r\nHost: a\r\n\r\n" % version)
        self.assertEqual(options, [(socket.SOL_SOCKET, socket.SO_LINGER)] * is_reset)

    @params(b"1.0", b"1.1")
    def test_with_its_length(self, version):
        source = Source(b"one", b"", b"two")
        session = Session(answering(source, content_length=6))
        session.send(b"GET / HTTP/%b\r\nHost: a\r\nConnection: keep-alive\r\n\r\n" % version)
        reply, = session.replies()
        self.assertEqual((reply.content, reply.fields["Content-Length"]), (b"onetwo", "6"))
        self.assertEqual((session.is_over, source.closed), (False, 1))

    @params(
        (Source(b"one", b"two"), 5, b"one"),
        (Source(b"one", b"two"), 7, b"onetwo"),
        (Source(b"", b"one"), 2, b""),
        (Source(), 1, b""),
    )
    def test_with_a_wrong_length_the_client_can_tell(self, source, length, sent):
        session = Session(answering(source, content_length=length))
        with self.assertLogs("ownhands", "ERROR") as logs:
            octets = session.send(GET + GET)
        self.assertEqual(octets.partition(b"\r\n\r\n")[2], sent)
        self.assertLess(len(sent), length)
        self.assertEqual(len(logs.records), 1)
        self.assertEqual((session.is_over, source.closed), (True, 1))

    @params(
        (Source(b"three"), dict(content_length=2)),
        (Source(ValueError("the secret")), {}),
        (Source(OSError("the secret")), dict(content_length=5)),
        (Source("text"), {}),
        (Source(7), {}),
        (Source(b"x"), dict(content_length="many")),
        (Source(b"x"), dict(content_length=["1", "1"])),
    )
    def test_what_fails_before_the_head_is_out_is_500(self, source, fields):
        session = Session(answering(source, **fields))
        with self.assertLogs("ownhands", "ERROR") as logs:
            session.send(GET)
        self.assertEqual((statuses(session.replies()), len(logs.records)), ([500], 1))
        self.assertNotIn(b"secret", session.wire.sent)
        self.assertEqual((session.is_over, source.closed), (False, 1))

    def test_an_http_error_before_the_head_is_out(self):
        source = Source(HTTPError(404))
        session = Session(answering(source))
        with self.assertNoLogs("ownhands", "ERROR"):
            session.send(GET)
        self.assertEqual((statuses(session.replies()), source.closed), ([404], 1))

    @params(ValueError(), OSError(), BlockingIOError(), BrokenPipeError(), SystemExit(), "text", 7, HTTPError(404))
    def test_what_fails_midway_ends_without_a_last_chunk(self, failure):
        source = Source(b"one", failure, b"two")
        session = Session(answering(source))
        with self.assertLogs("ownhands", "ERROR") as logs:
            octets = session.send(GET + GET)
        self.assertTrue(octets.endswith(b"\r\n\r\n3\r\none\r\n"))
        self.assertEqual(len(logs.records), 1)
        self.assertIsNotNone(logs.records[0].exc_info)
        self.assertEqual((session.is_over, source.closed), (True, 1))

    @params(HEAD, GET)
    def test_without_content_it_is_closed_unasked(self, octets):
        source = Source(b"one")
        session = Session(answering(source, 200 if octets == HEAD else 304))
        session.send(octets + octets)
        self.assertEqual((source.asked, source.closed), (0, 2))

    def test_a_generator_ends_where_the_client_leaves(self):
        ends = []

        def pieces():
            try:
                while True:
                    yield b"x" * 1000
            finally:
                ends.append("closed")

        connection = MockConnection(GET, fail_after=5000)
        HTTPServer(handler=answering(pieces())).on_connect(connection, None)
        self.assertEqual(ends, ["closed"])

    def test_a_close_that_fails_is_logged_and_the_connection_goes_on(self):
        class Failing(Source):
            def close(self):
                raise ValueError("cannot close")

        session = Session(answering(Failing(b"one")))
        with self.assertLogs("ownhands", "ERROR") as logs:
            session.send(GET)
        self.assertEqual((len(logs.records), session.is_over), (1, False))

    def test_a_piece_may_be_used_again_once_it_is_out(self):
        def pieces():
            buffer = bytearray()
            for letter in b"abc":
                buffer.clear()
                buffer += bytes([letter]) * 3
                yield buffer

        for fields in ({}, dict(content_length=9)):
            reply = MockClient(HTTPServer(handler=answering(pieces(), **fields)))()
            self.assertEqual(reply.content, b"aaabbbccc")


class Chunks(unittest.TestCase):
    def test_have_no_last_one_behind_an_error_however_often_they_are_asked_for(self):
        chunks = in_chunks(Source(b"a", ValueError()))
        self.assertEqual(next(chunks), b"1\r\na\r\n")
        self.assertRaises(ValueError, next, chunks)
        self.assertEqual(list(chunks), [])


class Turns(unittest.TestCase):
    @params((b"x" * 200_000, b"", {}, False), (b"x" * 200_000, GET, {}, True),
            ([b"x" * 200_000, b"y"], b"", {}, True), (io.BytesIO(b"x" * 200_000), b"", {}, True),
            (b"x" * 200_000, b"", {"finish": RequestHandler.finish}, False),
            (b"x" * 200_000, b"", {"finish": lambda self: None}, True),
            (b"x" * 200_000, b"", {"log_exchange": lambda self, *_: None}, True))
    def test_need_a_thread_of_those_who_run_the_programs_code(self, content, more, own, needs_thread):
        session = Session(type("Own", (answering(content),), own), room=1000)
        self.assertTrue(session.handler.needs_thread)
        session.wire.coming.append(GET + more)
        session.handler.take_turn()
        self.assertEqual((session.handler.wants_write, session.handler.needs_thread), (True, needs_thread))

    @params((False, False), (True, True))
    def test_that_read_a_file_need_a_thread_if_it_is_a_pipe(self, is_pipe, needs_thread):
        if is_pipe:
            reader, writer = os.pipe()
            os.write(writer, b"x" * PIECE_SIZE)  # or reading would wait for more
            self.addCleanup(os.close, writer)
            file = open(reader, "rb")  # closed with the answer
        else:
            file = tempfile.TemporaryFile()  # over a wire that has no descriptor it is read, not copied
            file.write(b"x" * 100_000)
            file.seek(0)
        session = Session(answering(file), room=1000)
        self.addCleanup(session.handler.abandon)
        session.wire.coming.append(GET)
        session.handler.take_turn()
        self.assertEqual((session.handler.wants_write, session.handler.needs_thread), (True, needs_thread))

    def test_small_pieces_leave_others_their_turns(self):
        source = Source(*[b"x"] * 100)
        session = Session(answering(source))
        session.wire.coming.append(GET)
        session.handler.take_turn()
        self.assertEqual((source.asked, session.handler.wants_write), (TURN_PIECES, True))
        session.take()
        self.assertEqual(session.replies()[0].content, b"x" * 100)

    def test_a_handler_that_closes_while_pieces_are_sent_gets_all_of_them_out(self):
        class Closing(RequestHandler):
            def do_GET(self, request):
                return Response(self.pieces())

            def pieces(self):
                for _ in range(3):
                    self.close_connection = True
                    yield b"x" * 1000

        session = Session(Closing, room=500)
        session.send(GET + GET)
        session.take()
        self.assertEqual([len(reply.content) for reply in session.replies()], [3000])
        self.assertTrue(session.wire.is_shut_down)


class SlowReaders(unittest.TestCase):
    def test_a_piece_is_asked_for_when_the_last_is_out(self):
        source = Source(*[b"#" * 100] * 5)
        session = Session(answering(source), room=1)
        session.send(GET)
        while session.handler.wants_write:
            self.assertEqual(source.asked, min(session.wire.sent.count(b"#\r\n") + 1, 5))
            session.take(1)
        self.assertEqual((source.asked, source.closed), (5, 1))
        self.assertEqual(len(session.replies()[0].content), 500)

    @params(1, 7, 1000)
    def test_octet_by_octet(self, max_send):
        for content in (b"x" * 3000, b"x" * 70_000, Source(b"x" * 3000), io.BytesIO(b"x" * 3000)):
            connection = MockConnection(GET_CLOSE, max_send=max_send)
            HTTPServer(handler=answering(content)).on_connect(connection, None)
            reply, = parse_replies(connection.sent)
            self.assertIn(reply.content, (b"x" * 3000, b"x" * 70_000))

    def test_a_large_answer_lets_others_have_their_turn(self):
        session = Session(answering(b"x" * (3 << 20)))
        session.wire.coming.append(GET)
        session.handler.take_turn()
        self.assertTrue(session.handler.wants_write)
        session.take()
        self.assertEqual(len(session.replies()[0].content), 3 << 20)

    def test_a_client_that_takes_nothing_of_a_small_answer(self):
        session = Session(answering(b"small"), room=0)
        session.send(GET + GET)
        self.assertTrue(session.handler.wants_write)
        session.take()
        self.assertEqual([reply.content for reply in session.replies()], [b"small", b"small"])

    def test_one_to_whom_send_gives_nothing_back(self):
        class Plain:
            def __init__(self):
                self.sent, self.data = b"", [GET + HEAD + GET_CLOSE]

            def recv(self, size):
                return self.data.pop() if self.data else b""

            def send(self, data):
                self.sent += data

            def close(self):
                pass

        for content in (b"small", b"x" * 100_000, [b"pie", b"ces"]):
            connection = Plain()
            HTTPServer(handler=answering(content)).on_connect(connection)
            self.assertEqual(statuses(parse_replies(connection.sent, "GET", "HEAD")), [200] * 3)


class WaitTest(unittest.TestCase):
    @params((False, 10, True), (True, 10, True), (False, 0, False), (False, 1e10, True))
    def test_ready_or_not(self, for_writing, timeout, is_ready):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            if is_ready:
                theirs.send(b"x")
            self.assertIs(is_ready, wait_until_ready(ours, for_writing, timeout))

    @unittest.skipUnless(hasattr(selectors, "PollSelector"), "this system waits with select alone")
    def test_it_takes_no_descriptor(self):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            import resource  # where there is poll, there is this
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            self.assertTrue(wait_until_ready(ours, True, 10))
