"""auth.py: who is let in, and how long a wrong password waits; no thread waits with it."""
import socket
import time
import unittest
from base64 import b64encode
from contextlib import suppress
from unittest import mock

from nose2.tools import params

from ownhands import HTTPError, HTTPServer, RequestHandler, Response
from ownhands.auth import AuthHandler, is_same, parse_basic
from ownhands.testing import MockClient, parse_replies

from .turns import Session, post, statuses


def basic(text):
    return "Basic " + b64encode(text.encode()).decode()


class Secret(AuthHandler):
    auth = "me:p\u00e4ss:word"

    def do_GET(self, request):
        return f"hello {self.user}"

    def do_POST(self, request):
        return request.content.decode()


class Lenient(Secret):
    """Lets everybody in all the same."""

    def on_head(self, request):
        with suppress(HTTPError):
            super().on_head(request)


RIGHT, WRONG = basic(Secret.auth), basic("me:password")


def get(credentials=None, more=""):
    line = f"Authorization: {credentials}\r\n" if credentials else ""
    return f"GET / HTTP/1.1\r\nHost: a\r\n{line}{more}\r\n".encode()


class CredentialsTest(unittest.TestCase):
    @params(("Basic YTpi", b"a:b"), ("basic  YTpi", b"a:b"), ("BASIC YTo=", b"a:"), ("Basic", None), ("Basic ", None),
            ("Basic YTpi YTpi", None), ("Basic YTp", None), ("Basic \u00e4", None), ("Bearer YTpi", None), ("", None))
    def test_are_read(self, value, credentials):
        self.assertEqual(parse_basic(value), credentials)

    @params((b"", b"", True), (b"a", b"a", True), (b"a", b"b", False), (b"a", b"aa", False))
    def test_are_compared(self, one, other, same):
        self.assertEqual(is_same(one, other), same)


class AuthTest(unittest.TestCase):
    def client(self, **knobs):
        return MockClient(HTTPServer(handler=Secret, **knobs))

    def test_who_is_known_is_served(self):
        self.assertEqual(self.client()("/", authorization=RIGHT).text, "hello me")

    @params(None, WRONG, basic("me:p\u00e4ss"), basic(Secret.auth + "x"), basic("p\u00e4ss:word"), "Bearer x",
            "Basic x")
    def test_who_is_not_is_asked(self, credentials):
        reply = self.client()("/", authorization=credentials)
        self.assertEqual((reply.status, reply.fields["WWW-Authenticate"]),
                         (401, 'Basic realm="ownhands", charset="UTF-8"'))
        self.assertNotIn("hello", reply.text)

    @params(('a"b', r'a\"b'), ("a\\", r"a\\"), ("\u20ac \xfc\r\na\x80", "? \xfc??a?"))
    def test_the_realm_is_quoted(self, realm, quoted):
        reply = self.client(realm=realm)("/")
        self.assertEqual(reply.fields["WWW-Authenticate"], f'Basic realm="{quoted}", charset="UTF-8"')

    def test_a_password_may_be_any_octets(self):
        octets = b"me:p\xe4ss"
        right = "Basic " + b64encode(octets).decode()
        reply = self.client(auth=octets.decode("utf-8", "surrogateescape"))("/", authorization=right)
        self.assertEqual(reply.text, "hello me")

    def test_everybody_is_served_without(self):
        self.assertEqual(self.client(auth=None)("/").text, "hello ")

    @params(("/open", None, 200), ("/closed", None, 401), ("/closed", RIGHT, 200))
    def test_some_may_be_public(self, target, credentials, status):
        class Partly(Secret):
            def is_public(self, request):
                return request.path == "/open"

        reply = MockClient(HTTPServer(handler=Partly))(target, authorization=credentials)
        self.assertEqual(reply.status, status)

    @params((RIGHT, 303), (WRONG, 401))
    def test_the_next_class_is_asked_too(self, credentials, status):
        class Moved(RequestHandler):
            def on_head(self, request):
                return Response.redirect("/there")

        class Both(Secret, Moved):
            pass

        self.assertEqual(MockClient(HTTPServer(handler=Both))("/", authorization=credentials).status, status)

    def test_comes_before_the_content(self):
        session = Session(Secret)
        session.send(post(b"Content-Length: 1000000", b"Expect: 100-continue"))
        self.assertEqual(statuses(session.replies()), [401])
        self.assertNotIn(b"100 Continue", session.wire.sent)

    def test_the_password_is_asked_for_at_each_request(self):
        session = Session(Secret)
        session.send(get(RIGHT) + get())
        self.assertEqual(statuses(session.replies()), [200, 401])
        self.assertEqual(session.handler.user, "")


