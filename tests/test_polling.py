"""Pollers: epoll and its stand-in keep the same contract, over real sockets."""
import os
import socket
import unittest
from unittest import mock

from nose2.tools import params

from ownhands.polling import READ, WRITE, SelectorPoller, Waker, make_poller

pollers = params(make_poller, SelectorPoller)


class PollerTest(unittest.TestCase):
    def setUp(self):
        self.left, self.right = socket.socketpair()
        self.addCleanup(self.left.close)
        self.addCleanup(self.right.close)
        self.fd = self.left.fileno()

    def make(self, maker):
        poller = maker()
        self.addCleanup(poller.close)
        return poller

    @pollers
    def test_octets_make_it_readable_until_they_are_read(self, maker):
        poller = self.make(maker)
        poller.register(self.fd, READ)
        self.assertEqual([], poller.poll(0, 10))
        self.right.send(b"x")
        self.assertEqual([(self.fd, READ)] * 2, poller.poll(None, 10) + poller.poll(None, 10))

    @pollers
    def test_room_makes_it_writable(self, maker):
        poller = self.make(maker)
        poller.register(self.fd, READ)
        poller.modify(self.fd, WRITE)
        [(fd, events)] = poller.poll(None, 10)
        self.assertEqual(self.fd, fd)
        self.assertTrue(events)

    @pollers
    def test_the_other_sides_end_makes_it_readable(self, maker):
        poller = self.make(maker)
        poller.register(self.fd, READ)
        self.right.close()
        self.assertEqual(self.fd, poller.poll(None, 10)[0][0])

    @pollers
    def test_unregistered_it_is_ready_for_nothing_not_even_the_end(self, maker):
        poller = self.make(maker)
        poller.register(self.fd, READ)
        poller.unregister(self.fd)
        self.right.close()
        self.assertEqual([], poller.poll(0, 10))

    @pollers
    def test_a_number_whose_socket_was_closed_behind_its_back_can_be_registered_again(self, maker):
        poller = self.make(maker)
        poller.register(self.fd, READ)
        left, right = socket.socketpair()
        self.addCleanup(right.close)
        with left:
            os.dup2(left.fileno(), self.fd)  # which closes what had the number
        poller.register(self.fd, READ)
        right.send(b"x")
        self.assertEqual([(self.fd, READ)], poller.poll(None, 10))

    @pollers
    def test_what_is_not_registered_cannot_be_modified(self, maker):
        with self.assertRaises(OSError):
            self.make(maker).modify(self.fd, READ)

    @pollers
    def test_what_is_not_registered_cannot_be_unregistered(self, maker):
        with self.assertRaises(OSError):
            self.make(maker).unregister(self.fd)

    @pollers
    def test_what_is_closed_cannot_be_registered(self, maker):
        self.left.close()
        with self.assertRaises((OSError, ValueError)):
            self.make(maker).register(self.left.fileno(), READ)

    def test_a_socket_that_is_closed_under_select_ends_that_poll_alone(self):
        poller = self.make(SelectorPoller)
        with mock.patch.object(poller, "_selector") as selector:
            selector.get_map.return_value = [-1]
            selector.select.side_effect = OSError(10038, "not a socket")
            self.assertEqual([], poller.poll(None, 10))
        selector.unregister.assert_called_once_with(-1)

    @pollers
    def test_all_who_are_ready_have_their_turn(self, maker):
        poller, connections = self.make(maker), [socket.socketpair() for _ in range(7)]
        for ours, theirs in connections:
            self.addCleanup(ours.close)
            self.addCleanup(theirs.close)
            theirs.send(b"x")
            poller.register(ours.fileno(), READ)
        self.assertEqual(7, len({fd for _ in range(10) for fd, _ in poller.poll(0, 2)}))


class WakerTest(unittest.TestCase):
    def setUp(self):
        self.waker = Waker()
        self.poller = make_poller()
        self.poller.register(self.waker.fileno(), READ)
        self.addCleanup(self.waker.close)
        self.addCleanup(self.poller.close)

    def test_it_ends_a_poll(self):
        self.waker.wake()
        self.assertTrue(self.poller.poll(None, 10))

    def test_cleared_it_does_so_no_more(self):
        self.waker.wake()
        self.waker.wake()
        self.waker.clear()
        self.assertEqual([], self.poller.poll(0, 10))

    def test_it_can_be_woken_more_often_than_its_buffer_holds(self):
        for _ in range(100_000):
            self.waker.wake()
        self.waker.clear()
        self.assertEqual([], self.poller.poll(0, 10))

    def test_it_may_be_woken_after_its_end(self):
        self.waker.close()
        self.waker.wake()
