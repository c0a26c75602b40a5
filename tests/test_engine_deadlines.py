"""The engine without time: when a connection expires, what that overtakes, and the order in which deadlines come."""
import math
import random
import unittest
from unittest import mock

from ownhands.polling import LONGEST_WAIT
from ownhands.watch import Caution, Watch
from ownhands.watchlist import Deadlines

from .engines import Block, FakeTurner
from .test_engine import EngineTest


class DeadlineTest(EngineTest):
    def add(self, fd, deadline):
        turner = FakeTurner()
        turner.deadline = deadline
        return self.stage.add(fd, turner)

    def pass_time(self, now):
        self.poller.settle()
        self.clock.now = now
        self.poller.elapse()
        self.poller.settle()

    def block(self, turner):
        """Begins an expiry, at 5.0, that lasts."""
        block = Block()
        self.addCleanup(block.end)
        turner.steps.append(block)
        self.poller.settle()
        self.clock.now = 5.0
        self.poller.elapse()
        block.wait()
        return block

    def test_the_poll_waits_for_the_first(self):
        self.add(1000, 9.0)
        self.add(1001, 7.0)
        self.poller.settle()
        self.assertEqual(7.0, self.poller.timeouts[-1])

    def test_without_any_it_waits_for_ever(self):
        self.add(1000, math.inf)
        self.poller.settle()
        self.assertIsNone(self.poller.timeouts[-1])

    def test_never_for_longer_than_systems_take(self):
        self.add(1000, 1e12)
        self.poller.settle()
        self.assertEqual(LONGEST_WAIT, self.poller.timeouts[-1])

    def test_it_ends_what_has_had_no_turn(self):
        turner = self.add(1000, 5.0)
        self.pass_time(4.9)
        self.assertEqual([], turner.log)
        self.pass_time(5.0)
        self.assertEqual(["expire"], turner.log)

    def test_one_that_was_moved_back_does_not_count(self):
        turner = self.add(1000, 5.0)
        turner.steps.append(lambda: setattr(turner, "deadline", 8.0))
        self.stage.turn(1000, turner)
        self.pass_time(5.0)
        self.assertEqual(["turn"], turner.log)
        self.pass_time(8.0)
        self.assertEqual(["turn", "expire"], turner.log)

    def test_one_that_was_moved_forward_does(self):
        turner = self.add(1000, 8.0)
        turner.steps.append(lambda: setattr(turner, "deadline", 5.0))
        self.stage.turn(1000, turner)
        self.pass_time(5.0)
        self.assertEqual(["turn", "expire"], turner.log)

    def test_an_expiry_wakes_the_monitor_like_a_turn(self):
        turner = FakeTurner()
        turner.deadline = 5.0
        self.stage.add(1000, turner)
        self.poller.settle()
        self.engine.on_activity = mock.Mock()
        notify = self.engine.on_activity
        turner.steps.append(lambda: notify.assert_called_once_with())
        self.clock.now = 5.0
        self.poller.elapse()
        self.stage.await_turn(turner)
        notify.assert_called_once_with()

    def test_an_expiry_that_lasts_is_overtaken_like_a_turn(self):
        turner, other = self.add(1000, 5.0), self.add(1001, math.inf)
        with self.assertNoLogs("ownhands"):
            block = self.block(turner)
            self.stage.overtake()
            self.stage.caution.turns = 0
            self.stage.turn(1001, other)
            block.end()
            self.stage.await_turn(turner)
            self.stage.caution.turns = 0
            self.stage.turn(1000, turner)
        self.assertEqual((["turn"], ["expire", "turn"]), (other.log, turner.log))

    def test_one_that_has_just_begun_is_not(self):
        self.block(self.add(1000, 5.0))
        self.stage.check_at(5.001)
        self.assertEqual(1, len(self.stage.threads))

    def test_nor_is_one_that_is_over(self):
        self.add(1000, 5.0)
        self.pass_time(5.0)
        self.stage.check_at(6.0)
        self.assertEqual((1, False), (len(self.stage.threads), self.engine.needs_monitor))

    def test_who_was_in_time_is_looked_at_before_it_expires(self):
        first, second = self.add(1000, math.inf), self.add(1001, 5.0)
        first.steps.append(lambda: (setattr(self.clock, "now", 9.0), self.poller.ready(1001)))  # it lasts so long
        second.steps.append(lambda: setattr(second, "deadline", 20.0))
        self.poller.settle()
        self.poller.ready(1000)
        self.stage.await_turn(second)
        self.assertEqual(["turn"], second.log)

    def test_but_only_once_if_it_moves_no_deadline(self):
        first, second = self.add(1000, math.inf), self.add(1001, 5.0)
        first.steps.append(lambda: (setattr(self.clock, "now", 9.0), self.poller.ready(1001)))
        second.steps.append(lambda: self.poller.ready(1001))
        self.poller.settle()
        self.poller.ready(1000)
        self.stage.await_turn(second)
        self.stage.await_turn(second)
        self.assertEqual(["turn", "expire"], second.log[:2])

    def test_one_that_does_not_move_its_deadline_is_closed(self):
        turner = self.add(1000, 5.0)
        turner.expire = lambda: None
        with self.assertLogs("ownhands", "ERROR"):
            self.pass_time(5.0)
        self.assertEqual([turner], self.stage.closed)

    def test_to_be_closed_by_it_is_no_failure(self):
        turner = self.add(1000, 5.0)
        turner.expire = turner.end
        with self.assertNoLogs("ownhands"):
            self.pass_time(5.0)
        self.assertEqual([turner], self.stage.closed)

    def test_that_of_a_closed_connection_means_nothing(self):
        turner = self.add(1000, 5.0)
        turner.steps.append(turner.end)
        self.stage.turn(1000, turner)
        with self.assertNoLogs("ownhands"):
            self.pass_time(5.0)
        self.assertEqual((["turn"], [turner]), (turner.log, self.stage.closed))


