"""ConnectionHandler and what it does to a connection: turns without HTTP, the end, and cutting one off."""
import socket
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.connection import ConnectionHandler, cut_off
from ownhands.testing import MockConnection

from .turns import Session, Wire, answering


class TurnTest(unittest.TestCase):
    @params("expire", "refuse_turn")
    def test_a_class_need_not_say_what_becomes_of_one_that_is_late(self, what):
        class Echo(ConnectionHandler):
            close_connection = False
            finished = 0

            def handle(self):
                self.connection.send(self.connection.recv(100))

            def finish(self):
                self.finished += 1

        session = Session(Echo)
        self.assertEqual(session.send(b"hello"), b"hello")
        self.assertEqual((session.handler.is_idle, session.handler.needs_thread), (True, True))
        getattr(session.handler, what)()
        self.assertEqual((session.is_over, session.handler.finished), (True, 1))


class EndTest(unittest.TestCase):
    def test_a_class_may_say_that_its_connections_go_on(self):
        class Upwards(ConnectionHandler):
            close_connection = False

            def handle(self):
                octets = self.connection.recv(4096)
                self.connection.send(octets.upper())
                self.close_connection = not octets

        connection = MockConnection([b"one", b"two"])
        HTTPServer(handler=Upwards).on_connect(connection)
        self.assertEqual(b"ONETWO", connection.sent)

    @params(False, True)
    def test_only_what_ends_in_a_reset_has_no_end_before(self, is_cut):
        class Ending(ConnectionHandler):
            def handle(self):
                if is_cut:
                    self._end_in_reset()

        wire = Wire()
        HTTPServer(handler=Ending).on_connect(wire)
        self.assertEqual((not is_cut, True), (wire.is_shut_down, wire.is_closed))


    @params((False, 1), (True, 0))
    def test_a_forked_child_leaves_the_socket_of_its_parent_as_it_is(self, is_disowned, count):
        session = Session(ConnectionHandler)
        session.wire.setsockopt, session.server.is_disowned = mock.Mock(), is_disowned
        session.handler._end_in_reset()
        self.assertEqual(session.wire.setsockopt.call_count, count)


class CutOffTest(unittest.TestCase):
    def test_a_client_that_has_gone_is_no_error(self):
        ours, theirs = socket.socketpair()
        theirs.close()
        ours.close()
        cut_off(ours)

    def test_nor_is_what_has_no_shutdown(self):
        cut_off(MockConnection())

    def test_an_answer_until_the_end_needs_no_socket_to_be_cut(self):
        session = Session(answering(iter([b"x" * 100, b"y"])), room=50)
        with self.assertNoLogs("ownhands"):
            session.send(b"GET / HTTP/1.0\r\n\r\n")
            session.handler.abandon()
        self.assertTrue(session.handler.ends_in_reset)
