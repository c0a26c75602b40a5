"""Leader and followers, without time: who takes which turn on which thread, and what becomes of the connection."""
import threading
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import crew, engine
from ownhands.polling import READ
from ownhands.watch import SUSPECT_FOR, SUSPICION, WARY_FOR, Caution, Watch

from .engines import Block, FakeTurner, Stage, wait_for


class EngineTest(unittest.TestCase):
    knobs: dict = {}

    def setUp(self):
        self.stage = stage = Stage(**self.knobs)
        self.addCleanup(stage.tear_down)
        stage.engine.start()
        self.engine, self.poller, self.clock = stage.engine, stage.poller, stage.clock


class QuickTurnsTest(EngineTest):
    def test_one_thread_takes_the_turns_of_all(self):
        turners = [self.stage.add(fd) for fd in range(1000, 1010)]
        for fd, turner in enumerate(turners, 1000):
            self.stage.turn(fd, turner)
        self.assertEqual(1, len({turner.threads[0] for turner in turners}))
        self.assertEqual(1, len(self.stage.threads))

    def test_a_connection_stays_registered_from_turn_to_turn(self):
        turner = self.stage.add(1000)
        for _ in range(3):
            self.stage.turn(1000, turner)
        self.poller.settle()
        self.assertEqual([("register", 1000)], self.poller.log)

    def test_who_wants_to_write_is_registered_for_that(self):
        turner = self.stage.add(1000)
        turner.steps.append(lambda: setattr(turner, "wants_write", True))
        self.stage.turn(1000, turner)
        self.stage.turn(1000, turner)
        self.assertEqual([("register", 1000), ("modify", 1000)], self.poller.log)

    def test_a_closed_connection_is_unregistered_before_it_is_closed(self):
        turner = self.stage.add(1000)
        turner.steps.append(turner.end)
        self.stage.turn(1000, turner)
        self.poller.settle()
        self.assertEqual([("register", 1000), ("unregister", 1000), ("close", -1)], self.poller.log)
        self.assertEqual([turner], self.stage.closed)
        self.assertEqual(0, self.engine.connections)

    def test_a_turn_that_raises_ends_its_connection_alone(self):
        def fail():
            raise SystemExit

        bad, good = self.stage.add(1000), self.stage.add(1001)
        bad.steps.append(fail)
        with self.assertLogs("ownhands", "ERROR"):
            self.stage.turn(1000, bad)
            self.stage.turn(1001, good)
        self.assertEqual([bad], self.stage.closed)
        self.assertEqual(bad.threads, good.threads)

    def test_what_cannot_be_watched_is_closed(self):
        self.poller.refuses.add(1000)
        with self.assertLogs("ownhands", "WARNING"):
            turner = self.stage.add(1000)
            self.poller.settle()
        self.assertEqual([turner], self.stage.closed)

    def test_a_descriptor_nobody_knows_is_unregistered(self):
        self.poller.settle()
        self.poller.register(1000, READ)
        self.poller.ready(1000)
        self.poller.settle()
        self.assertNotIn(1000, self.poller.registered)


class PollTest(EngineTest):
    def test_asks_for_few_at_first(self):
        turner = self.stage.add(1000)
        for _ in range(6):
            self.stage.turn(1000, turner)
            self.poller.settle()
        self.assertEqual([1, 4, 16, 64, 256, 256], self.poller.sizes[:6])


