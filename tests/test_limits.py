"""The limits and deadlines of a connection, one by one: which answer, which silence. The clock is set by the tests."""
import unittest

from nose2.tools import params

from ownhands import HTTPError, RequestHandler, Response

from .turns import GET, Session, post, statuses

CHUNKED = b"Transfer-Encoding: chunked"


class Echo(RequestHandler):
    def on_head(self, request):
        if request.path == "/refused":
            raise HTTPError(404)

    def do_GET(self, request):
        return "x"

    def do_POST(self, request):
        return Response(request.content)


class Large(RequestHandler):
    def do_GET(self, request):
        return Response(b"x" * 100_000)


class Sizes(unittest.TestCase):
    @params(
        (dict(max_target_size=20), b"GET /" + b"a" * 19, b"GET /" + b"a" * 20, 414),
        (dict(max_head_size=200), b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 162,
         b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 172, 431),
        (dict(max_fields=3), b"GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:", b"GET / HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\nC:",
         431),
    )
    def test_head(self, knobs, good, bad, status):
        for octets, expected in ((good, 200), (bad, status)):
            octets += b"" if b"Host" in octets else b" HTTP/1.1\r\nHost: a"
            session = Session(Echo, **knobs)
            session.send(octets + b"\r\n\r\n")
            self.assertEqual(statuses(session.replies()), [expected])

    @params((dict(max_target_size=7), 414), (dict(max_head_size=40), 431), (dict(max_fields=2), 431))
    def test_a_head_is_refused_though_another_connection_has_begun_with_it(self, knobs, status):
        sessions = Session(Echo), Session(Echo, **knobs)
        for session in sessions:
            session.send(b"GET /a/b/c/d HTTP/1.1\r\nHost: a\r\nA:\r\nB:\r\n\r\n")
        self.assertEqual([statuses(session.replies()) for session in sessions], [[200], [status]])

    def test_what_is_changed_in_a_head_is_not_seen_by_another_connection(self):
        class Changing(Echo):
            def on_head(self, request):
                seen.append(request.head.target)
                request.head.target = "/changed"

        seen = []
        for _ in range(2):
            Session(Changing).send(GET)
        self.assertEqual(seen, ["/", "/"])

    @params(
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * (64 << 10), 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 130, 431),
        (b"\r\n" * (32 << 10), 431),
    )
    def test_a_head_is_refused_before_its_end(self, octets, status):
        session = Session(Echo)
        session.send(octets)
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (status, "close"))

    def test_a_line_that_does_not_end_is_not_gathered_for_ever(self):
        session = Session(Echo, max_head_size=1000)
        session.send(GET[:-2] + b"X: ", *[b"a" * 100] * 20)
        self.assertEqual(statuses(session.replies()), [431])

    @params(
        (post(b"Content-Length: 10", body=b"x" * 10), 200),
        (post(b"Content-Length: 11"), 413),  # before any of it has come
        (post(b"Content-Length: 99999999999999999999"), 413),
        (post(CHUNKED, body=b"a\r\n0123456789\r\n0\r\n\r\n"), 200),
        (post(CHUNKED, body=b"a\r\n0123456789\r\n1\r\nx"), 413),  # as soon as it is too large
    )
    def test_max_content_size(self, octets, status):
        for streams in (False, True):
            session = Session(Echo, max_content_size=10, stream_content=streams)
            session.send(octets)
            reply, = session.replies()
            self.assertEqual((reply.status, "Connection" in reply.fields), (status, status != 200))

    @params(
        (dict(max_chunk_line_size=8), b"5;a=bcd\r\nhello\r\n0\r\n\r\n", 400),
        (dict(max_chunk_line_size=9), b"5;a=bcd\r\nhello\r\n0\r\n\r\n", 200),
        (dict(max_chunk_line_size=8), b"00000000005", 400),
        (dict(max_trailer_size=12), b"0\r\nA: 67890\r\n\r\n", 200),
        (dict(max_trailer_size=12), b"0\r\nA: 678901\r\n\r\n", 431),
        (dict(max_trailer_size=12), b"0\r\nA: 4567890123", 431),
        (dict(max_fields=3), b"0\r\nA:\r\nB:\r\nC:\r\n\r\n", 200),
        (dict(max_fields=3), b"0\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n", 431),
        ({}, b"0\r\n" + b"a:\r\n" * 2000 + b"\r\n", 431),
        ({}, b"1;" + b"a" * 1000 + b"\r\nx\r\n", None),
        ({}, (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 70, 400),  # all extensions together
    )
    def test_chunks_and_trailers(self, knobs, body, status):
        session = Session(Echo, **knobs)
        session.send(post(CHUNKED, body=body))
        self.assertEqual(statuses(session.replies()), [] if status is None else [status])

    def test_max_unread_size(self):
        for length, persists in ((10, True), (11, False)):
            session = Session(Echo, max_unread_size=10)
            session.send(post(b"Content-Length: %d" % length, target=b"/refused"))
            self.assertEqual("Connection" not in session.replies()[0].fields, persists)


class Heads(unittest.TestCase):
    def test_a_first_head_counts_from_the_connect(self):
        session = Session(Echo)
        session.wait(6)
        session.send(GET[:-1])
        self.assertEqual(session.wait(3.75), b"")
        self.assertTrue(session.wait(0.25).startswith(b"HTTP/1.1 408 "))

    def test_a_later_one_from_its_first_octet(self):
        session = Session(Echo)
        session.send(GET)
        session.wait(50)
        session.send(GET[:5])
        self.assertEqual(session.wait(9.75), b"")
        session.wait(0.25)
        self.assertEqual(statuses(session.replies()), [200, 408])

    @params(b"", b"\r\n")
    def test_empty_lines_before_it_are_no_part_of_it(self, before):
        session = Session(Echo)
        session.send(GET, *[before] * bool(before))
        session.wait(50)
        session.send(GET[:5])
        session.wait(9.75)
        self.assertEqual(statuses(session.replies()), [200])
        session.wait(0.25)
        self.assertEqual(statuses(session.replies()), [200, 408])

    def test_nor_is_half_an_empty_line(self):
        session = Session(Echo)
        session.send(GET, b"\r")
        session.wait(50)
        session.send(b"\n" + GET[:5])
        session.wait(10)
        self.assertEqual(statuses(session.replies()), [200, 408])

    def test_a_dribble_does_not_renew_it(self):
        session = Session(Echo)
        session.send(GET)
        for octet in range(10):
            session.send(GET[octet:octet + 1])
            session.wait(1)
        self.assertEqual(statuses(session.replies()), [200, 408])

    def test_nor_does_a_dribble_of_lines(self):
        session = Session(Echo)
        session.send(GET)
        for line in [b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 9]:
            session.send(line)
            session.wait(1)
        self.assertEqual(statuses(session.replies()), [200, 408])

    def test_one_begun_behind_another_request(self):
        session = Session(Echo)
        session.wait(5)
        session.send(GET + GET[:3])
        session.wait(9.75)
        session.send(GET[3:] + GET[:3])
        session.wait(9.75)
        self.assertEqual(statuses(session.replies()), [200, 200])
        session.wait(0.25)
        self.assertEqual(statuses(session.replies()), [200, 200, 408])

    def test_one_begun_behind_a_blocked_answer_counts_from_its_end(self):
        session = Session(Echo, room=20)
        session.send(GET + GET[:3])
        session.wait(4)
        session.take()
        session.wait(9.75)
        session.send(GET[3:])
        self.assertEqual(statuses(session.replies()), [200, 200])

    def test_and_has_no_longer_than_others(self):
        session = Session(Echo, room=20)
        session.send(GET + GET[:3])
        session.wait(4)
        session.take()
        session.wait(10)
        self.assertEqual(statuses(session.replies()), [200, 408])

    @params((), (b"\r",), (b"\r\n",), (b"\r\n\r\n\r\n",))
    def test_silence_is_answered_with_silence(self, *octets):
        session = Session(Echo)
        session.send(*octets)
        session.wait(9.75)
        self.assertFalse(session.is_over)
        session.wait(0.25)
        self.assertEqual((session.wire.sent, session.is_over), (b"", True))

    def test_its_answer_can_be_read(self):
        session = Session(Echo)
        session.send(GET[:-1])
        session.wait(10)
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (408, "close"))
        self.assertEqual((session.is_over, session.wire.is_shut_down), (False, True))


