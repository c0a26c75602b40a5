"""Exchanges on one connection: what persists, in which order answers come, how content is awaited, refused, dropped."""
import socket
import tracemalloc
import unittest

from nose2.tools import params

from ownhands import HTTPError, HTTPServer, RequestHandler, Response
from ownhands.connection import wait_until_ready
from ownhands.testing import MockConnection, in_pieces, parse_replies

from .turns import GET, GET_CLOSE, Session, answering, post, statuses

BAD = b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"


class Echo(RequestHandler):
    """GET says which request of the connection it is, POST gives the content back; /refused never sees it."""

    def on_head(self, request):
        if request.path.startswith("/refused"):
            raise HTTPError(int(request.path[-3:]), "not that")
        if request.path == "/see":
            return Response.redirect("/other")
        return None

    def do_GET(self, request):
        return str(self._request_count)

    def do_POST(self, request):
        return Response(request.content)


def get(*fields: bytes, version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%b / HTTP/%b" % (method, version), b"Host: a", *fields]) + b"\r\n\r\n"


class Persistence(unittest.TestCase):
    @params(
        (get(), True, None),
        (get(version=b"1.2"), True, None),
        (get(b"Connection: foo, closed"), True, None),
        (get(b"Connection: close"), False, "close"),
        (get(b"Connection: foo, ClosE"), False, "close"),
        (get(b"Connection: keep-alive", b"Connection: close"), False, "close"),
        (get(version=b"1.0"), False, "close"),
        (get(b"Connection: Keep-Alive", version=b"1.0"), True, "keep-alive"),
        (get(b"Connection: keep-alive, close", version=b"1.0"), False, "close"),
        (get(method=b"HEAD"), True, None),
        (get(b"Connection: close", method=b"HEAD"), False, "close"),
        (get(b"Connection: keep-alive", method=b"OPTIONS", version=b"1.0"), True, "keep-alive"),  # a 204
    )
    def test_the_connection_goes_on_or_says_that_it_does_not(self, octets, persists, said):
        session = Session(Echo)
        session.send(octets)
        reply, = session.replies(octets.split()[0].decode())
        self.assertEqual(reply.fields.get("Connection"), said)
        self.assertEqual(session.is_over, not persists)

    def test_max_requests(self):
        session = Session(Echo, max_requests=2)
        session.send(GET, GET, GET)
        first, second = session.replies()
        self.assertEqual((first.fields.get("Connection"), second.fields.get("Connection")), (None, "close"))
        self.assertTrue(session.wire.is_shut_down)

    def test_a_server_that_stops(self):
        session = Session(Echo)
        session.send(GET)
        session.server.is_stopping = True
        session.send(GET)
        self.assertEqual(session.replies()[1].fields["Connection"], "close")
        self.assertTrue(session.is_over)

    @params("close", "Close", "foo, close")
    def test_a_handler_may_end_it(self, value):
        class Closing(RequestHandler):
            def do_GET(self, request):
                return Response("bye", connection=value)

        session = Session(Closing)
        session.send(GET + GET)
        reply, = session.replies()
        self.assertEqual(reply.fields.get_all("Connection")[0], "close")

    @params(10, 100_000)
    def test_a_handler_that_sets_close_connection_gets_its_answer_out(self, size):
        class Closing(RequestHandler):
            def do_GET(self, request):
                self.close_connection = True
                return Response(b"x" * size)

        session = Session(Closing, room=5)
        session.send(GET + GET)
        session.take()
        reply, = session.replies()
        self.assertEqual(len(reply.content), size)

    def test_idle(self):
        session = Session(Echo, room=5)
        self.assertTrue(session.handler.is_idle)
        session.send(GET)
        self.assertFalse(session.handler.is_idle)
        session.take()
        self.assertTrue(session.handler.is_idle)
        session.send(post(b"Content-Length: 5"))
        self.assertFalse(session.handler.is_idle)

    def test_one_whose_last_answer_is_on_its_way_is_not_idle(self):
        session = Session(Echo, room=5)
        session.send(BAD)
        self.assertFalse(session.handler.is_idle)
        session.take()
        self.assertFalse(session.handler.is_idle)  # the client may still read
        self.assertTrue(session.handler.is_lingering)

    def test_the_first_turn_is_not_taken_by_the_constructor(self):
        connection = MockConnection(GET)
        HTTPServer(handler=Echo).finish_request(connection, None)
        self.assertEqual(connection.sent, b"")


class Pipelining(unittest.TestCase):
    def test_answers_in_order(self):
        octets = GET + post(b"Content-Length: 5", body=b"hello") + post(CHUNKED, body=HELLO) + get(
            method=b"HEAD") + get(method=b"DELETE") + GET
        connection = MockConnection(octets)
        HTTPServer(handler=Echo).on_connect(connection, None)
        replies = parse_replies(connection.sent, "GET", "POST", "POST", "HEAD", "DELETE", "GET")
        self.assertEqual([(reply.status, reply.content) for reply in replies], [
            (200, b"1"), (200, b"hello"), (200, b"hello"), (200, b""),
            (405, b"405 Method Not Allowed: DELETE is not for this resource\n"), (200, b"6")])

    @params(1, 2, 3, 7, 50)
    def test_every_split_gives_the_same(self, size):
        octets = GET + post(b"Content-Length: 5", body=b"hello") + b"\r\n" + post(CHUNKED, body=HELLO) + GET
        connection = MockConnection(in_pieces(octets, size))
        HTTPServer(handler=Echo).on_connect(connection, None)
        self.assertEqual([reply.content for reply in parse_replies(connection.sent)],
                         [b"1", b"hello", b"hello", b"4"])

    @params(GET, post(b"Content-Length: 5", body=b"hello"), post(CHUNKED, body=HELLO), get(b"Expect: 100-continue"))
    def test_a_bad_request_behind_a_good_one_leaves_it_its_answer(self, good):
        session = Session(Echo)
        session.send(good + BAD + GET)
        self.assertEqual(statuses(session.replies()), [200, 400])

    def test_a_bad_request_behind_an_answer_that_is_blocked(self):
        session = Session(Echo, room=10)
        self.assertEqual(len(session.send(GET + BAD + GET)), 10)
        session.take()
        self.assertEqual(statuses(session.replies()), [200, 400])

    def test_blocked_output_pauses_the_pipeline(self):
        asked = []

        class Counting(Echo):
            def do_GET(self, request):
                asked.append(request)
                return "x"

        session = Session(Counting, room=10)
        session.send(GET * 3)
        session.send(GET)
        for _ in range(3):
            self.assertEqual((len(asked), len(session.wire.coming)), (1, 1))  # and nothing more is received
            self.assertTrue(session.handler.wants_write)
            session.take(10)
        session.take()
        self.assertEqual((len(asked), len(session.wire.coming)), (4, 0))
        self.assertFalse(session.handler.wants_write)
        self.assertEqual(len(session.replies()), 4)

    @params((16, 1), (17, 2), (32, 2), (100, 7))
    def test_many_are_answered_in_as_many_turns_as_leave_others_theirs(self, count, turns):
        session = Session(Echo)
        session.wire.coming.append(GET * count)
        for turn in range(turns):
            self.assertEqual((session.handler.wants_write, session.handler.is_idle), (turn > 0, turn == 0))
            session.handler.take_turn()
        self.assertEqual((session.handler.wants_write, len(session.replies())), (False, count))

    def test_the_half_of_one_more_waits_for_its_other_half(self):
        session = Session(Echo)
        session.send(GET * 16 + GET[:5])
        self.assertEqual((session.handler.wants_write, len(session.replies())), (False, 16))
        session.send(GET[5:])
        self.assertEqual(len(session.replies()), 17)

    def test_so_it_does_behind_a_second_turn(self):
        session = Session(Echo)
        session.wire.coming.extend([GET * 17 + GET[:5], GET[5:]])
        for _ in range(3):
            session.handler.take_turn()
        self.assertEqual((len(session.replies()), session.handler.is_idle), (18, True))

    def test_a_client_that_takes_its_answers_leaves_others_their_turns(self):
        session = Session(Echo)
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        ours.setblocking(False)
        session.handler.connection = ours
        theirs.sendall(GET * 20)
        session.handler.take_turn()
        self.assertEqual((session.handler._request_count, session.handler.wants_write), (16, True))

    @params(b"\r\n", b"\r\n\r\n", GET[:-1])
    def test_only_whole_requests_wait_for_a_turn(self, rest):
        session = Session(Echo)
        session.wire.coming.append(GET * 16 + rest)
        session.handler.take_turn()
        self.assertEqual((session.handler.wants_write, session.handler.is_idle), (False, True))

    def test_a_client_that_takes_nothing_is_held_to_its_pace(self):
        session = Session(answering(b"x" * 2000))
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        ours.setblocking(False)
        session.handler.connection = ours
        theirs.sendall(GET * 1000)
        while not session.handler.wants_write or wait_until_ready(ours, True, 0):
            session.handler.take_turn()
        self.assertEqual(session.handler.deadline, session.clock.now + 10 / 8)  # a first look at what it has taken

    def test_nothing_is_received_while_many_wait_for_their_turn(self):
        session = Session(Echo)
        session.wire.coming.extend([GET * 20, GET])
        session.handler.take_turn()
        session.handler.take_turn()
        self.assertEqual((len(session.replies()), len(session.wire.coming)), (20, 1))
        session.handler.take_turn()
        self.assertEqual((len(session.replies()), len(session.wire.coming)), (21, 0))

    def test_those_that_wait_for_their_turn_are_refused_where_no_thread_is_free(self):
        session = Session(Echo)
        session.wire.coming.extend([GET * 20, GET])
        session.handler.take_turn()
        session.handler.refuse_turn()
        self.assertEqual(statuses(session.replies()), [200] * 16 + [503])

    def test_nothing_behind_the_last_request_is_processed(self):
        session = Session(Echo)
        session.send(GET_CLOSE + GET)
        self.assertEqual(statuses(session.replies()), [200])
        self.assertTrue(session.wire.is_shut_down)

    def test_a_client_that_has_ended_its_side_gets_its_answers(self):
        session = Session(Echo, room=10)
        session.send(GET * 2, b"")
        session.take()
        self.assertEqual(statuses(session.replies()), [200, 200])
        self.assertTrue(session.is_over)

    @params(b"GET", GET[:-1], post(b"Content-Length: 5")[:-1])
    def test_a_head_cut_short_is_not_processed(self, octets):
        session = Session(Echo)
        self.assertEqual(session.send(octets, b""), b"")
        self.assertTrue(session.is_over)

    @params(post(b"Content-Length: 5", body=b"hell"), post(CHUNKED, body=HELLO[:-1]), post(CHUNKED))
    def test_a_content_cut_short_is_not_processed(self, octets):
        session = Session(Echo)
        session.send(octets, b"")
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (400, "close"))
        self.assertTrue(session.is_over)

    @params(b"HEAD / HTTP/1.1\r\n\r\n", b"\r\n\r\nHEAD / HTTP/1.1\r\nA : b\r\n\r\n")
    def test_a_refusal_of_head_has_no_content_either(self, octets):
        session = Session(Echo)
        sent = session.send(octets)
        self.assertTrue(sent.startswith(b"HTTP/1.1 400 ") and sent.endswith(b"\r\n\r\n"), sent)

    def test_what_cannot_be_read_is_not_answered_in_chunks(self):
        class Styled(Echo):
            def on_error(self, request, error):
                return Response(iter([b"a ", b"page"]), error.status)

        session = Session(Styled)
        session.send(BAD)
        reply, = session.replies()
        self.assertNotIn("Transfer-Encoding", reply.fields)
        self.assertEqual(reply.content, b"a page")


