"""Rounds: those who are ready together take their turns first, and then what they have held back is sent."""
import socket
import unittest
from typing import Any

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.connection import ConnectionHandler

from .engines import Block, FakeTurner, wait_for
from .test_engine import EngineTest
from .turns import GET, Session, answering, statuses


class EngineRoundTest(EngineTest):
    """Three that are ready together, of which a and b hold something; `log` has what is done to them."""

    def setUp(self):
        super().setUp()
        self.log: list[str] = []
        self.a, self.b, self.c = (FakeTurner(name, self.log) for name in "abc")
        self.a.holds = self.b.holds = True

    def begin_round(self, **of_c: Any):
        for fd, turner in ((1001, self.a), (1002, self.b)):
            self.stage.add(fd, turner)
        self.stage.add(1003, self.c, **of_c)
        self.poller.settle()
        self.poller.ready_together(1001, 1002, 1003)

    def await_log(self, *expected: str):
        wait_for(lambda: len(self.log) >= len(expected))
        self.assertEqual(list(expected), self.log)

    def test_what_is_held_is_sent_at_its_end(self):
        self.begin_round()
        self.await_log("a turn", "b turn", "c turn", "a send", "b send")

    @params({"is_listener": True}, {"caution": True})
    def test_but_before_a_turn_that_may_last(self, of_c):
        if "caution" in of_c:
            self.stage.caution.turns, of_c = 0, {"caution": type(self.stage.caution)(1)}
        self.begin_round(**of_c)
        self.await_log("a turn", "b turn", "a send", "b send", "c turn")

    def test_a_connection_that_is_over_then_is_closed_then(self):
        self.a.steps = [lambda: None, self.a.end]
        self.begin_round()
        self.await_log("a turn", "b turn", "c turn", "a send", "b send")
        wait_for(lambda: self.stage.closed == [self.a])

    def test_a_failure_ends_its_own_connection(self):
        def fail():
            raise ValueError

        self.a.steps = [lambda: None, fail]
        with self.assertLogs("ownhands", "ERROR"):
            self.begin_round()
            wait_for(lambda: self.stage.closed == [self.a])
        self.await_log("a turn", "b turn", "c turn", "a send", "b send")

    def test_a_long_turn_behind_it_delays_it_until_it_is_overtaken(self):
        block = Block()
        self.addCleanup(block.end)
        self.c.steps = [block]
        self.begin_round()
        block.wait()
        self.assertEqual(["a turn", "b turn", "c turn"], self.log)
        self.stage.overtake()
        self.await_log("a turn", "b turn", "c turn", "a send", "b send")

    def test_one_that_was_overtaken_sends_by_itself(self):
        block = Block()
        self.addCleanup(block.end)
        self.b.steps = [block]
        self.begin_round()
        block.wait()
        self.stage.overtake()
        wait_for(lambda: "c turn" in self.log or "a send" in self.log)
        block.end()
        wait_for(lambda: "b send" in self.log)
        self.assertEqual(self.b.threads[0], self.b.threads[1])

    def test_another_thread_goes_on_where_sending_takes_long(self):
        block = Block()
        self.addCleanup(block.end)
        self.a.steps = [lambda: None, block]
        self.begin_round()
        block.wait()
        self.stage.overtake()
        self.await_log("a turn", "b turn", "c turn", "a send", "b send")


class NoThreadRoundTest(EngineRoundTest):
    knobs = {"max_threads": 1}

    def await_log(self, *expected: str):
        self.stage.check_at(self.clock.now)  # the monitor stands in where no thread is free
        super().await_log(*expected)

    def test_one_that_was_overtaken_sends_by_itself(self):
        block = Block()
        self.addCleanup(block.end)
        self.b.steps = [block]
        self.begin_round()
        block.wait()
        self.stage.overtake()
        self.stage.check_at(self.clock.now)
        self.assertEqual(["a turn", "b turn", "a send"], self.log)
        block.end()
        wait_for(lambda: "b send" in self.log)


