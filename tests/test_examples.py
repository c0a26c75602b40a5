"""Each example does what its docstring says, and stays as small as an example is."""
import ast
import contextlib
import io
import socket
import sys
import unittest
from http.client import HTTPConnection

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.testing import MockClient, MockConnection
from tests.programs import EXAMPLES, ROOT, Program, load_example, run

NAMES = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))
MAX_LINES = 39
FORM = "application/x-www-form-urlencoded"


class EveryExampleTest(unittest.TestCase):
    @params(*NAMES)
    def test_is_short(self, name):
        self.assertLessEqual(len((EXAMPLES / f"{name}.py").read_text().splitlines()), MAX_LINES)

    @params(*NAMES)
    def test_says_what_to_type(self, name):
        docstring = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text()))
        self.assertIn(f"python examples/{name}.py", docstring)

    @params("hello", "echo", "stages", "forms")
    def test_runs_from_a_clone_where_nothing_is_installed(self, name):
        with Program(name, "-S") as program:
            connection = HTTPConnection("127.0.0.1", program.port, timeout=10)
            connection.request("GET", "/")
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()


class HelloTest(unittest.TestCase):
    def test_says_hi(self):
        self.assertEqual(client_of("hello", "Hello")("/").content, b"Hi there!\n")

    def test_its_test_passes(self):
        run(sys.executable, "-S", "examples/test_hello.py", cwd=ROOT)


class EchoTest(unittest.TestCase):
    def setUp(self):
        self.client = client_of("echo", "Echo")

    def test_sends_back_what_is_posted(self):
        reply = self.client("/echo", method="POST", body=b"\0\xff", content_type="image/png")
        self.assertEqual((reply.status, reply.fields["Content-Type"], reply.content), (200, "image/png", b"\0\xff"))

    @params(("GET", "/", 200), ("GET", "/echo", 404), ("POST", "/", 404), ("PUT", "/echo", 405))
    def test_has_two_paths(self, method, path, status):
        self.assertEqual(self.client(path, method=method).status, status)


class FormsTest(unittest.TestCase):
    def setUp(self):
        self.client = client_of("forms", "Order")

    def test_shows_a_form(self):
        reply = self.client("/")
        self.assertIn('<form method="post">', reply.text)
        self.assertEqual(reply.fields["Content-Type"], "text/html; charset=utf-8")

    def test_answers_an_order(self):
        reply = self.client("/", method="POST", body="name=Ada&tea=Assam", content_type=FORM)
        self.assertIn("Thank you, Ada", reply.text)

    def test_escapes_what_was_typed(self):
        reply = self.client("/", method="POST", body="name=<b>{}%26&tea=Rooibos+%26+vanilla", content_type=FORM)
        self.assertIn("<h1>Thank you, &lt;b&gt;{}&amp;</h1><p>A cup of Rooibos &amp; vanilla", reply.text)

    @params(("name=&tea=Assam", FORM, 400), ("name=Ada", FORM, 400), ("name=Ada&tea=Coffee", FORM, 400),
            ("name=Ada&tea=Assam", "text/plain", 415))
    def test_refuses_what_is_no_order(self, body, content_type, status):
        self.assertEqual(self.client("/", method="POST", body=body, content_type=content_type).status, status)


class StagesTest(unittest.TestCase):
    def test_shows_what_passes_and_answers_every_method(self):
        stages = load_example("stages")
        connection = MockConnection(b"BREW /pot HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            stages.TappedServer(handler=stages.Mirror).on_connect(connection, None)
        self.assertTrue(connection.sent.endswith(b"\r\n\r\nYou sent BREW to /pot\n"))
        self.assertEqual([line[:9] for line in shown.getvalue().splitlines()], ["< b'BREW ", "> b'HTTP/"])


class PlainSocketserverTest(unittest.TestCase):
    def test_sends_each_line_back_reversed(self):
        server = HTTPServer(handler=load_example("plain_socketserver").Reverse)
        ours, theirs = socket.socketpair()
        with ours, ours.makefile("rb") as answers:
            ours.sendall(b"abc\r\nlast")
            ours.shutdown(socket.SHUT_WR)
            server.on_connect(theirs, None)
            self.assertEqual(answers.read(), b"cba\ntsal\n")


def client_of(name, handler):
    return MockClient(HTTPServer(handler=getattr(load_example(name), handler)))
