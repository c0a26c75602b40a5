"""How an answer leaves: what a turn waits for, what a handler may do meanwhile, files that the system copies, cuts."""
import socket
import tempfile
import unittest
from unittest import mock

from ownhands import RequestHandler, Response
from ownhands.testing import parse_replies

from .turns import GET, GET_CLOSE, Session, answering


class Sending(unittest.TestCase):
    def test_a_handler_that_closes_behind_the_first_piece_gets_the_others_out(self):
        class Closing(RequestHandler):
            def do_GET(self, request):
                return Response(self.pieces())

            def pieces(self):
                yield b"x" * 1000
                self.close_connection = True
                yield b"y" * 1000

        session = Session(Closing, room=1300)
        session.send(GET + GET)
        session.take()
        self.assertEqual([len(reply.content) for reply in session.replies()], [2000])
        self.assertTrue(session.wire.is_shut_down)

    def test_it_may_wait_until_octets_have_come(self):
        session = Session(answering(b"x" * 100), room=10)
        session.wire.send_wants_read = True
        session.wire.coming.append(GET)
        session.handler.take_turn()
        self.assertFalse(session.handler.wants_write)

    def test_behind_a_large_answer_octets_are_waited_for(self):
        session = Session(answering(b"x" * 100_000))
        session.wire.coming.append(GET)
        session.handler.take_turn()
        self.assertFalse(session.handler.wants_write)

    def test_an_answer_whose_end_shows_is_cut_at_once(self):
        session = Session(answering(iter([b"x" * 100, b"y"])), room=50)
        session.send(GET)
        session.handler.cut()
        self.assertTrue(session.wire.is_shut_down)


class Files(unittest.TestCase):
    def session(self, size):
        """One over a real socket, `self.theirs` being the client's side, that has asked for a file."""
        file = tempfile.TemporaryFile()  # noqa: SIM115  the server closes it
        file.write(b"x" * size)
        file.seek(0)
        session = Session(answering(file))
        ours, self.theirs = socket.socketpair()
        self.addCleanup(self.theirs.close)
        self.addCleanup(ours.close)
        self.addCleanup(session.handler.abandon)
        ours.setblocking(False)
        session.handler.connection = ours
        self.theirs.settimeout(20)
        self.theirs.sendall(GET_CLOSE)
        return session

    def test_a_client_that_takes_little_gets_all_of_it(self):
        session = self.session(3_000_000)
        received = b""
        while not session.handler.is_lingering:
            session.handler.take_turn()
            received += self.theirs.recv(100_000)
        while piece := self.theirs.recv(1 << 20):
            received += piece
        reply, = parse_replies(received)
        self.assertEqual(len(reply.content), 3_000_000)

    @mock.patch("os.sendfile", side_effect=OSError(5, "input/output error"), create=True)
    def test_one_that_cannot_be_read_is_no_fault_of_the_client(self, _):
        session = self.session(100_000)
        with self.assertLogs("ownhands", "ERROR"):
            session.handler.take_turn()
        self.assertTrue(session.is_over)