class Ends(unittest.TestCase):
    """A connection that is closed while octets have come that nobody read is reset, and with it the answer."""

    CLOSING = post(b"Content-Length: 1", body=b"a", version=b"1.0")

    @params((CLOSING, True), (GET_CLOSE, False))
    def test_a_line_end_behind_a_content_is_read(self, octets, is_read):
        session = Session(Echo)
        session.wire.coming.extend([octets, b"\r\n"])
        session.handler.take_turn()
        self.assertEqual((session.is_over, session.wire.is_shut_down), (not is_read, is_read))

    @params((CLOSING, False), (GET, False), (GET, True))
    def test_nothing_is_waited_for_where_nothing_has_come(self, octets, is_stopping):
        session = Session(Echo)
        session.server.is_stopping = is_stopping
        session.send(octets)
        self.assertEqual(session.is_over, is_stopping or octets == self.CLOSING)

    def test_what_was_sent_as_the_server_stops_is_read(self):
        session = Session(Echo)
        session.server.is_stopping = True
        session.wire.coming.extend([GET, GET])
        session.handler.take_turn()
        self.assertEqual((session.is_over, session.wire.is_shut_down), (False, True))

    @params((b"x" * 100, True), (b"x" * 100_000, False), ([b"x" * 100_000], False))
    def test_a_large_answer_has_time_to_arrive(self, content, is_over):
        session = Session(answering(content))
        session.send(GET_CLOSE)
        self.assertEqual((session.is_over, session.wire.is_shut_down), (is_over, not is_over))
        session.send(b"")
        self.assertTrue(session.is_over)