class OvertakenTest(EngineTest):
    def test_a_long_turn_delays_nobody(self):
        slow, quick = self.stage.add(1000), self.stage.add(1001)
        self.stage.block(1000, slow)
        self.stage.overtake()
        self.stage.turn(1001, quick)
        self.assertNotEqual(slow.threads, quick.threads)

    def test_a_failure_on_the_way_to_the_next_leader_leaves_none_missing(self):
        self.stage.block(1000, self.stage.add(1000))
        with mock.patch.object(Watch, "suspect", side_effect=MemoryError), self.assertRaises(MemoryError):
            self.stage.overtake()
        quick = self.stage.add(1001)
        self.engine.check()
        self.stage.turn(1001, quick)

    def test_a_leader_that_dies_is_replaced(self):
        self.stage.block(1000, self.stage.add(1000))
        with (mock.patch.object(self.engine, "_lead_on", side_effect=MemoryError),
              mock.patch("threading.excepthook") as told):
            self.stage.overtake()
            wait_for(lambda: told.called)
        self.engine.check()
        self.stage.turn(1001, self.stage.add(1001))

    def test_a_turn_that_is_not_long_yet_goes_on_leading(self):
        self.stage.block(1000, self.stage.add(1000))
        self.clock.now += 0.001
        self.engine.check()
        self.assertEqual(1, len(self.stage.threads))

    def test_it_is_muted_while_its_turn_lasts_and_watched_again(self):
        turner = self.stage.add(1000)
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        self.poller.settle()
        self.poller.ready(1000)
        self.poller.settle()
        self.assertNotIn(1000, self.poller.registered)
        self.poller.ready(1000)
        block.end()
        self.stage.await_turn(turner)
        self.stage.await_turn(turner)
        self.assertIn(1000, self.poller.registered)

    def test_muted_it_is_still_a_connection(self):
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.poller.ready(1000)
        self.poller.settle()
        self.assertEqual(1, self.engine.connections)

    def test_its_end_is_not_taken_for_that_of_the_new_leaders_turn(self):
        first, second = self.stage.add(1000), self.stage.add(1001)
        block = self.stage.block(1000, first)
        self.stage.overtake()
        self.stage.block(1001, second)
        block.end()
        self.stage.await_turn(first)
        self.await_follower()
        self.stage.overtake()
        self.stage.turn(1000, first)

    def test_its_thread_is_the_next_to_lead(self):
        first, second, third = (self.stage.add(fd) for fd in (1000, 1001, 1002))
        block = self.stage.block(1000, first)
        self.stage.overtake()
        self.poller.settle()
        block.end()
        self.stage.await_turn(first)
        self.stage.caution.turns = 0
        self.stage.block(1001, second)
        self.await_follower()
        self.stage.overtake()
        self.stage.caution.turns = 0
        self.stage.turn(1002, third)
        self.assertEqual(first.threads, third.threads)

    def test_when_it_ends_it_does_not_take_the_lead_from_who_has_it(self):
        first, second = self.stage.add(1000), self.stage.add(1001)
        block = self.stage.block(1000, first)
        self.stage.overtake()
        self.stage.caution.turns = 0
        self.poller.settle()
        self.stage.block(1001, second)
        block.end()
        self.await_follower()
        self.assertEqual([], self.engine.turns_away())

    def await_follower(self):
        wait_for(lambda: self.engine._crew._idle)

    def test_its_deadline_holds_once_it_has_ended(self):
        turner = self.stage.add(1000)
        turner.deadline = 1.0
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        self.clock.now = 2.0
        self.poller.elapse()
        self.poller.settle()
        self.assertEqual(["turn"], turner.log)
        block.end()
        self.stage.await_turn(turner)
        self.stage.await_turn(turner)
        self.assertEqual(["turn", "expire"], turner.log)

    def test_it_may_close_its_connection(self):
        turner = self.stage.add(1000)
        block = self.stage.block(1000, turner)
        self.stage.overtake()
        turner.end()
        block.end()
        self.stage.await_turn(turner)
        self.engine.stop()
        self.stage.join()
        self.assertEqual([turner], self.stage.closed)

    def test_what_it_has_accepted_is_watched_though_it_goes_on(self):
        listener, accepted = FakeTurner(), FakeTurner()
        block, second = Block(), Block()

        def accept():
            block()
            self.stage.add(1001, accepted)
            second()

        self.addCleanup(second.end)
        self.stage.add(1000, listener, is_listener=True)
        listener.steps.append(accept)
        self.poller.ready(1000)
        block.wait()
        self.stage.overtake()
        self.poller.settle()
        block.end()
        second.wait()
        self.stage.caution.turns = 0
        self.stage.turn(1001, accepted)
        self.assertEqual(["turn"], accepted.log)


