"""The monitor: when it looks, when it sleeps, and that nothing is missed in between. Its waits are the test's."""
import unittest
from unittest import mock

from ownhands.engine import OVERTAKE_AFTER
from ownhands.monitor import QUIET_TICKS, Monitor


class FakeEngine:
    patience = OVERTAKE_AFTER

    def __init__(self):
        self.activity = (0, 0.0)
        self.needs_monitor = False
        self.on_activity = None
        self.checks = 0

    def check(self):
        self.checks += 1

    def act(self):
        """What a leader does when a poll has ended."""
        self.activity = (self.activity[0] + 1, 0.0)
        if self.on_activity is not None:
            self.on_activity()


class MonitorTest(unittest.TestCase):
    def setUp(self):
        self.engine = FakeEngine()
        self.waits = []
        self.at_wait = {}  # what happens during which wait
        self.monitor = Monitor([self.engine], self.wait)

    def wait(self, seconds):
        self.waits.append(seconds)
        self.at_wait.get(len(self.waits), lambda: None)()

    def run_for(self, waits):
        self.monitor.run(lambda: len(self.waits) >= waits)

    def test_it_sleeps_when_nothing_happens(self):
        self.run_for(QUIET_TICKS)
        self.assertIsNone(self.waits[-1])
        self.assertEqual({OVERTAKE_AFTER}, set(self.waits[:-1]))

    def test_activity_keeps_it_awake(self):
        self.at_wait = dict.fromkeys(range(0, 10 * QUIET_TICKS, 5), self.engine.act)
        self.run_for(9 * QUIET_TICKS)
        self.assertNotIn(None, self.waits)

    def test_so_does_a_turn_that_has_begun_though_the_poll_was_long_ago(self):
        def begin_turn():
            self.engine.activity = (0, self.engine.activity[1] + 1.0)

        self.at_wait = dict.fromkeys(range(0, 10 * QUIET_TICKS, 5), begin_turn)
        self.run_for(9 * QUIET_TICKS)
        self.assertNotIn(None, self.waits)

    def test_so_does_an_engine_that_needs_it(self):
        self.engine.needs_monitor = True
        self.run_for(3 * QUIET_TICKS)
        self.assertNotIn(None, self.waits)

    def test_it_looks_after_each_wait(self):
        self.run_for(5)
        self.assertEqual(5, self.engine.checks)

    def test_an_engine_that_fails_is_looked_at_again(self):
        self.engine.check = mock.Mock(side_effect=ZeroDivisionError)
        with self.assertLogs("ownhands", "ERROR"):
            self.run_for(3)
        self.assertEqual(3, self.engine.check.call_count)

    def test_activity_wakes_it(self):
        woken = []
        self.monitor.wake = lambda: woken.append(True)
        self.at_wait[QUIET_TICKS] = self.engine.act
        self.run_for(QUIET_TICKS)
        self.assertEqual([True], woken)

    def test_so_does_an_engine_that_needs_it_as_it_falls_asleep(self):
        needs = iter([False, True])
        type(self.engine).needs_monitor = property(lambda _: next(needs, True), lambda *_: None)
        self.addCleanup(delattr, FakeEngine, "needs_monitor")
        self.run_for(QUIET_TICKS)
        self.assertNotIn(None, self.waits)

    def test_what_happens_while_it_falls_asleep_keeps_it_awake(self):
        class Late(FakeEngine):
            @property
            def activity(self):
                return (int(self.on_activity is not None), 0.0)  # it happens just after the announcement

            @activity.setter
            def activity(self, value):
                pass

        engine = Late()
        self.monitor = Monitor([engine], self.wait)
        self.monitor.run(lambda: engine.checks > 3 * QUIET_TICKS)
        self.assertNotIn(None, self.waits)

    def test_nobody_calls_it_once_it_is_awake(self):
        self.run_for(QUIET_TICKS + 1)
        self.assertIsNone(self.engine.on_activity)

    def test_it_ends_when_all_is_over(self):
        self.monitor.run(lambda: True)
        self.assertEqual([], self.waits)

    def test_a_call_ends_its_wait(self):
        monitor = Monitor([self.engine])
        monitor.wake()
        monitor._wait_for_alarm(None)