class Handshake(unittest.TestCase):
    @params((False, 5), (True, 20))
    def test_its_time_is_its_own(self, is_tls, seconds):
        session = Session(Echo, head_timeout=5, handshake_timeout=20)
        if is_tls:
            session.wire.getpeercert = lambda: None
        handler = session.server.finish_request(session.wire, ("192.0.2.1", 4711))
        self.assertEqual(handler.deadline, session.clock.now + seconds)

    def test_it_may_wait_until_octets_can_be_sent(self):
        session = Session(Echo)
        session.wire.recv_wants_write = True
        session.handler.take_turn()
        self.assertTrue(session.handler.wants_write)


class Idle(unittest.TestCase):
    def test_silent_close(self):
        session = Session(Echo)
        session.send(GET)
        before = session.wire.sent
        session.wait(74.75)
        self.assertFalse(session.is_over)
        session.wait(0.25)
        self.assertEqual((session.is_over, session.wire.sent), (True, before))

    def test_each_answer_renews_it(self):
        session = Session(Echo, idle_timeout=20)
        for _ in range(3):
            session.send(GET)
            session.wait(19)
        self.assertEqual(statuses(session.replies()), [200] * 3)
        session.wait(1)
        self.assertTrue(session.is_over)

    def test_behind_content_that_was_dropped(self):
        session = Session(Echo)
        session.send(post(b"Content-Length: 5", target=b"/refused"))
        session.wait(9)
        session.send(b"hello")
        session.wait(74.75)
        self.assertFalse(session.is_over)
        session.wait(0.25)
        self.assertTrue(session.is_over)

    def test_content_to_drop_that_does_not_come(self):
        session = Session(Echo)
        session.send(post(b"Content-Length: 5", target=b"/refused"), b"hell")
        session.wait(10)
        self.assertEqual((session.is_over, statuses(session.replies())), (True, [404]))