class CautiousTest(EngineTest):
    def test_an_overtaken_turn_lets_the_next_be_overtaken_early(self):
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.assertEqual(engine.OVERTAKE_EARLY, self.engine.patience)

    def test_so_does_a_turn_that_was_long_though_nobody_saw_it(self):
        turner = self.stage.add(1000)
        turner.steps.append(lambda: setattr(self.clock, "now", 0.0004))
        self.stage.turn(1000, turner)
        self.poller.settle()
        self.assertEqual(engine.OVERTAKE_EARLY, self.engine.patience)

    def test_patience_comes_back(self):
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.engine._turns += WARY_FOR
        self.assertEqual(engine.OVERTAKE_AFTER, self.engine.patience)

    def test_leadership_is_given_away_before_a_cautious_turn(self):
        self.stage.caution.turns = 1
        slow, quick = self.stage.add(1000), self.stage.add(1001)
        self.stage.block(1000, slow)
        self.stage.turn(1001, quick)  # and nobody has called check()
        self.assertNotEqual(slow.threads, quick.threads)
        self.assertEqual(0, self.stage.caution.turns)

    def test_a_failure_to_give_it_away_leaves_no_leader_missing(self):
        self.stage.caution.turns = 1
        turner = self.stage.add(1000)
        with (mock.patch.object(crew.Crew, "promote", side_effect=MemoryError), self.assertLogs("ownhands", "ERROR")):
            self.poller.ready(1000)
            wait_for(lambda: self.stage.caution.turns == 0 and not self.engine.turns_away())
        self.poller.settle()
        self.stage.turn(1000, turner)

    def test_an_idle_thread_leads_where_none_can_be_started(self):
        block = self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        slow = self.stage.add(1001)
        self.poller.settle()

        def fail(thread):
            block.end()  # its thread comes back meanwhile
            wait_for(lambda: self.engine._crew._idle)
            raise RuntimeError("can't start new thread")

        self.stage.caution.turns = 1
        with mock.patch.object(threading.Thread, "start", fail), self.assertLogs("ownhands", "WARNING"):
            self.stage.block(1001, slow)
        self.stage.turn(1002, self.stage.add(1002))

    def test_another_class_is_trusted_still(self):
        self.stage.caution.turns = 1
        self.stage.block(1000, self.stage.add(1000))
        quick = self.stage.add(1001, caution=Caution())
        self.stage.turn(1001, quick)
        self.stage.turn(1001, quick)
        self.assertEqual(1, len(set(quick.threads)))


class SuspectTest(EngineTest):
    """A connection whose last turn was slow: leadership is given away before its next ones, and before no other's."""

    def setUp(self):
        super().setUp()
        self.slow, self.quick = self.stage.add(1000), self.stage.add(1001)
        self.take_turn(0.001)

    def take_turn(self, seconds):
        """One of the slow one's, and to its end: another thread may lead by then."""
        self.slow.steps.append(lambda: setattr(self.clock, "now", self.clock.now + seconds))
        self.stage.turn(1000, self.slow)
        wait_for(lambda: not self.engine.turns_away())

    def is_led_away(self, fd, turner):
        """Whether another thread leads while its turn lasts, though nobody has called check()."""
        self.stage.block(fd, turner)
        return [away for _, away in self.engine.turns_away()] == [turner]

    def test_leadership_is_given_away_before_its_next_turn(self):
        self.assertTrue(self.is_led_away(1000, self.slow))

    def test_not_before_anothers(self):
        self.assertFalse(self.is_led_away(1001, self.quick))

    def test_a_first_slow_turn_makes_it_suspect_for_one(self):
        self.take_turn(0.001)
        self.assertFalse(self.is_led_away(1000, self.slow))

    @params((1, True), (2, True), (3, False))
    def test_the_next_one_for_twice_as_many(self, turns, is_suspected):
        for _ in range(1 + turns):
            self.take_turn(0.001)
        self.assertIs(is_suspected, self.is_led_away(1000, self.slow))

    def test_but_for_one_again_where_it_was_quick_for_long(self):
        self.take_turn(0.001)
        self.engine._turns += SUSPECT_FOR
        self.take_turn(0.001)
        self.take_turn(0.001)
        self.assertFalse(self.is_led_away(1000, self.slow))

    def test_and_so_on_up_to_a_bound(self):
        watch, suspicions = Watch(1000, self.slow, Caution()), []
        for count in range(6):
            watch.suspect(count)
            suspicions.append(watch.suspicion)
        self.assertEqual([1, 2, 4, 8, SUSPICION, SUSPICION], suspicions)

    def test_one_quick_turn_and_it_is_trusted(self):
        self.take_turn(0.001)
        self.take_turn(0.001)
        self.take_turn(0.0001)
        self.assertFalse(self.is_led_away(1000, self.slow))


