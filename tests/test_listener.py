"""The Acceptor and the listening socket: what an accept that fails does, addresses, the limit of open files."""
import errno
import math
import socket
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import listener
from ownhands.listener import ACCEPT_FOR, ACCEPTS_A_TURN, PAUSE, Acceptor, bind, describe_url


class FakeServer:
    setup_may_wait = False
    is_stopping = False
    request_queue_size = 5

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)
        self.log = []
        self.now, self.seconds = 100.0, 0.0  # the time, and what a connection takes

    def get_request(self):
        if not self.outcomes:
            raise BlockingIOError
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome, ("client", 1)

    def verify_request(self, request, client_address):
        return request != "unwelcome"

    def process_request(self, request, client_address):
        self.log.append(f"process {request}")
        self.now += self.seconds
        if request == "bad":
            raise ValueError
        if request == "exit":
            raise SystemExit

    def shutdown_request(self, request):
        self.log.append(f"shutdown {request}")

    def handle_error(self, request, client_address):
        self.log.append(f"error {request}")


class AcceptorTest(unittest.TestCase):
    def accept(self, *outcomes):
        self.server = FakeServer(*outcomes)
        self.acceptor = Acceptor(self.server, lambda: self.server.now)
        self.acceptor.take_turn()
        return self.server.log

    def test_it_takes_what_there_is(self):
        self.assertEqual(["process a", "process b"], self.accept("a", "b"))

    @params((0.0, ACCEPTS_A_TURN), (0.0011, 11), (0.0015, 15), (5.0, 20))
    def test_others_have_their_turns_too(self, seconds_since, accepted):
        self.accept()
        self.server.now += seconds_since  # that others had
        self.server.seconds, self.server.outcomes = 0.0001, list("abcdefghijklmnopqrstuvwxyz")
        self.acceptor.take_turn()
        self.assertEqual(accepted, len(self.server.log))

    @params("bad", "exit")
    def test_one_that_fails_does_not_harm_the_next(self, request):
        self.assertEqual([f"process {request}", f"error {request}", f"shutdown {request}", "process b"],
                         self.accept(request, "b"))

    def test_who_is_not_welcome_is_closed(self):
        self.assertEqual(["shutdown unwelcome"], self.accept("unwelcome"))

    @params(errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
    def test_without_descriptors_it_pauses(self, number):
        with self.assertLogs("ownhands", "WARNING"):
            self.accept(OSError(number, "too many"), "a")
        self.assertEqual(100.0 + PAUSE, self.acceptor.deadline)
        self.acceptor.expire()
        self.assertEqual(math.inf, self.acceptor.deadline)

    @params(errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN)
    def test_one_that_has_gone_makes_no_pause(self, number):
        self.accept(OSError(number, "gone"))
        self.assertEqual(math.inf, self.acceptor.deadline)

    def test_once_closed_it_accepts_no_more(self):
        self.accept()
        self.acceptor.abandon()
        self.server.outcomes.append("a")
        self.acceptor.take_turn()
        self.assertEqual([], self.server.log)

    def test_without_room_it_accepts_none(self):
        self.accept()
        self.acceptor.has_room = lambda: False
        self.server.outcomes.append("a")
        self.acceptor.take_turn()
        self.acceptor.refuse_turn()
        self.assertEqual([], self.server.log)

    def test_at_the_end_it_accepts_no_more_than_may_have_waited(self):
        self.accept()
        self.server.is_stopping = True
        self.server.outcomes = list("abcdefghijkl")
        for turn in range(1, 3):
            self.assertFalse(self.acceptor.close_connection)
            self.acceptor.take_turn()
            self.assertEqual(4 * turn, len(self.server.log))
        self.assertTrue(self.acceptor.close_connection)

    def test_with_no_thread_free_it_accepts_for_handlers_that_can_wait(self):
        self.accept()
        self.server.outcomes.append("a")
        self.acceptor.refuse_turn()
        self.assertEqual(["process a"], self.server.log)

    @params((ACCEPT_FOR, 1), (0.4 * ACCEPT_FOR, 3), (0.0, 5))
    def test_but_not_for_long_as_nobody_leads_meanwhile(self, seconds, accepted):
        self.accept()
        self.server.seconds, self.server.outcomes = seconds, list("abcde")
        self.acceptor.refuse_turn()
        self.assertEqual(accepted, len(self.server.log))

    @params(([False, False], 1), ([False, True], 0), ([], 5))
    def test_nor_where_another_engine_has_a_thread(self, others, accepted):
        self.accept()
        self.server.outcomes = list("abcde")
        self.acceptor.others_lead = lambda: others
        self.acceptor.refuse_turn()
        self.assertEqual(accepted, len(self.server.log))

    def test_and_not_for_those_that_need_a_thread(self):
        self.accept()
        self.server.setup_may_wait = True
        self.server.outcomes.append("a")
        self.acceptor.refuse_turn()
        self.assertEqual([], self.server.log)


class BindTest(unittest.TestCase):
    def bind(self, host):
        found = bind(host, 0, 5, True)
        self.addCleanup(found.close)
        return found.getsockname()[1]

    @unittest.skipUnless(socket.has_dualstack_ipv6(), "no dual stack here")
    @params("127.0.0.1", "::1")
    def test_no_host_means_both_families(self, client_host):
        socket.create_connection((client_host, self.bind("")), 10).close()

    def test_without_ipv6_it_means_ipv4(self):
        with mock.patch.object(socket, "has_dualstack_ipv6", return_value=False):
            socket.create_connection(("127.0.0.1", self.bind("")), 10).close()

    def bind_without_ipv6(self, code):
        """Where the system has IPv6, but refuses to listen on it."""
        listen = listener._listen

        def refuse(family, *rest, **more):
            if family == socket.AF_INET6:
                raise OSError(code, "not here")
            return listen(family, *rest, **more)

        with (mock.patch.object(listener, "_listen", refuse),
              mock.patch.object(socket, "has_dualstack_ipv6", return_value=True)):
            return bind("", 0, 5, True)

    @params(errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    def test_so_it_does_where_ipv6_is_switched_off(self, code):
        with self.bind_without_ipv6(code) as found:
            self.assertEqual("0.0.0.0", found.getsockname()[0])

    @params(errno.EADDRINUSE, errno.EACCES)
    def test_other_reasons_are_told(self, code):
        with self.assertRaises(OSError) as caught:
            self.bind_without_ipv6(code)
        self.assertEqual(code, caught.exception.errno)

    def test_an_ipv6_address_is_that_alone(self):
        port = self.bind("::1")
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", port), 10)

    def test_a_port_that_is_taken_leaves_nothing_open(self):
        with self.assertRaises(OSError):
            bind("127.0.0.1", self.bind("127.0.0.1"), 5, True)

    @params(("", "http://localhost:80/"), ("0.0.0.0", "http://localhost:80/"), ("::1", "http://[::1]:80/"),
            ("example.org", "http://example.org:80/"))
    def test_the_url_can_be_clicked(self, host, url):
        self.assertEqual(url, describe_url("http", host, 80))


@unittest.skipIf(listener.resource is None, "no limit of open files here")
class ListenerTest(unittest.TestCase):
    def setUp(self):
        self.listener = self.enterContext(bind("127.0.0.1", 0, 5, True))
        self.client = self.enterContext(socket.create_connection(self.listener.getsockname()))

    def test_what_it_accepts_is_an_ordinary_socket(self):
        connection, _ = self.listener.accept()
        with connection:
            self.assertIs(socket.socket, type(connection))
            self.assertEqual((socket.AF_INET, socket.SOCK_STREAM), (connection.family, connection.type))

    def test_a_duplicate_listens_as_well(self):
        with self.listener.dup() as duplicate:
            connection, _ = duplicate.accept()
            connection.close()
            self.assertEqual(self.listener.getsockname(), duplicate.getsockname())


class DescriptorsTest(unittest.TestCase):
    def limits(self, soft, hard):
        patch = mock.patch.multiple(listener.resource, getrlimit=lambda _: (soft, hard), setrlimit=mock.DEFAULT)
        self.addCleanup(patch.stop)
        return patch.start()["setrlimit"]

    @params((1024, 960), (100, 50))
    def test_some_are_kept_for_other_things(self, soft, connections):
        self.limits(soft, 4096)
        self.assertEqual(connections, listener.max_descriptors())

    @params((4096, 4096), (100_000, 10_064))
    def test_the_limit_is_raised_as_far_as_is_needed_and_allowed(self, hard, wanted):
        setrlimit = self.limits(1024, hard)
        listener.raise_descriptor_limit(10_000)
        self.assertEqual((wanted, hard), setrlimit.call_args[0][1])

    def test_no_hard_limit_is_none(self):
        setrlimit = self.limits(1024, listener.resource.RLIM_INFINITY)
        listener.raise_descriptor_limit(10_000)
        self.assertEqual(10_064, setrlimit.call_args[0][1][0])

    def test_what_is_enough_is_left_alone(self):
        setrlimit = self.limits(1024, 4096)
        listener.raise_descriptor_limit(500)
        setrlimit.assert_not_called()

    def test_a_system_that_refuses_is_no_error(self):
        self.limits(1024, 4096).side_effect = ValueError
        listener.raise_descriptor_limit(10_000)