class ContentPace(unittest.TestCase):
    @params(post(b"Content-Length: 9000"), post(CHUNKED), post(CHUNKED, body=b"5\r\nhel"),
            post(b"Expect: 100-continue", b"Content-Length: 5"))
    def test_none_of_it_comes(self, octets):
        session = Session(Echo)
        session.send(octets)
        session.wait(4.75)
        self.assertFalse(session.wire.is_shut_down)
        session.wait(0.5)
        reply, = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (408, "close"))

    def test_it_stops(self):
        session = Session(Echo)
        session.send(post(b"Content-Length: 9000"), b"x" * 8000)
        session.wait(9.75)
        self.assertEqual(session.replies(), [])
        session.wait(0.25)
        self.assertEqual(statuses(session.replies()), [408])

    def test_any_octet_renews_the_wait_while_the_rate_is_kept(self):
        session = Session(Echo)
        session.send(post(b"Content-Length: 9000"), b"x" * 8000)
        for _ in range(3):
            session.wait(9)
            session.send(b"x")
        self.assertEqual(session.replies(), [])

    @params((240, None), (239, 408), (24, 408))
    def test_the_floor_of_the_rate(self, rate, status):
        session = Session(Echo)
        session.send(post(b"Content-Length: 1000000"))
        for _ in range(2000):
            session.send(b"x" * rate)
            session.wait(1)
        self.assertEqual([reply.status for reply in session.replies()], [] if status is None else [status])

    def test_a_dribble_of_chunks_is_no_content(self):
        session = Session(Echo)
        session.send(post(CHUNKED))
        for _ in range(5):
            session.send(b"0")  # leading zeros of a chunk size
            session.wait(1)
        self.assertEqual(statuses(session.replies()), [408])

    def test_the_temporary_file_goes(self):
        session = Session(Echo, max_memory_size=10)
        session.send(post(b"Content-Length: 30", body=b"x" * 20))
        file = session.handler._reception.gathering._file
        session.wait(10)
        self.assertTrue(file.closed)


