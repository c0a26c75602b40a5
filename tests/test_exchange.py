"""Exchanges on one connection: what persists, in which order answers come, how content is awaited, refused, dropped."""
import unittest

from nose2.tools import params

from ownhands import HTTPError, HTTPServer, RequestHandler, Response
from ownhands.testing import MockConnection, in_pieces, parse_replies

from .turns import GET, GET_CLOSE, Session, post, statuses

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
        return str(self.requests)

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
        self.assertEqual(reply.fields.get_all("Connection"), ["close"])

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
        self.assertEqual((len(asked), len(session.wire.coming)), (1, 1))  # and nothing more is received
        self.assertTrue(session.handler.wants_write)
        session.take()
        self.assertEqual((len(asked), len(session.wire.coming)), (4, 0))
        self.assertFalse(session.handler.wants_write)
        self.assertEqual(len(session.replies()), 4)

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
        gathering = session.handler.gathering

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


class Expectations(unittest.TestCase):
    CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
    HEAD = (b"Expect: 100-Continue", b"Content-Length: 5")

    def test_a_content_is_invited_once(self):
        session = Session(Echo)
        self.assertEqual(session.send(post(*self.HEAD)), self.CONTINUE)
        self.assertEqual(session.send(b"he"), b"")
        session.send(b"llo")
        reply, = session.replies()
        self.assertEqual((len(reply.interim), reply.content), (1, b"hello"))

    def test_in_chunks_too(self):
        session = Session(Echo)
        self.assertEqual(session.send(post(b"Expect: 100-continue", CHUNKED)), self.CONTINUE)

    @params(
        post(*HEAD, body=b"h"),  # it is coming already
        post(*HEAD, body=b"hello"),
        post(*HEAD, version=b"1.0"),
        post(*HEAD, target=b"/refused/401"),
        post(*HEAD, target=b"/refused/413"),
        post(*HEAD, target=b"/see"),
        post(HEAD[0], b"Content-Length: 99999999999"),
        post(HEAD[0], b"Content-Length: 0"),
        post(HEAD[0]),
    )
    def test_it_is_not_invited(self, octets):
        self.assertNotIn(b" 100 ", Session(Echo).send(octets))

    def test_it_is_invited_only_after_on_head(self):
        seen = []

        class Asked(Echo):
            def on_head(self, request):
                seen.append(self.connection.sent)

        Session(Asked).send(post(*self.HEAD))
        self.assertEqual(seen, [b""])

    @params(b"the-unexpected", b"100-continue, more", b"100-continue;q=1")
    def test_another_expectation(self, value):
        session = Session(Echo)
        session.send(post(b"Expect: " + value, b"Content-Length: 5"))
        self.assertEqual(statuses(session.replies()), [417])


class Refusals(unittest.TestCase):
    @params((b"/refused/401", 401), (b"/refused/404", 404), (b"/refused/413", 413), (b"/see", 303))
    def test_what_has_come_of_the_content_is_dropped(self, target, status):
        for body in (post(b"Content-Length: %d" % len(GET), target=target, body=GET),
                     post(CHUNKED, target=target, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(GET), GET))):
            session = Session(Echo)
            session.send(body + GET)
            self.assertEqual(statuses(session.replies()), [status, 200])

    def test_a_short_rest_is_awaited_and_dropped(self):
        session = Session(Echo)
        session.send(post(b"Content-Length: %d" % (2 * len(GET)), target=b"/refused/404"))
        self.assertEqual(statuses(session.replies()), [404])
        session.send(GET, GET, GET)
        self.assertEqual(statuses(session.replies()), [404, 200])

    @params(
        (b"Content-Length: 70000",),  # too long to be read for nothing
        (CHUNKED,),  # who knows how long
        (b"Content-Length: 50", b"Expect: 100-continue"),  # it may never come
    )
    def test_else_the_connection_ends(self, *fields):
        session = Session(Echo)
        session.send(post(*fields, target=b"/refused/404"))
        session.send(GET * 2)
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (404, "close"))
        self.assertTrue(session.wire.is_shut_down)

    def test_a_request_without_content_is_refused_too(self):
        session = Session(Echo)
        session.send(GET.replace(b" / ", b" /refused/403 ") + GET)
        self.assertEqual(statuses(session.replies()), [403, 200])

    def test_on_head_is_called_once_for_each_request(self):
        heads = []

        class Counting(Echo):
            def on_head(self, request):
                heads.append((request.method, request.content))

        session = Session(Counting)
        session.send(*in_pieces(GET + post(b"Content-Length: 5", body=b"hello") + post(CHUNKED, body=HELLO)))
        self.assertEqual(heads, [("GET", b""), ("POST", b""), ("POST", b"")])
        self.assertEqual(statuses(session.replies()), [200, 200, 200])

    def test_the_dropped_content_may_be_malformed(self):
        session = Session(Echo)
        session.send(post(CHUNKED, target=b"/refused/404", body=b"zz\r\n") + GET)
        self.assertEqual(len(session.replies()), 1)


