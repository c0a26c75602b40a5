"""The engine without time: what fails, too many connections, and the end."""
import math
import threading
from unittest import mock

from nose2.tools import params

from ownhands.engine import Engine
from ownhands.watch import Caution, Watch

from .engines import Block, FakeTurner, wait_for
from .test_engine import EngineTest


class FailureTest(EngineTest):
    """What fails outside all turns."""

    def test_of_the_engine_itself_is_survived(self):
        turner, other = self.stage.add(1000), self.stage.add(1001)
        turner.steps.append(lambda: setattr(turner, "deadline", None))
        with mock.patch("ownhands.engine.PAUSE", 0), self.assertLogs("ownhands", "ERROR"):
            self.stage.turn(1000, turner)
            self.stage.turn(1001, other)
        self.assertEqual(["turn"], other.log)

    @params(OSError, SystemExit)
    def test_of_closing_is_survived(self, error):
        turner, other = self.stage.add(1000), self.stage.add(1001)
        turner.steps.append(turner.end)
        self.engine._close = mock.Mock(side_effect=error)
        with self.assertLogs("ownhands", "ERROR") as logs:
            self.stage.turn(1000, turner)
            self.stage.turn(1001, other)
        self.assertIn("closing FakeTurner has failed", logs.output[0])
        self.assertEqual(["turn"], other.log)

    def test_of_closing_behind_an_overtaken_turn_holds_up_no_end(self):
        turner = self.stage.add(1000)
        self.engine._close = mock.Mock(side_effect=type("Odd", (BaseException,), {}))
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        turner.end()
        with mock.patch.object(threading, "excepthook") as died:
            block.end()
            wait_for(lambda: died.called)
        self.assertEqual(self.engine._crew.away, set())

    def test_of_closing_wakes_the_leader_where_all_is_to_end(self):
        turner = self.stage.add(1000)
        self.engine._close = mock.Mock(side_effect=type("Odd", (BaseException,), {}))
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        turner.end()
        self.engine.stop()
        self.poller.settle()
        with mock.patch.object(threading, "excepthook"):
            block.end()
            wait_for(lambda: self.engine.has_ended)


class ManyConnectionsTest(EngineTest):
    knobs = {"max_connections": 2}

    def setUp(self):
        super().setUp()
        self.listener = self.stage.add(1000, is_listener=True)
        self.turners = [self.stage.add(fd) for fd in (1001, 1002)]
        self.poller.settle()
        self.poller.ready(1000)
        self.poller.settle()

    def test_those_on_their_way_to_be_watched_count(self):
        engine = Engine(lambda turner: None, max_connections=2)
        self.addCleanup(engine.close)
        self.assertTrue(engine.has_room())
        for fd in range(3):
            engine.watch(fd, FakeTurner())
        self.assertFalse(engine.has_room())

    def test_past_the_limit_new_ones_wait_in_the_backlog(self):
        self.assertEqual([], self.listener.log)
        self.assertNotIn(1000, self.poller.registered)

    def test_they_are_accepted_once_one_has_gone(self):
        self.turners[0].steps.append(self.turners[0].end)
        self.stage.turn(1001, self.turners[0])
        self.poller.ready(1000)
        self.stage.await_turn(self.listener)
        self.assertEqual(["turn"], self.listener.log)

    def test_also_where_that_one_was_overtaken(self):
        block = self.stage.block(1001, self.turners[0])
        self.stage.overtake()
        self.stage.caution.turns = 0
        self.turners[0].end()
        block.end()
        self.poller.ready(1000)
        self.stage.await_turn(self.listener)
        self.assertEqual(["turn"], self.listener.log)

    def test_also_where_the_leader_was_waiting_meanwhile(self):
        block = self.stage.block(1001, self.turners[0])
        self.stage.overtake()
        self.poller.settle()
        self.turners[0].end()
        block.end()
        wait_for(lambda: 1000 in self.poller.registered)

    def test_also_where_that_one_was_too_late(self):
        turner = self.turners[0]
        turner.steps += [lambda: setattr(turner, "deadline", 5.0), turner.end]
        self.stage.turn(1001, turner)
        self.poller.settle()
        self.clock.now = 5.0
        self.poller.elapse()
        self.poller.settle()
        self.assertIn(1000, self.poller.registered)

    def test_those_in_their_first_turn_count(self):
        engine = Engine(lambda turner: None, max_connections=2)
        self.addCleanup(engine.close)
        engine._crew.threads = 3
        for ident, has_room in ((1, True), (2, True), (3, False)):
            engine._crew.leave(Watch(5, FakeTurner(), Caution(), is_listener=True), ident)
            self.assertIs(has_room, engine.has_room())

    def test_the_engine_can_stop_meanwhile(self):
        self.engine.stop()
        self.stage.join()
        self.assertIn(self.listener, self.stage.closed)


