"""Requests whose content is read as it comes: what on_head decides, when it is invited, and whose time it takes."""
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import RequestHandler, Response
from ownhands.content import open_temporary_file

from .turns import Session, post, statuses

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EXPECT = (b"Expect: 100-continue", b"Content-Length: 5")


class Echo(RequestHandler):
    def do_POST(self, request):
        return Response(request.content)


class Streaming(Echo):
    stream_content = True


class Decisions(unittest.TestCase):
    def test_on_head_is_called_once(self):
        asked = []

        class Asking(Streaming):
            def on_head(self, request):
                asked.append(request.path)

        session = Session(Asking)
        session.send(post(b"Content-Length: 5", body=b"hello"))
        self.assertEqual((statuses(session.replies()), asked), ([200], ["/"]))

    @params((b"hello", 200), (b"hello!", 413))
    def test_stream_this_sets_the_limit(self, body, status):
        class Own(Echo):
            max_content_size = 3

            def on_head(self, request):
                self.stream_this(5)

        session = Session(Own)
        session.send(post(b"Content-Length: %d" % len(body), body=body))
        self.assertEqual(statuses(session.replies()), [status])

    def test_gather_this_waits_for_the_content_in_a_class_that_streams(self):
        class Gathering(Streaming):
            def on_head(self, request):
                self.gather_this(5, open_temporary_file)

        session = Session(Gathering)
        session.send(post(b"Content-Length: 5"), b"hello")
        self.assertEqual([reply.content for reply in session.replies()], [b"hello"])


class Invitations(unittest.TestCase):
    def test_it_is_invited_once_however_often_is_read(self):
        session = Session(Streaming)
        session.wire.coming.extend([post(*EXPECT), b"he", b"llo"])
        session.handler.take_turn()
        self.assertEqual(session.wire.sent.count(CONTINUE), 1)

    def test_it_is_not_invited_inside_the_answer(self):
        class Late(Streaming):
            def do_POST(self, request):
                def pieces():
                    yield b"so: "
                    yield request.stream.read()
                return Response(pieces())

        session = Session(Late)
        session.wire.coming.extend([post(*EXPECT), b"hello"])
        session.handler.take_turn()
        reply, = session.replies()
        self.assertEqual((reply.content, session.wire.sent.count(CONTINUE)), (b"so: hello", 0))


class Clients(unittest.TestCase):
    def test_one_that_goes_is_no_failure_of_the_handler(self):
        session = Session(Streaming)
        session.wire.recv = mock.Mock(side_effect=[post(b"Content-Length: 5"), ConnectionResetError()])
        with self.assertNoLogs("ownhands", "ERROR"):
            session.handler.take_turn()
        self.assertEqual(statuses(session.replies()), [400])

    def test_the_time_that_one_takes_does_count(self):
        session, left = Session(Streaming), []

        def receive(connection, size, deadline, clock):
            left.append(deadline - clock())
            session.clock.now += 2
            return b"x" * 240

        with mock.patch("ownhands.exchange.receive", receive):
            session.send(post(b"Content-Length: 960"))
        self.assertEqual(left, [5, 4, 3, 2])  # a second's octets in two seconds each
