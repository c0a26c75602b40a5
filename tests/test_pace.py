"""How slow a client may be, and what counts as taken by it."""
import socket
import unittest
from unittest.mock import Mock, patch

from nose2.tools import params

from ownhands.connection import wait_until_taken
from ownhands.pace import Pace, SendPace, taken, unacknowledged

from .turns import GET, Session, answering


class PaceTest(unittest.TestCase):
    """Started at 100 s; an octet within 10 s, and 5 s of grace before 10 octets per second count."""

    def pace(self, offset=0):
        return Pace(100, offset, timeout=10, min_rate=10, grace=5)

    @params((100, 0, 105), (104, 0, 105), (104, 20, 107), (104, 1000, 114), (150, 1000, 160), (150, 460, 151))
    def test_deadline(self, now, octets, deadline):
        self.assertEqual(self.pace().deadline(now, octets), deadline)

    def test_what_had_moved_before_does_not_count(self):
        self.assertEqual(self.pace(offset=1000).deadline(104, 1020), 107)

    def test_no_rate_need_be_asked_for(self):
        self.assertEqual(Pace(100, 0, timeout=10, min_rate=0, grace=5).deadline(150, 0), 160)

    def test_the_handlers_time_does_not_count(self):
        pace = self.pace()
        pace.pause(101)
        pace.resume(151)
        self.assertEqual(pace.deadline(151, 0), 155)


def acknowledging(*waiting):
    """What the system says, one after the other, of the octets that the client has not acknowledged."""
    return patch("ownhands.pace.unacknowledged", side_effect=waiting)


class SendPaceTest(unittest.TestCase):
    """A client that must take an octet within 10 s; the first look is after an eighth of that."""

    @params(
        ((900, 900, 900), [1001.25, 1010, 1000 + 10]),  # it takes nothing
        ((900, 100, 100), [1001.25, 1010, 1010]),  # but what was under way at first
        ((900, 500, 499, 499), [1001.25, 1010, 1020, 1010]),
        ((900, None), [1001.25, 1010]),
        ((None, None), [1010, 1010]),
    )
    def test_looks(self, waiting, looks):
        pace = SendPace(1000, 0, timeout=10, min_rate=1, grace=60)
        with acknowledging(*waiting):
            found = [pace.wait(1000, None, 1000)]
            for _ in waiting[1:]:
                found.append(pace.look(found[-1], None, 1000))
        self.assertEqual(found, looks)

    def test_the_floor_goes_by_what_was_taken(self):
        pace = SendPace(1000, 0, timeout=10, min_rate=10, grace=5)
        with acknowledging(100, 50):
            self.assertEqual([pace.wait(1000, None, 100), pace.look(1001.25, None, 100)], [1001.25, 1010])
        pace = SendPace(1000, 0, timeout=100, min_rate=10, grace=5)
        with acknowledging(100, 50):
            self.assertEqual([pace.wait(1000, None, 100), pace.look(1012.5, None, 100)], [1012.5, 1010])

    @params((0, 1010), (50, 1055), (None, 1010))
    def test_so_does_what_a_layer_in_between_holds(self, held, deadline):
        connection = object() if held is None else Mock(held=held)
        pace = SendPace(1000, 0, timeout=100, min_rate=1, grace=10)
        with acknowledging(1005, 1005):
            pace.wait(1000, connection, 1000)
            self.assertEqual(pace.look(1012.5, connection, 1000), deadline)

    def test_what_is_under_way_of_earlier_answers_is_taken_first(self):
        pace = SendPace(1000, -500, timeout=100, min_rate=10, grace=5)
        with acknowledging(700, 400):
            self.assertEqual([pace.wait(1000, None, 200), pace.look(1012.5, None, 200)], [1012.5, 1000 + 5 + 30])

    @params((object(), 100, 30, 70), (object(), 100, None, 100), (object(), 100, 130, -30), (Mock(held=20), 100, 30, 90),
            (Mock(spec=["family"], family=getattr(socket, "AF_UNIX", -1)), 100, 900, 100))
    def test_what_a_client_has_taken(self, connection, size, waiting, expected):
        self.assertEqual(taken(connection, size, waiting), expected)

    def test_an_answer_goes_on_while_the_system_says_that_it_is_taken(self):
        session = Session(answering(b"x" * 1_000_000), room=100_000)
        with acknowledging(*range(90_000, 30_000, -10_000), 40_000):
            session.send(GET)
            for seconds in (1.25, 8.75, 10, 10, 10):
                session.wait(seconds)
            self.assertFalse(session.is_over)
            with self.assertLogs("ownhands", "INFO"):
                session.wait(10)
        self.assertTrue(session.is_over)


class SystemTest(unittest.TestCase):
    def setUp(self):
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)
        self.ours.setblocking(False)

    def fill(self):
        try:
            while True:
                self.ours.send(b"x" * 65536)
        except BlockingIOError:
            pass

    def test_what_is_acknowledged(self):
        if unacknowledged(self.ours) is None:
            self.skipTest("this system does not tell")
        self.fill()
        before = unacknowledged(self.ours)
        self.theirs.recv(65536)
        self.assertLess(unacknowledged(self.ours), before)

    @params(object(), socket.socket())
    def test_what_cannot_be_told(self, connection):
        if isinstance(connection, socket.socket):
            connection.close()
        self.assertIsNone(unacknowledged(connection))

    def test_a_thread_waits_for_room(self):
        self.assertTrue(wait_until_taken(self.ours, 10))

    def test_or_until_something_is_taken(self):
        self.fill()
        with patch("ownhands.connection.unacknowledged", side_effect=(10, 9)):
            self.assertTrue(wait_until_taken(self.ours, 0.01))

    def test_but_not_for_a_client_that_takes_nothing(self):
        self.fill()
        self.assertFalse(wait_until_taken(self.ours, 0.01))


if __name__ == "__main__":
    unittest.main()