class LingeringClose(unittest.TestCase):
    @params(BAD, post(b"Content-Length: 99999999999"), post(CHUNKED, body=b"x\r\n"), GET_CLOSE + GET)
    def test_what_still_comes_is_drained(self, octets):
        session = Session(Echo)
        session.send(octets)
        sent = session.wire.sent
        self.assertTrue(session.wire.is_shut_down)
        session.send(*[b"x" * 1000] * 50)
        self.assertFalse(session.is_over)
        session.send(b"")
        self.assertTrue(session.is_over)
        self.assertEqual(session.wire.sent, sent)

    def test_a_connection_that_cannot_shut_down_is_closed_at_once(self):
        session = Session(Echo, can_shut_down=False)
        session.send(BAD)
        self.assertEqual((session.is_over, statuses(session.replies())), (True, [400]))

    def test_a_client_that_knew_of_the_end_is_not_waited_for(self):
        session = Session(Echo)
        session.send(GET_CLOSE)
        self.assertEqual((session.is_over, session.wire.is_shut_down), (True, False))

    def test_one_that_could_not_know_may_have_sent_more(self):
        session = Session(Echo, max_requests=1)
        session.send(GET)
        self.assertEqual((session.is_over, session.wire.is_shut_down), (False, True))


class Busy(unittest.TestCase):
    """refuse_turn: what the engine calls in place of a turn when no thread has been free for too long."""

    def refused(self, octets: bytes, before: bytes = b"") -> Session:
        session = Session(Echo)
        if before:
            session.send(before)
        session.wire.coming.append(octets)
        session.handler.refuse_turn()
        return session

    @params((GET, b""), (GET[:9], b""), (GET[9:], GET[:9]), (b"lo", post(b"Content-Length: 5", body=b"hel")))
    def test_503(self, octets, before):
        reply, = self.refused(octets, before).replies()
        self.assertEqual((reply.status, reply.fields["Retry-After"], reply.fields["Connection"]), (503, "10", "close"))

    def test_the_end_of_a_client_is_no_request(self):
        session = self.refused(b"")
        self.assertEqual((session.wire.sent, session.is_over), (b"", True))

    def test_nothing_has_come_after_all(self):
        session = Session(Echo)
        session.handler.refuse_turn()
        self.assertFalse(session.is_over)

    def test_an_answer_on_its_way_goes_on(self):
        session = Session(Echo, room=10)
        session.send(GET)
        session.handler.refuse_turn()
        session.take()
        self.assertEqual(statuses(session.replies()), [200])

    def test_a_client_that_was_refused_is_not_refused_again(self):
        session = self.refused(BAD)
        session.wire.coming.append(GET)
        session.handler.refuse_turn()
        self.assertEqual(statuses(session.replies()), [503])


class Informational(unittest.TestCase):
    class Hinting(RequestHandler):
        def do_GET(self, request):
            self.send_informational(103, link="</a.css>; rel=preload")
            self.send_informational(103, link="</b.css>; rel=preload")
            return "page"

    @params(10_000, 0, 1, 70)
    def test_early_hints_come_before_the_answer(self, room):
        session = Session(self.Hinting, room=room)
        session.send(GET + GET)
        session.take()
        for reply in session.replies():
            self.assertEqual([(head.status, head.pairs[0][1][:6]) for head in reply.interim],
                             [(103, "</a.cs"), (103, "</b.cs")])
            self.assertEqual(reply.content, b"page")

    def test_not_to_a_client_that_does_not_know_them(self):
        self.assertNotIn(b"103", Session(self.Hinting).send(get(version=b"1.0")).partition(b"\r\n")[0])

    @params(99, 101, 200)
    def test_no_other_status(self, status):
        class Wrong(RequestHandler):
            def do_GET(self, request):
                self.send_informational(status)

        session = Session(Wrong)
        with self.assertLogs("ownhands", "ERROR"):
            session.send(GET)
        self.assertEqual(statuses(session.replies()), [500])

    def test_not_inside_an_answer(self):
        class Late(RequestHandler):
            def do_GET(self, request):
                return Response(self.pieces())

            def pieces(self):
                yield b"a"
                self.send_informational(103)
                yield b"b"

        session = Session(Late)
        with self.assertLogs("ownhands", "ERROR") as logs:
            sent = session.send(GET)
        self.assertTrue(sent.endswith(b"1\r\na\r\n"))
        self.assertIs(logs.records[0].exc_info[0], RuntimeError)