class NoThreadTest(EngineTest):
    knobs = {"max_threads": 1}

    def wait_in_line(self, *turners, at=0.01):
        for fd, turner in turners:
            self.stage.add(fd, turner)
            self.poller.ready(fd)
            self.stage.check_at(at)  # admits it
            self.stage.check_at(at)  # finds it ready

    def test_turns_wait_in_order(self):
        log = []
        block = self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        turners = [FakeTurner(name, log) for name in "abc"]
        self.wait_in_line((1003, turners[0]), (1001, turners[1]), (1002, turners[2]))
        self.assertEqual([], log)
        block.end()
        for turner in turners:
            self.stage.await_turn(turner)
        self.assertEqual(["a turn", "b turn", "c turn"], log)

    def test_the_monitor_is_needed_while_any_waits_though_a_thread_was_told_to_lead(self):
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.wait_in_line((1001, FakeTurner()))
        self.engine._crew.has_leader = True  # as it is until that thread has woken up, and takes the turn instead
        self.assertTrue(self.engine.needs_monitor)
        self.engine._crew.has_leader = False

    def test_the_thread_leads_again_behind_them(self):
        block, turner = self.stage.block(1000, self.stage.add(1000)), FakeTurner()
        self.stage.overtake()
        self.wait_in_line((1001, turner))
        block.end()
        self.stage.await_turn(turner)
        self.stage.turn(1001, turner)
        self.assertEqual(2, len(turner.log))

    def test_who_waits_for_too_long_is_refused(self):
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        early, late = FakeTurner(), FakeTurner()
        self.wait_in_line((1001, early), at=1.0)
        self.wait_in_line((1002, late), at=5.0)
        self.stage.check_at(11.5)
        self.assertEqual([["refuse"], []], [early.log, late.log])

    def test_who_was_refused_is_watched_on(self):
        block, turner = self.stage.block(1000, self.stage.add(1000)), FakeTurner()
        self.stage.overtake()
        self.wait_in_line((1001, turner), at=1.0)
        self.stage.check_at(12.0)
        self.stage.await_turn(turner)
        block.end()
        self.stage.turn(1001, turner)
        self.assertEqual(["refuse", "turn"], turner.log)

    def test_who_needs_none_does_not_wait(self):
        turner = FakeTurner()
        turner.needs_thread = False
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.wait_in_line((1001, turner))
        self.assertEqual((["turn"], [threading.current_thread()]), (turner.log, turner.threads))

    def test_what_means_the_program_is_raised(self):
        turner = FakeTurner()
        turner.needs_thread = False
        turner.steps.append(mock.Mock(side_effect=KeyboardInterrupt))
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.assertRaises(KeyboardInterrupt, self.wait_in_line, (1001, turner))

    def test_deadlines_pass_all_the_same(self):
        turner = FakeTurner()
        turner.deadline = 3.0
        self.stage.add(1001, turner)
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.stage.check_at(2.9)
        self.assertEqual([], turner.log)
        self.stage.check_at(3.0)
        self.assertEqual(["expire"], turner.log)

    def test_the_listener_accepts_without_a_first_turn(self):
        listener = self.stage.add(1001, is_listener=True)
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.poller.ready(1001)
        self.stage.check_at(0.01)
        self.assertEqual(["refuse"], listener.log)

    def test_a_listener_that_pauses_is_not_asked_again(self):
        listener = self.stage.add(1001, is_listener=True)
        listener.steps.append(lambda: listener.pause(0.5))
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.poller.ready(1001)
        self.stage.check_at(0.01)
        self.assertNotIn(1001, self.poller.registered)
        self.stage.check_at(0.5)
        self.assertIn(1001, self.poller.registered)

    def test_what_fails_meanwhile_leaves_no_one_without_a_leader(self):
        block, turner = self.stage.block(1000, self.stage.add(1000)), self.stage.add(1001)
        self.stage.overtake()
        with mock.patch.object(self.poller, "poll", side_effect=MemoryError), self.assertRaises(MemoryError):
            self.engine.check()
        block.end()
        self.stage.turn(1001, turner)
        self.assertEqual(["turn"], turner.log)

    def test_a_monitor_that_sleeps_is_woken(self):
        turner, told = self.stage.add(1000), threading.Event()
        self.poller.settle()
        self.engine.on_activity = told.set
        self.stage.caution.turns = 1
        self.stage.block(1000, turner)
        self.assertTrue(told.is_set())

    def test_those_in_line_count_as_connections(self):
        self.engine.max_connections = 2
        listener = self.stage.add(1001, is_listener=True)
        self.stage.block(1000, self.stage.add(1000))
        self.stage.overtake()
        self.wait_in_line((1002, FakeTurner()))
        self.poller.ready(1001)
        self.stage.check_at(0.02)
        self.assertEqual([], listener.log)


