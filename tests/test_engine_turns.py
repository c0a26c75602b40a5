"""The engine without time: what a turn leaves behind, when the monitor looks at one, and who leads beside it."""
import functools
import math
import threading
from unittest import mock

from nose2.tools import params

from ownhands.polling import READ

from .engines import Block, FakeTurner, wait_for
from .test_engine import EngineTest


class TurnsTest(EngineTest):
    def test_who_has_written_is_registered_for_reading_again(self):
        turner = self.stage.add(1000)
        for wants_write in (True, False):
            turner.steps.append(functools.partial(setattr, turner, "wants_write", wants_write))
            self.stage.turn(1000, turner)
            self.poller.settle()
        self.assertEqual(READ, self.poller.registered[1000])

    def test_a_monitor_that_sleeps_is_woken_once(self):
        self.engine.on_activity = notify = mock.Mock()
        turner = self.stage.add(1000)
        for _ in range(2):
            self.stage.turn(1000, turner)
        notify.assert_called_once_with()

    def test_they_are_activity_though_the_clock_stands(self):
        turner = self.stage.add(1000)
        self.poller.settle()
        before = self.engine.activity
        self.stage.turn(1000, turner)
        self.poller.settle()
        self.assertNotEqual(before, self.engine.activity)

    def test_one_that_begins_late_is_not_long_yet(self):
        self.poller.settle()
        self.clock.now = 5.0
        self.stage.block(1000, self.stage.add(1000))
        self.stage.check_at(5.001)
        self.assertEqual(1, len(self.stage.threads))

    def test_slow_ones_in_close_succession_make_the_class_cautious(self):
        for fd in range(1000, 1004):
            turner = self.stage.add(fd)
            turner.steps.append(lambda: setattr(self.clock, "now", self.clock.now + 0.001))
            self.stage.turn(fd, turner)
        self.poller.settle()
        self.assertGreater(self.stage.caution.turns, 0)

    @params((False, 2), (True, 1))
    def test_behind_a_slow_one_others_are_overtaken_early_but_a_listeners(self, is_listener, threads):
        slow = self.stage.add(1001)
        slow.steps.append(lambda: setattr(self.clock, "now", 1.0))
        self.stage.turn(1001, slow)
        self.poller.settle()
        self.stage.block(1000, self.stage.add(1000, is_listener=is_listener))
        self.stage.check_at(1.0005)
        self.assertEqual(threads, len(self.stage.threads))

    def test_who_closes_its_connection_behind_our_back_is_no_failure(self):
        turner = self.stage.add(1000)
        self.poller.settle()
        turner.steps.append(lambda: (self.poller.registered.pop(1000), turner.end()))
        with self.assertNoLogs("ownhands"):
            self.stage.turn(1000, turner)
            self.poller.settle()
        self.assertEqual([turner], self.stage.closed)

    def test_a_leader_that_dies_wakes_a_monitor_that_sleeps(self):
        turner, notify = self.stage.add(1000), mock.Mock()
        self.engine._close = mock.Mock(side_effect=type("Odd", (BaseException,), {}))
        turner.steps.append(lambda: (turner.end(), setattr(self.engine, "on_activity", notify)))
        with mock.patch.object(threading, "excepthook") as died:
            self.poller.ready(1000)
            wait_for(lambda: died.called)
        notify.assert_called_once_with()


class MonitorNeededTest(EngineTest):
    knobs = {"max_threads": 1}

    def test_while_a_turn_runs(self):
        self.stage.block(1000, self.stage.add(1000))
        self.assertTrue(self.engine.needs_monitor)

    def test_while_nobody_leads(self):
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.assertTrue(self.engine.needs_monitor)

    def test_from_the_stop_until_all_has_ended(self):
        turner = self.stage.add(1000)
        turner.is_idle = False
        self.poller.settle()
        self.assertFalse(self.engine.needs_monitor)
        self.engine.stop()
        self.poller.settle()
        self.assertTrue(self.engine.needs_monitor)  # or nobody would notice that the time for it is over


class GiveWayTest(EngineTest):
    """What a listener asks before each first turn."""

    def test_each_connection_that_a_turn_accepts_is_judged_by_itself(self):
        def accept():
            self.clock.now += 0.0015
            self.engine.give_way()

        self.accept(accept)
        self.stage.check_at(0.0025)
        self.assertEqual(1, len(self.stage.threads))

    def test_where_it_lasts_another_thread_leads_at_once(self):
        self.engine._caution.turns = math.inf
        gave_way = []
        self.accept(lambda: gave_way.append(self.engine.give_way()))
        self.poller.settle()  # and nobody has called check()
        self.assertEqual([True], gave_way)

    def accept(self, step):
        """Begins a turn of the listener's, which lasts behind this step."""
        listener, block = self.stage.add(1000, is_listener=True), Block()
        self.addCleanup(block.end)
        listener.steps.append(lambda: (step(), block()))
        self.poller.ready(1000)
        block.wait()


class GiveWayInLineTest(EngineTest):
    knobs = {"max_threads": 1}

    def test_who_was_overtaken_does_not_lose_the_turn_of_another(self):
        listener, expiring = self.stage.add(1000, is_listener=True), FakeTurner()
        expiring.deadline = 5.0
        self.stage.add(1001, expiring)
        block = self.stage.block(1000, listener)
        self.stage.overtake()
        self.engine._caution.turns = math.inf
        asked = []
        expiring.steps.append(lambda: asked.append(self.ask_on(block)))  # while the monitor stands in
        self.stage.check_at(6.0)
        self.assertEqual([False], asked)
        self.assertNotIn(expiring, [turner for _, turner in self.engine.turns_away()])

    def ask_on(self, block):
        """What the listener's thread would be told."""
        ident, _ = self.engine.turns_away()[0]
        with mock.patch("threading.get_ident", return_value=ident):
            return self.engine.give_way()
