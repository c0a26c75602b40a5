"""Caution, and the crew apart from its engine: which classes are trusted, and what a woken thread does first."""
import math
import threading
import unittest
from unittest import mock

from ownhands.crew import Crew
from ownhands.watch import Caution, Watch

from .engines import FakeTurner, wait_for


class CautionTest(unittest.TestCase):
    def setUp(self):
        self.caution = Caution()

    def fail(self, at):
        self.caution.fail(at)
        turns = self.caution.turns
        while self.caution.turns:
            self.caution.spend(at)
        return turns

    def test_a_slow_turn_among_many_quick_ones_does_not_make_it_cautious(self):
        self.assertEqual([0, 0, 0], [self.fail(at) for at in (100, 200, 300)])

    def test_nor_do_two_in_close_succession_which_the_system_may_have_held_up(self):
        self.assertEqual([0, 0, 0, 0], [self.fail(at) for at in (1, 2, 900, 901)])

    def test_three_do_and_each_time_that_is_so_again_at_once_doubles_it(self):
        self.assertEqual([0, 0, 64, 0, 0, 128, 0, 0, 256], [self.fail(at) for at in range(9)])

    def test_it_has_an_end(self):
        self.assertEqual(1024, [self.fail(at) for at in range(30)][-1])

    def test_quick_turns_reset_it(self):
        self.assertEqual([0, 0, 64, 0, 0, 64], [self.fail(at) for at in (1, 2, 3, 900, 901, 902)])

    def test_it_does_not_go_below_nothing(self):
        self.caution.spend(1)
        self.assertEqual(0, self.caution.turns)

    def test_a_class_may_never_be_trusted(self):
        caution = Caution(math.inf)
        caution.spend(1)
        self.assertEqual(math.inf, caution.turns)


def thread(name):
    """One that does nothing."""
    return threading.Thread(target=lambda: None)


class CrewTest(unittest.TestCase):
    def test_a_new_thread_takes_who_waits_before_it_leads(self):
        taken: list[Watch] = []
        team, watch = Crew(thread, 1), Watch(1000, FakeTurner(), Caution())
        team.queue(watch, 0.0)
        self.assertTrue(team.follow(taken.append, leads=True))
        self.assertEqual([watch], taken)

    def test_meanwhile_nobody_leads_and_it_is_known_to_be_away(self):
        seen = []
        team = Crew(thread, 1)
        team.queue(Watch(1000, FakeTurner(), Caution()), 0.0)
        team.follow(lambda watch: seen.append((team.has_leader, len(team.turns_away()))), leads=True)
        self.assertEqual([(False, 1)], seen)

    def test_a_thread_goes_where_it_could_not_even_wait(self):
        team = Crew(thread, 2)
        with mock.patch("threading.Lock", side_effect=MemoryError):
            self.assertFalse(team.follow(lambda watch: None))

    def test_threads_that_could_not_be_started_do_not_count(self):
        team = Crew(mock.Mock(side_effect=RuntimeError("can't start new thread")), 2)
        with self.assertLogs("ownhands", "WARNING") as logs:
            for _ in range(3):
                team.stand_down()
        self.assertEqual((0, False, 1), (team.threads, team.has_leader, len(logs.output)))

    def test_each_shortage_is_told_of_once(self):
        short = RuntimeError("can't start new thread")
        team = Crew(mock.Mock(side_effect=[short, short, thread(""), short]), 4)
        with self.assertLogs("ownhands", "WARNING") as logs:
            for _ in range(4):
                team.stand_down()
        self.assertEqual(2, len(logs.output))

    def test_a_follower_that_is_woken_takes_who_waits_first(self):
        taken = threading.Event()
        team = Crew(thread, 1)
        follower = threading.Thread(target=team.follow, args=(lambda watch: taken.set(),))
        self.assertFalse(team.stand_in())
        follower.start()
        wait_for(lambda: team._idle)
        team.queue(Watch(1000, FakeTurner(), Caution()), 0.0)
        team.stand_down()
        self.assertTrue(taken.wait(20))
        follower.join(20)  # it has gone on to lead
        self.assertTrue(team.has_leader)

    def test_that_no_thread_can_be_started_is_no_news_at_the_end_of_the_program(self):
        team = Crew(mock.Mock(side_effect=RuntimeError("can't create new thread at interpreter shutdown")), 2)
        with mock.patch("threading.main_thread") as main_thread, self.assertNoLogs("ownhands"):
            main_thread.return_value.is_alive.return_value = False
            team.stand_down()
        self.assertFalse(team.has_leader)