class DelayTest(unittest.TestCase):
    """A wrong password over a connection that can be watched: the answer comes when the deadline has passed."""

    def session(self, **knobs):
        session = Session(Secret, **knobs)
        session.wire.fileno = lambda: 7
        return session

    def test_a_wrong_password_waits(self):
        session = self.session()
        self.assertEqual((session.send(get(WRONG)), session.handler.deadline), (b"", session.clock.now + 1.0))
        self.assertFalse(session.handler.wants_write or session.handler.is_idle)
        self.assertEqual(session.wait(0.9), b"")
        self.assertEqual(statuses(parse_replies(session.wait(0.1))), [401])
        session.send(b"")
        self.assertTrue(session.is_over)

    @params(None, RIGHT)
    def test_others_do_not(self, credentials):
        session = self.session()
        self.assertIn(b"HTTP/1.1", session.send(get(credentials)))
        self.assertFalse(session.is_over)

    def test_the_connection_ends_with_it(self):
        session = self.session()
        session.send(get(WRONG) + get(RIGHT))
        session.send(get(RIGHT))
        session.wait(1)
        [reply] = session.replies()
        self.assertEqual((reply.status, reply.fields["Connection"]), (401, "close"))
        self.assertNotIn(b"hello", session.wire.sent)

    def test_what_comes_meanwhile_is_not_kept(self):
        session = self.session()
        session.send(get(WRONG))
        for _ in range(100):
            session.send(b"x" * 10_000)
        self.assertEqual((session.wire.sent, session.handler._unused), (b"", b""))
        self.assertEqual(statuses(parse_replies(session.wait(1))), [401])

    def test_with_content_waits_too(self):
        session = self.session()
        session.send(post(b"Content-Length: 5", f"Authorization: {WRONG}".encode()), b"hel")
        self.assertEqual(session.wire.sent, b"")
        self.assertEqual(statuses(parse_replies(session.wait(1))), [401])

    def test_a_client_that_has_ended_its_side_gets_it_in_its_time(self):
        session = self.session()
        session.send(get(WRONG), b"")
        self.assertEqual((session.wire.sent, session.is_over, session.handler.is_paused), (b"", False, True))
        self.assertEqual(statuses(parse_replies(session.wait(1))), [401])
        self.assertTrue(session.is_over)

    def test_nothing_has_come_after_all(self):
        session = self.session()
        session.send(get(WRONG))
        session.handler.take_turn()
        self.assertEqual((session.wire.sent, session.is_over), (b"", False))
        self.assertEqual(statuses(parse_replies(session.wait(1))), [401])

    def test_a_client_that_does_not_wait_for_it_is_no_error(self):
        session = self.session()
        session.send(get(WRONG))
        session.wire.recv = mock.Mock(side_effect=ConnectionResetError)
        with self.assertNoLogs("ownhands", "WARNING"):
            session.handler.take_turn()
        self.assertEqual((session.wire.sent, session.is_over), (b"", True))

    def test_nor_does_it_come_sooner_over_a_socket(self):
        with HTTPServer("127.0.0.1", 0, Secret, auth_delay=0.2) as server:
            with socket.create_connection(("127.0.0.1", server.server_address[1]), 5) as client:
                began = time.monotonic()
                client.sendall(get(WRONG))
                client.shutdown(socket.SHUT_WR)
                self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 401 "))
                self.assertGreater(time.monotonic() - began, 0.15)

    def test_a_client_that_takes_little_gets_it_in_pieces(self):
        session = self.session(room=10)
        session.send(get(WRONG))
        self.assertEqual(len(session.wait(1)), 10)
        session.take()
        self.assertEqual(statuses(session.replies()), [401])

    def test_a_slow_client_is_given_up_as_ever(self):
        session = self.session(room=10)
        session.send(get(WRONG))
        session.wait(1)
        session.wait(60)
        self.assertTrue(session.is_over)

    @params("no", Response("no", 401), Response(iter([b"no"]), 401))
    def test_an_answer_of_the_handlers_own_waits_too(self, answer):
        class Own(Secret):
            def on_error(self, request, error):
                return answer

        session = Session(Own)
        session.wire.fileno = lambda: 7
        self.assertEqual(session.send(get(WRONG) + get(RIGHT)), b"")
        session.wait(1)
        [reply] = session.replies()
        self.assertEqual((reply.content, reply.fields["Connection"]), (b"no", "close"))

    def test_a_handler_that_lets_the_client_in_all_the_same_ends_the_connection(self):
        session = Session(Lenient)
        session.wire.fileno = lambda: 7
        session.send(get(WRONG))
        self.assertEqual([reply.fields["Connection"] for reply in session.replies(session.wait(1))], ["close"])

    def test_such_a_handler_still_gets_the_content(self):
        session = Session(Lenient)
        session.send(post(b"Content-Length: 5", f"Authorization: {WRONG}".encode()), b"hel", b"lo")
        [reply] = session.replies()
        self.assertEqual((reply.content, reply.fields["Connection"]), (b"hello", "close"))

    def test_needs_no_thread_to_wait(self):
        session = self.session()
        session.send(get(WRONG) + get(WRONG))
        self.assertFalse(session.handler.needs_thread)

    def test_is_of_this_class_only(self):
        self.assertFalse(hasattr(RequestHandler, "auth"))