class HeldTest(unittest.TestCase):
    """A handler's turn in a round."""

    def turn(self, octets: bytes, handler: Any = None, **knobs: Any) -> Session:
        session = Session(answering(b"content") if handler is None else handler, **knobs)
        session.wire.coming.append(octets)
        self.held = session.handler.take_turn_in_round()
        return session

    def test_sends_nothing_until_it_is_asked_to(self):
        session = self.turn(GET)
        self.assertEqual((True, b"", False), (self.held, session.wire.sent, session.handler.is_idle))
        session.handler.send_held()
        self.assertEqual([200], statuses(session.replies()))
        self.assertTrue(session.handler.is_idle)

    def test_holds_the_last_of_several_answers_only(self):
        session = self.turn(GET * 3)
        self.assertEqual((True, [200] * 2), (self.held, statuses(session.replies())))
        session.handler.send_held()
        self.assertEqual([200] * 3, statuses(session.replies()))

    @params(GET + GET[:5], GET[:5], b"", b"nonsense\r\n\r\n")
    def test_holds_nothing_where_more_has_come_or_there_is_no_answer(self, octets):
        self.turn(octets)
        self.assertFalse(self.held)

    @params([b"piece"], b"x" * (1 << 17))
    def test_holds_nothing_that_may_take_several_turns(self, content):
        session = self.turn(GET, answering(content))
        self.assertFalse(self.held)
        self.assertEqual([200], statuses(session.replies()))

    def test_the_next_turn_holds_again(self):
        session = self.turn(GET)
        session.handler.send_held()
        session.wire.coming.append(GET)
        self.assertTrue(session.handler.take_turn_in_round())

    def test_a_client_that_takes_some_gets_the_rest_in_further_turns(self):
        session = self.turn(GET, room=10)
        session.handler.send_held()
        self.assertTrue(session.handler.wants_write)
        session.take()
        self.assertEqual([200], statuses(session.replies()))

    def test_a_client_that_has_gone_is_no_error(self):
        session = self.turn(GET)
        session.wire.is_shut_down = True
        with self.assertLogs("ownhands", "DEBUG") as logs:
            session.handler.send_held()
        self.assertEqual(["DEBUG"], [record.levelname for record in logs.records])
        self.assertTrue(session.is_over)

    def test_the_last_answer_ends_the_connection(self):
        session = self.turn(b"GET / HTTP/1.0\r\n\r\n")
        self.assertFalse(session.is_over)
        session.handler.send_held()
        self.assertEqual(([200], True), (statuses(session.replies()), session.is_over))

    def test_one_that_is_never_sent_is_logged_as_cut(self):
        with self.assertLogs("ownhands.access", "INFO") as logs:
            session = self.turn(GET)
            session.handler.abandon()
        self.assertIn("200 0", logs.output[0])

    @params(True, False)
    def test_an_answer_to_a_client_that_has_gone_is_logged_as_cut(self, holds):
        with self.assertLogs("ownhands.access", "INFO") as logs:
            session = Session(answering(b"content"))
            session.wire.coming.append(GET)
            session.wire.is_shut_down = True
            if holds:
                session.handler.take_turn_in_round()
                session.handler.send_held()
            else:
                session.handler.take_turn()
        self.assertIn("200 0", logs.output[-1])

    def test_other_protocols_hold_nothing(self):
        class Saying(ConnectionHandler):
            def handle(self):
                self.connection.send(b"hello")

        session = Session(Saying)
        self.assertFalse(session.handler.take_turn_in_round())
        self.assertEqual(b"hello", session.wire.sent)


class ServerTest(unittest.TestCase):
    def test_all_are_answered(self):
        with HTTPServer("127.0.0.1", 0, answering(b"content")) as server:
            clients = [socket.create_connection(("127.0.0.1", server.server_address[1]), 5) for _ in range(50)]
            for _ in range(5):
                for client in clients:
                    client.sendall(GET)
                for client in clients:
                    self.assertTrue(client.recv(65536).endswith(b"\r\n\r\ncontent"))
            for client in clients:
                client.close()


if __name__ == "__main__":
    unittest.main()