class PauseTest(EngineTest):
    @params(True, False)
    def test_who_pauses_is_left_alone_until_the_deadline(self, is_listener):
        turner = self.stage.add(1000, is_listener=is_listener)
        turner.steps.append(lambda: turner.pause(0.5))
        self.stage.turn(1000, turner)
        self.poller.settle()
        polls = self.poller.polls
        self.assertNotIn(1000, self.poller.registered)
        self.clock.now = 0.5
        self.poller.elapse()
        self.poller.settle()
        self.assertIn(1000, self.poller.registered)
        self.assertLess(self.poller.polls - polls, 10)


    def test_who_does_so_from_the_beginning_is_a_connection(self):
        turner = FakeTurner()
        turner.pause(math.inf)
        self.stage.add(1000, turner)
        self.poller.settle()
        self.assertEqual(1, self.engine.connections)
        self.engine.stop()
        self.stage.join()
        self.assertEqual([turner], self.stage.closed)


class StopTest(EngineTest):
    def test_an_idle_connection_is_closed_at_once(self):
        turner = self.stage.add(1000)
        self.poller.settle()
        self.engine.stop()
        self.stage.join()
        self.assertEqual(["abandon"], turner.log)
        self.assertEqual([turner], self.stage.closed)
        self.assertTrue(self.engine.has_ended)

    def test_one_that_has_sent_something_has_its_turn_first(self):
        first, second = self.stage.add(1000), self.stage.add(1001)
        first.steps.append(lambda: (self.poller.ready(1001), self.engine.stop()))
        self.poller.settle()
        self.poller.ready(1000)
        self.stage.join()
        self.assertEqual((["turn", "abandon"], ["turn", "abandon"]), (first.log, second.log))

    def test_one_that_is_owed_an_answer_is_waited_for(self):
        turner = self.stage.add(1000)
        turner.is_idle = False
        self.poller.settle()
        self.engine.stop()
        self.poller.settle()
        self.assertFalse(self.engine.has_ended)
        turner.steps.append(turner.end)
        self.stage.turn(1000, turner)
        self.stage.join()
        self.assertEqual(["turn"], turner.log)

    def test_a_turn_elsewhere_is_waited_for(self):
        turner = self.stage.add(1000)
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        self.engine.stop()
        self.poller.settle()
        self.assertFalse(self.engine.has_ended)
        block.end()
        self.stage.join()
        self.assertEqual([turner], self.stage.closed)

    @params(False, True)
    def test_a_listener_that_closes_in_an_overtaken_turn_keeps_no_end_waiting(self, is_stopping):
        listener = self.stage.add(1000, is_listener=True)
        listener.is_idle = False
        block = self.stage.block(1000, listener)
        self.stage.overtake()
        if is_stopping:
            self.engine.stop()
        self.poller.settle()
        self.assertEqual([], self.stage.closed)
        listener.end()
        with self.assertNoLogs("ownhands"):
            block.end()
            wait_for(lambda: self.stage.closed)
            self.engine.stop()
            wait_for(lambda: self.engine.has_ended)
        self.assertEqual(([listener], 0), (self.stage.closed, self.engine.connections))

    def test_a_listener_may_be_closed_while_a_turn_accepts(self):
        listener = self.stage.add(1000, is_listener=True)
        block = self.stage.block(1000, listener)
        self.stage.overtake()
        self.engine.stop()
        self.poller.settle()
        self.assertEqual([listener], self.stage.closed)
        block.end()
        self.stage.join()
        self.assertTrue(self.engine.has_ended)
        self.assertEqual([listener], self.stage.closed)

    def test_an_accepting_turn_may_fail_after_that(self):
        listener = self.stage.add(1000, is_listener=True)
        block = Block()

        def accept():
            block()
            raise ValueError

        listener.steps.append(accept)
        self.poller.ready(1000)
        block.wait()
        self.stage.overtake()
        self.engine.stop()
        self.poller.settle()
        with self.assertLogs("ownhands", "ERROR"):
            block.end()
            self.stage.join()
        self.assertTrue(self.engine.has_ended)

    def test_followers_end_too(self):
        block = self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        block.end()
        self.engine.stop()
        self.stage.join()
        self.assertEqual([], self.stage.threads)

    def test_afterwards_nothing_is_watched(self):
        self.engine.stop()
        self.stage.join()
        self.assertFalse(self.engine.watch(1000, FakeTurner(), Caution()))

    def test_the_descriptors_are_given_back(self):
        self.engine.stop()
        self.stage.join()
        self.engine.close()
        self.assertEqual((True, -1), (self.poller.is_closed, self.engine._waker.fileno()))