class ThreadsTest(EngineTest):
    def overtaken(self, fd):
        turner = self.stage.add(fd, caution=Caution())
        block = self.stage.block(fd, turner)
        self.stage.overtake()
        self.poller.settle()
        return block, turner

    def end(self, block, turner, follower_timeout=60.0):
        """Ends the turn; its thread follows then, or ends."""
        with mock.patch.object(crew, "FOLLOWER_TIMEOUT", follower_timeout):
            idle, count = len(self.engine._crew._idle), self.engine._crew.threads
            block.end()
            self.stage.await_turn(turner)
            if follower_timeout:
                wait_for(lambda: len(self.engine._crew._idle) > idle)
            else:
                turner.threads[0].join(20)
                self.assertEqual(count - 1, self.engine._crew.threads)

    def test_an_unused_thread_ends(self):
        block, turner = self.overtaken(1000)
        self.assertEqual(2, len(self.stage.threads))
        self.end(block, turner, follower_timeout=0)
        self.assertEqual(1, len(self.stage.threads))

    def test_when_one_ends_the_others_are_remembered(self):
        first, second = self.overtaken(1000), self.overtaken(1001)
        self.end(*first)
        self.end(*second, follower_timeout=0)
        self.overtaken(1002)
        turner = self.stage.add(1003, caution=Caution())
        self.stage.turn(1003, turner)
        self.assertEqual(first[1].threads, turner.threads)

    def test_a_thread_that_cannot_be_started_is_tried_again(self):
        quick = self.stage.add(1001, caution=Caution())
        self.stage.block(1000, self.stage.add(1000))
        with (mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
              self.assertLogs("ownhands", "WARNING") as logs):
            self.stage.overtake()
            self.stage.overtake()
        self.assertEqual(1, len(logs.output))
        self.stage.overtake()
        self.stage.turn(1001, quick)
        self.assertEqual(["turn"], quick.log)
