"""The end of serving: how long it may take, and what is said of it."""
import unittest
from unittest.mock import Mock, patch

from nose2.tools import params

from ownhands.engine import EngineThread
from ownhands.program import Latch
from ownhands.stopping import GIVE_UP_AFTER, SAY_AFTER, Stopping


class StoppingTest(unittest.TestCase):
    def setUp(self):
        self.engine = Mock(has_ended=False, connections=2, undone=[], turns_away=list)
        self.now = 100.0
        self.stopping = Stopping([self.engine], "Handler", 30.0, lambda: self.now)

    def is_over(self, now, is_stopping=True):
        self.now = now
        return self.stopping.is_over(is_stopping)

    def test_nothing_ends_while_nobody_wants_it(self):
        self.assertFalse(self.is_over(1000.0, is_stopping=False))
        self.engine.cut.assert_not_called()

    def test_what_is_going_on_may_take_its_time(self):
        self.assertFalse(self.is_over(100.0))
        self.engine.has_ended = True
        self.assertTrue(self.is_over(100.9))
        self.engine.cut.assert_not_called()

    def test_and_no_more(self):
        self.assertFalse(self.is_over(100.0))
        self.assertFalse(self.is_over(130.0))
        self.engine.cut.assert_called()

    def test_an_engine_that_cannot_even_cut_is_left_behind(self):
        self.is_over(100.0)
        self.is_over(130.0)
        self.assertTrue(self.is_over(130.0 + GIVE_UP_AFTER))

    def test_a_wait_is_said_once(self):
        self.is_over(100.0)
        with self.assertLogs("ownhands", "WARNING") as logs:
            self.is_over(100.0 + SAY_AFTER)
            self.is_over(102.0 + SAY_AFTER)
        self.assertEqual(logs.output, ["WARNING:ownhands:stopping: waiting at most 30 s, open connections: 2"])

    def test_a_connection_in_its_first_turn_is_open_as_well(self):
        threads = [EngineThread(engine, list, "") for engine in [self.engine] * 3 + [Mock()]]
        for thread in threads[1:]:
            thread.connection = Mock()
        self.is_over(100.0)
        with self.assertLogs("ownhands", "WARNING") as logs, patch("threading.enumerate", return_value=threads):
            self.is_over(100.0 + SAY_AFTER)
        self.assertIn("open connections: 4", logs.output[0])

    @params((1.0, "<Handler of me> was not done and is cut"), (30.0, "<Handler of me> was not done in 30.0 s and is cut"))
    def test_no_more_time_is_named_than_there_was(self, seconds, line):
        self.engine.undone = ["<Handler of me>"]
        self.is_over(100.0)
        self.now = 100.0 + seconds
        with self.assertLogs("ownhands", "ERROR") as logs:
            self.stopping.report()
        self.assertEqual([f"ERROR:ownhands:{line}"], logs.output)

    @params(([], False), (["<Handler of me>"], True))
    def test_what_was_undone_is_said(self, undone, was_cut):
        self.engine.undone = undone
        with self.assertLogs("ownhands", "ERROR") if was_cut else self.assertNoLogs("ownhands"):
            self.assertEqual(self.stopping.report(), was_cut)


class LatchTest(unittest.TestCase):
    def test_it_opens_once_and_for_all(self):
        latch = Latch()
        latch.wait(0.001)
        self.assertFalse(latch.is_set())
        latch.set()
        latch.set()
        latch.wait()
        latch.wait()
        self.assertTrue(latch.is_set())


if __name__ == "__main__":
    unittest.main()