class CutTest(EngineTest):
    def test_what_is_between_turns_is_closed(self):
        turner = self.stage.add(1000)
        turner.is_idle = False
        self.poller.settle()
        self.engine.cut()
        self.stage.join()
        self.assertEqual([turner], self.stage.closed)
        self.assertEqual([repr(turner)], self.engine.undone)

    def test_so_it_is_where_that_comes_while_it_winds_down(self):
        class Cutting(FakeTurner):
            is_idle = property(lambda _: engine.cut(), lambda *_: None)  # which is false

        engine, turner, cutting = self.engine, self.stage.add(1000), self.stage.add(1001, Cutting())
        turner.is_idle = False
        self.poller.settle()
        self.engine.stop()
        self.stage.join()
        self.assertEqual({turner, cutting}, set(self.stage.closed))

    def test_so_it_is_where_a_turn_elsewhere_ends_meanwhile(self):
        class Ending(FakeTurner):
            def abandon(self):
                super().abandon()
                block.end()
                wait_for(lambda: not engine.turns_away())

        engine, turner, ending = self.engine, self.stage.add(1000), Ending()
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        self.stage.add(1001, ending)
        self.poller.settle()
        self.engine.cut()
        self.stage.join()
        self.assertEqual({turner, ending}, set(self.stage.closed))

    def test_nor_is_what_has_been_answered(self):
        turner = self.stage.add(1000)
        turner.is_idle, turner.is_lingering = False, True
        self.poller.settle()
        self.engine.cut()
        self.stage.join()
        self.assertEqual(([turner], []), (self.stage.closed, self.engine.undone))

    def test_one_that_cannot_say_who_it_is_is_cut_all_the_same(self):
        class Nameless(FakeTurner):
            def __repr__(self):
                raise ZeroDivisionError

        turner = self.stage.add(1000, Nameless())
        turner.is_idle = False
        self.poller.settle()
        self.engine.cut()
        self.stage.join()
        self.assertEqual(([turner], ["Nameless"]), (self.stage.closed, self.engine.undone))

    def test_a_listener_that_accepts_still_is_not_waited_for(self):
        self.stage.block(1000, self.stage.add(1000, is_listener=True))
        self.stage.overtake()
        self.poller.settle()
        self.engine.cut()
        wait_for(lambda: self.engine.has_ended)

    def test_the_end_has_not_come_before_the_leader_has_closed_what_is_cut(self):
        block = self.stage.block(1000, self.stage.add(1000))
        self.engine.cut()
        self.assertFalse(self.engine.has_ended)
        block.end()
        self.stage.join()
        self.assertTrue(self.engine.has_ended)

    def test_what_is_idle_is_not_missed(self):
        self.stage.add(1000)
        self.poller.settle()
        self.engine.cut()
        self.stage.join()
        self.assertEqual([], self.engine.undone)

    def test_a_turn_is_left_to_itself_and_its_connection_closed_behind_it(self):
        turner = self.stage.add(1000)
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        self.poller.settle()
        self.engine.cut()
        wait_for(lambda: self.engine.has_ended)
        self.assertEqual([turner], [turner for _, turner in self.engine.turns_away()])
        self.assertEqual([], self.stage.closed)
        self.engine.close()
        self.assertFalse(self.poller.is_closed)
        block.end()
        self.stage.join()
        self.assertEqual([turner], self.stage.closed)
        self.assertTrue(self.poller.is_closed)


    @params((False, False, True), (False, True, False), (True, False, False))
    def test_one_that_ends_with_work_left_is_told_of(self, is_idle, is_lingering, is_told):
        turner = self.stage.add(1000)
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        self.engine.cut()
        wait_for(lambda: self.engine.has_ended)
        turner.is_idle, turner.is_lingering = is_idle, is_lingering
        block.end()
        self.stage.join()
        self.assertEqual([repr(turner)] if is_told else [], self.engine.undone)


class EndInLineTest(EngineTest):
    knobs = {"max_threads": 1}

    def test_who_waits_for_a_thread_has_its_turn_before_all_stops(self):
        waiting = self.stage.add(1001)
        block = self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.poller.ready(1001)
        self.engine.check()
        self.engine.stop()
        self.engine.check()
        block.end()
        self.stage.await_turn(waiting)
        self.assertEqual(("turn", []), (waiting.log[0], self.engine.undone))

    def test_but_is_closed_where_all_is_cut(self):
        waiting = self.stage.add(1001)
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.poller.ready(1001)
        self.engine.check()
        self.engine.cut()
        self.engine.check()
        self.assertTrue(self.engine.has_ended)
        self.assertEqual([repr(waiting)], self.engine.undone)
        self.assertEqual([waiting], self.stage.closed)