class AnswerPace(unittest.TestCase):
    def stalled(self, room: int = 1000, **knobs) -> Session:
        session = Session(Large, room=room, **knobs)
        session.send(GET)
        return session

    def assert_aborted(self, session: Session, seconds: float) -> None:
        with self.assertLogs("ownhands", "INFO") as logs:
            session.wait(seconds)
        self.assertEqual(len(logs.records), 1)
        self.assertRegex(logs.output[0], r"192\.0\.2\.1.* took \d+ octets")
        self.assertTrue(session.is_over)
        self.assertFalse(session.wire.is_shut_down)
        self.assertIsNone(session.handler._outgoing)

    def test_nothing_is_taken(self):
        for room, seconds in ((50_000, 10), (0, 5)):
            session = self.stalled(room)
            session.wait(seconds - 0.25)
            self.assertFalse(session.is_over)
            self.assert_aborted(session, 0.25)

    def test_any_octet_renews_the_wait_while_the_rate_is_kept(self):
        session = self.stalled(room=50_000)
        for _ in range(5):
            session.wait(9)
            session.take(1)
        self.assertFalse(session.is_over)

    def test_the_floor_of_the_rate(self):
        session = self.stalled(room=240)
        for _ in range(50):
            session.wait(1)
            session.take(240)
        self.assertFalse(session.is_over)
        for _ in range(5):
            session.wait(1)
            session.take(1)
        self.assert_aborted(session, 1.25)

    def test_the_time_of_the_handler_does_not_count(self):
        class Slow(RequestHandler):
            def do_GET(self, request):
                return Response(self.pieces())

            def pieces(self):
                for _ in range(3):
                    self.server.clock.now += 1000
                    yield b"x" * 1000

        session = Session(Slow, room=1100)
        session.send(GET)
        session.wait(4)
        self.assertFalse(session.is_over)
        session.take()
        self.assertEqual(len(session.replies()[0].content), 3000)

    @params(True, False)
    def test_a_refusal_that_is_not_taken(self, is_late):
        session = Session(Echo, room=3)
        session.send(b"GET" if is_late else b"G:T / HTTP/1.1\r\n\r\n")
        session.wait(10 if is_late else 0)
        self.assertFalse(session.is_over)
        self.assert_aborted(session, 10)

    def test_the_source_is_closed(self):
        class Generated(RequestHandler):
            closed = 0

            def do_GET(self, request):
                return Response(self.pieces())

            def pieces(self):
                try:
                    while True:
                        yield b"x" * 1000
                finally:
                    type(self).closed += 1

        session = Session(Generated, room=1500)
        session.send(GET)
        self.assert_aborted(session, 20)
        self.assertEqual(type(session.handler).closed, 1)


class Lingering(unittest.TestCase):
    def test_it_ends(self):
        session = Session(Echo)
        session.send(b"BAD\r\n\r\n")
        session.wait(1.75)
        self.assertFalse(session.is_over)
        session.wait(0.25)
        self.assertTrue(session.is_over)

    def test_what_comes_does_not_prolong_it(self):
        session = Session(Echo)
        session.send(b"BAD\r\n\r\n")
        for _ in range(4):
            session.send(b"x" * 1000)
            session.wait(0.5)
        self.assertTrue(session.is_over)


class Ends(unittest.TestCase):
    """Whatever a deadline meets, expire leaves nothing behind and raises nothing, for the leader calls it."""

    def test_a_client_that_has_gone_meanwhile(self):
        session = Session(Echo)
        session.send(GET[:5])
        session.wire.is_shut_down = True  # the next send fails
        with self.assertLogs("ownhands", "DEBUG") as logs:
            session.wait(10)
        self.assertEqual(len(logs.records), 1)
        self.assertTrue(session.is_over)

    def test_an_on_error_that_fails(self):
        class Broken(Echo):
            def on_error(self, request, error):
                return Response(b"x", content_length="9")

        session = Session(Broken)
        session.send(GET[:5])
        with self.assertLogs("ownhands", "ERROR"):
            session.wait(10)
        self.assertEqual(statuses(session.replies()), [500])

    @params(b"", GET[:5], GET, post(b"Content-Length: 5", body=b"he"))
    def test_finish_is_called_once(self, octets):
        ends = []

        class Counting(Echo):
            def finish(self):
                super().finish()
                ends.append(self)

        for can_shut_down in (False, True):
            session = Session(Counting, can_shut_down=can_shut_down)
            session.send(*[octets] * bool(octets))
            session.wait(80)
            session.wait(80)
            self.assertTrue(session.is_over)
        self.assertEqual(len(ends), 2)