class DeadlinesTest(unittest.TestCase):
    def setUp(self):
        self.deadlines = Deadlines()
        self.watch = Watch(1000, FakeTurner(), Caution())

    def enter(self, deadline):
        self.watch.turner.deadline = deadline
        self.deadlines.enter(self.watch)

    def test_a_connection_has_one_entry_in_force(self):
        for deadline in (75.0, 10.0):
            self.enter(deadline)
        self.assertIs(self.watch, self.deadlines.pop(10.0))
        self.enter(85.0)
        self.assertIsNone(self.deadlines.pop(75.0))
        self.assertEqual(1, len(self.deadlines))

    def test_no_entry_is_added_while_an_earlier_one_is_in_force(self):
        for deadline in (10.0, 75.0, 11.0):
            self.enter(deadline)
        self.assertEqual(1, len(self.deadlines))

    def test_those_of_closed_connections_do_not_pile_up(self):
        for number in range(20_000):
            self.watch = Watch(1000, FakeTurner(), Caution())
            self.enter(75.0 + number)
            self.watch.turner = None
        self.assertLess(len(self.deadlines), 2000)

    def test_tidying_loses_none_that_is_open(self):
        watches = []
        for number in range(5000):
            self.watch = Watch(number, FakeTurner(), Caution())
            self.enter(float(number))
            watches.append(self.watch)
        found = []
        while (watch := self.deadlines.pop(5000.0)) is not None:
            found.append(watch)
        self.assertEqual(watches, found)

    def test_some_may_be_the_same(self):
        watches = []
        for _ in range(3):
            self.watch = Watch(1000, FakeTurner(), Caution())
            self.enter(5.0)
            watches.append(self.watch)
        self.assertEqual(watches, [self.deadlines.pop(5.0) for _ in range(3)])

    def test_tidying_keeps_their_order(self):
        order, watches = list(range(3000)), []
        random.Random(1).shuffle(order)
        for number in order:
            self.watch = Watch(number, FakeTurner(), Caution())
            self.enter(float(number))
            watches.append(self.watch)
        for watch in watches[:1000]:
            watch.turner = None
        for _ in range(2000):
            self.watch = Watch(5000, FakeTurner(), Caution())
            self.enter(5000.0)  # until they are tidied
        found = []
        while (watch := self.deadlines.pop(4000.0)) is not None:
            found.append(watch.fd)
        self.assertEqual(sorted(order[1000:]), found)