class Contents(unittest.TestCase):
    @params(
        (post(b"Content-Length: 0"), b""),
        (post(b"Content-Length: 5", body=b"hello"), b"hello"),
        (post(CHUNKED, body=b"0\r\n\r\n"), b""),
        (post(CHUNKED, body=HELLO), b"hello"),
        (post(CHUNKED, body=b"1;a=b\r\nh\r\n004\r\nello\r\n00\r\nX-A: b\r\n\r\n"), b"hello"),
    )
    def test_every_split(self, octets, content):
        for size in (1, 2, 3, 5, 11, 1000):
            connection = MockConnection(in_pieces(octets + GET, size))
            HTTPServer(handler=Echo).on_connect(connection, None)
            self.assertEqual([reply.content for reply in parse_replies(connection.sent)], [content, b"2"])

    def test_a_stream_is_closed_with_the_answer_though_nothing_came(self):
        streams = []

        class Kept(RequestHandler):
            def do_GET(self, request):
                streams.append(request.stream)
                return "x"

        Session(Kept).send(GET)
        self.assertTrue(streams[0].closed)

    @params(9, 10, 11, 100)
    def test_a_large_one_is_in_a_file_and_looks_the_same(self, size):
        class Kept(RequestHandler):
            def do_POST(self, request):
                first = request.stream.read(3)
                size = request.stream.seek(0, 2)
                request.stream.seek(3)
                return Response(b"%b %b %d" % (first, request.stream.read(2), size))

            def do_PUT(self, request):
                return Response(request.stream)

        body = (b"abcdefghij" * 10)[:size]
        for method, content in ((b"POST", b"abc de %d" % size), (b"PUT", body)):
            session = Session(Kept, max_memory_size=10)
            session.send(get(b"Content-Length: %d" % size, method=method) + body + get(method=b"OPTIONS"))
            first, second = session.replies()
            self.assertEqual((first.content, second.status), (content, 204))

    def test_one_that_dribbles_in_costs_its_octets(self):
        session = Session(Echo)
        content = bytes(range(256)) * 40
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        session.send(post(b"Content-Length: %d" % len(content)))
        before = tracemalloc.get_traced_memory()[0]
        session.send(*in_pieces(content[:-1], 3))
        self.assertLess(tracemalloc.get_traced_memory()[0] - before, 5 * len(content))
        session.send(content[-1:])
        self.assertEqual(session.replies()[0].content, content)

    def test_the_file_is_closed_with_the_exchange(self):
        streams = []

        class Kept(RequestHandler):
            def do_POST(self, request):
                streams.append(request.stream)
                return Response(b"x" * 100)

        session = Session(Kept, max_memory_size=10, room=50)
        session.send(post(b"Content-Length: 20", body=b"y" * 20))
        self.assertFalse(streams[0].closed)
        session.take()
        self.assertTrue(streams[0].closed)

    def test_a_full_disk_is_our_failure_and_is_logged(self):
        session = Session(Echo, max_memory_size=10)
        session.send(post(b"Content-Length: 30", body=b"y" * 20))
        gathering = session.handler._reception.gathering

        def write(octets):
            raise OSError(28, "No space left on device")

        gathering._file.close()
        gathering._file = type("Full", (), {"write": staticmethod(write), "close": staticmethod(lambda: write(b""))})()
        with self.assertLogs("ownhands", "ERROR") as logs:
            session.send(b"y" * 5)
        self.assertEqual(statuses(session.replies()), [500])
        self.assertIs(logs.records[0].exc_info[0], OSError)

    def test_a_stream_looked_at_too_early_does_not_stay_empty(self):
        class Early(RequestHandler):
            def on_head(self, request):
                request.stream.read()

            def do_POST(self, request):
                return Response(request.stream.read())

        session = Session(Early)
        session.send(post(b"Content-Length: 5", body=b"hello"))
        self.assertEqual(session.replies()[0].content, b"hello")

    def test_trailers_less_those_that_may_not_stand_there(self):
        class Trailers(RequestHandler):
            def do_POST(self, request):
                return Response(repr(request.trailers.pairs))

        session = Session(Trailers)
        session.send(post(CHUNKED, body=b"0\r\nX-A: b\r\nContent-Length: 9\r\nhost: c\r\nx-a:\r\n\r\n") + GET)
        first, second = session.replies()
        self.assertEqual(first.text, "(('X-A', 'b'), ('x-a', ''))")
        self.assertEqual(second.status, 405)

    @params(b"z\r\n", b"5\r\nhelloX", b"5\nhello", b"0\r\nno colon\r\n\r\n", b"-0\r\n\r\n", b"5\r\nhello\r\n\r\n")
    def test_a_malformed_one_ends_the_connection(self, body):
        session = Session(Echo)
        session.send(post(CHUNKED, body=body) + GET)
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (400, "close"))
        self.assertTrue(session.wire.is_shut_down)
