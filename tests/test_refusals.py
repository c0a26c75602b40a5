"""What is said before and instead of an answer: 100 and 103, refusals of a head or for want of threads, the end."""
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import HTTPError, ProtocolError, RequestHandler, Response
from ownhands.testing import in_pieces

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
        return str(self._request_count)

    def do_POST(self, request):
        return Response(request.content)


def get(*fields: bytes, version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    return b"\r\n".join([b"%b / HTTP/%b" % (method, version), b"Host: a", *fields]) + b"\r\n\r\n"


class SecureTargets(unittest.TestCase):
    ROWS = (b"GET https://a/b HTTP/1.1\r\nHost: a\r\n\r\n", b"POST HTTPS://a HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 5\r\n\r\nhello")

    @params(*ROWS)
    def test_are_refused_on_a_plain_connection(self, octets):
        session = Session(Echo)
        session.send(octets + GET)
        self.assertEqual(statuses(session.replies()), [421])

    @params(*ROWS)
    def test_are_served_on_a_secure_one(self, octets):
        session = Session(Echo)
        session.wire.getpeercert = lambda: None
        session.send(octets + GET)
        self.assertEqual(statuses(session.replies()), [200, 200])

    def test_on_head_is_asked_before(self):
        class Closed(Echo):
            def on_head(self, request):
                raise HTTPError(401, "who are you?")

        session = Session(Closed)
        session.wire.getpeercert = lambda: None
        session.send(self.ROWS[0])
        self.assertEqual(statuses(session.replies()), [401])


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

    def test_nothing_behind_the_last_request_is_processed_later_either(self):
        asked = []

        class Counting(Echo):
            def do_GET(self, request):
                asked.append(request)
                return "x"

        session = Session(Counting)
        session.send(GET_CLOSE + GET, GET, GET)
        self.assertEqual(len(asked), 1)

    @params(b"Content-Length: 1000000", CHUNKED)
    def test_a_long_content_that_nobody_has_read_is_drained_too(self, field):
        class Refusing(RequestHandler):
            stream_content = True

            def do_POST(self, request):
                return Response(iter([b"unread"]))

        session = Session(Refusing)
        session.send(post(field))
        self.assertEqual((statuses(session.replies()), session.wire.is_shut_down), ([200], True))

    def test_a_refused_content_that_has_not_come_is_waited_for(self):
        session = Session(Echo)
        session.send(post(b"Connection: close", b"Content-Length: 9", target=b"/refused/403"))
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
        session = Session(Echo, head_timeout=10)
        session.clock.now += 10
        session.handler.refuse_turn()
        self.assertFalse(session.is_over)
        self.assertEqual(session.handler.deadline, session.clock.now + 10)  # the time in line was not the client's

    def test_an_answer_on_its_way_goes_on(self):
        session = Session(Echo, room=10)
        session.send(GET)
        session.handler.refuse_turn()
        session.take()
        self.assertEqual(statuses(session.replies()), [200])

    def test_an_answer_that_waits_for_a_thread_is_not_too_slow(self):
        session = Session(Echo, room=10, send_timeout=10)
        session.send(GET)
        for _ in range(3):
            session.clock.now += 10
            session.handler.refuse_turn()
            self.assertGreater(session.handler.deadline, session.clock.now)

    def test_a_client_that_was_refused_is_not_refused_again(self):
        session = self.refused(BAD)
        session.wire.coming.append(GET)
        session.handler.refuse_turn()
        self.assertEqual(statuses(session.replies()), [503])

    def test_nor_is_one_whose_request_has_been_answered(self):
        session = Session(Echo)
        session.send(post(b"Content-Length: 5", target=b"/refused/403"))
        session.wire.coming.append(b"hello")
        session.handler.refuse_turn()
        self.assertEqual((statuses(session.replies()), session.handler.is_lingering, session.is_over),
                         ([403], True, False))

    def test_head_has_no_content(self):
        session = self.refused(GET.replace(b"GET", b"HEAD"))
        self.assertTrue(session.wire.sent.startswith(b"HTTP/1.1 503 "))
        self.assertTrue(session.wire.sent.endswith(b"\r\n\r\n"))

    def test_what_is_no_tls_is_told_so(self):
        reply, = self.failing(ProtocolError(400, "this port speaks https")).replies()
        self.assertEqual(reply.status, 400)

    def test_a_client_that_has_gone_is_no_error(self):
        with self.assertNoLogs("ownhands"):
            session = self.failing(ConnectionResetError())
        self.assertEqual((session.is_over, session.wire.sent), (True, b""))

    def failing(self, error: Exception) -> Session:
        """Nothing can be received."""
        session = Session(Echo)
        session.wire.recv = mock.Mock(side_effect=error)
        session.handler.refuse_turn()
        return session

    def test_between_two_requests_it_may_stay_as_long_as_others(self):
        session = Session(Echo)
        session.send(GET)
        session.handler.refuse_turn()
        self.assertEqual(session.handler.deadline, session.clock.now + 75)

    def test_a_handshake_may_wait_until_octets_can_be_sent(self):
        session = Session(Echo)
        session.wire.recv_wants_write = True
        session.handler.refuse_turn()
        self.assertTrue(session.handler.wants_write)


class RefusedHeads(unittest.TestCase):
    """What on_head answers, where content is on its way."""

    @params(b"", HELLO, b"5\r\nhel", b"no chunk\r\n")
    def test_whatever_comes_behind_it(self, body):
        session = Session(Echo)
        session.send(post(CHUNKED, target=b"/refused/403", body=body))
        self.assertEqual(statuses(session.replies()), [403])

    def test_a_file_in_ranges(self):
        class Early(RequestHandler):
            def on_head(self, request):
                return Response.file(__file__)

        session = Session(Early)
        session.send(get(b"Range: bytes=0-2"))
        self.assertEqual([(reply.status, reply.content) for reply in session.replies()], [(206, b'"""')])


class LongHeads(unittest.TestCase):
    def test_are_not_kept(self):
        session = Session(Echo)
        for count in (b"1", b"2"):
            session.send(get(b"X: " + b"x" * 10_000))
            self.assertIsNone(session.handler._last_head)
            self.assertEqual(session.replies()[-1].content, count)


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
                return "x"

        session = Session(Wrong)
        with self.assertLogs("ownhands", "ERROR"):
            session.send(GET)
        self.assertTrue(session.wire.sent.startswith(b"HTTP/1.1 500 "), session.wire.sent)

    def test_any_that_is_informational(self):
        class Any(RequestHandler):
            def do_GET(self, request):
                self.send_informational(199)
                return "x"

        session = Session(Any)
        session.send(GET)
        reply, = session.replies()
        self.assertEqual((reply.status, [head.status for head in reply.interim]), (200, [199]))

    def test_nothing_between_two_exchanges(self):
        session = Session()
        session.handler.send_informational(103)
        self.assertEqual(session.wire.sent, b"")

    @params({"content_length": 3}, {"transfer_encoding": "chunked"})
    def test_nothing_that_frames_a_content(self, fields):
        class Wrong(RequestHandler):
            def do_GET(self, request):
                self.send_informational(103, **fields)
                return "x"

        session = Session(Wrong)
        with self.assertLogs("ownhands", "ERROR"):
            session.send(GET)
        self.assertEqual(statuses(session.replies()), [500])
        self.assertNotIn(b"103", session.wire.sent)

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
