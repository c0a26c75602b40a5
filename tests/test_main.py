"""__main__.py and accesslog.py: what was typed and the server that it makes; the command itself in a process."""
import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import unittest
import urllib.request
import webbrowser
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler, __main__, accesslog
from ownhands.__main__ import make_parser, make_server, parse_size
from ownhands.accesslog import Answered
from ownhands.files import FileHandler, UploadHandler
from ownhands.testing import MockClient, MockConnection, encode_request

from .folders import FolderTest
from .programs import ROOT

MODULE = '''
from socketserver import StreamRequestHandler
from ownhands import FileHandler, RequestHandler
class Pages(RequestHandler):
    def do_GET(self, request): return "pages"
class Files(FileHandler): pass
class Stream(StreamRequestHandler): pass
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"app"]
def make(): return app
number = 5
'''


class CommandTest(FolderTest):
    """A test in the folder `root`, with a module `typed` in it."""

    def setUp(self):
        super().setUp()
        self.write("a.txt", b"hello")
        self.write("typed.py", MODULE.encode())
        self.write("lacking.py", b"import a_module_that_is_not_there")
        self.write("failing.py", b"import os; os.there_is_no_such_name")
        self.write("unclear.py", b"int('not a number')")
        self.enterContext(contextlib.chdir(self.root))
        self.enterContext(mock.patch.dict(os.environ))
        self.enterContext(mock.patch.object(sys, "path", [each for each in sys.path if each]))
        os.environ.pop("OWNHANDS_AUTH", None)
        self.addCleanup(sys.modules.pop, "typed", None)

    def server(self, *arguments):
        parser = make_parser()
        return make_server(parser, parser.parse_args(arguments))

    def get(self, server, target="/", **fields):
        return MockClient(server)(target, **fields)

    def refusal(self, *arguments):
        """What is said on standard error, the usage left out."""
        with self.assertRaises(SystemExit) as caught, contextlib.redirect_stderr(io.StringIO()) as said:
            self.server(*arguments)
        self.assertEqual(caught.exception.code, 2)
        return said.getvalue().rstrip("\n").rpartition("error: ")[2]


class OptionTest(CommandTest):
    def test_the_current_folder_is_shared_on_port_8000(self):
        server = self.server()
        self.assertEqual(server.server_address, ("", 8000))
        self.assertEqual(self.get(server, "/a.txt").content, b"hello")

    def test_another_folder(self):
        self.write("sub/b.txt", b"other")
        self.assertEqual(self.get(self.server("sub"), "/b.txt").content, b"other")

    @params(
        (["--index", "x.html"], "index", "x.html"), ([], "index", "index.html"), (["--upload"], "index", None),
        (["--upload", "--index", "x.html", "--spa"], "index", "x.html"), (["--no-listing"], "listing", False),
        (["--hidden"], "hidden", True),
        (["--spa"], "spa", True), (["--cors"], "cors", True), (["--cache", "60"], "cache", 60),
        (["--follow-symlinks"], "follow_symlinks", True), (["--auth", "me:pass:word"], "auth", "me:pass:word"),
        (["--access-log", "json"], "log_format", "json"), (["--upload", "--overwrite"], "overwrite", True),
        (["--upload", "--max-upload", "2M"], "max_upload", 2 << 20), ([], "cors", False), ([], "cache", None))
    def test_is_a_knob_of_the_handler(self, arguments, name, value):
        server = self.server(*arguments)
        self.assertEqual(getattr(server.RequestHandlerClass, name), value)

    def test_host_and_port(self):
        self.assertEqual(self.server("--host", "127.0.0.1", "--port", "0").server_address, ("127.0.0.1", 0))

    @params(([], FileHandler), (["--upload"], UploadHandler))
    def test_upload_is_another_handler(self, arguments, handler):
        self.assertTrue(issubclass(self.server(*arguments).RequestHandlerClass, handler))
        self.assertEqual(hasattr(self.server(*arguments).RequestHandlerClass, "do_PUT"), handler is UploadHandler)

    def test_the_password_may_come_from_the_environment(self):
        os.environ["OWNHANDS_AUTH"] = "me:secret"
        self.assertEqual(self.get(self.server(), "/a.txt").status, 401)
        self.assertEqual(self.server("--auth", "me:typed").RequestHandlerClass.auth, "me:typed")

    @params(("0", 0), ("10", 10), ("1K", 1024), ("2m", 2 << 20), ("3GB", 3 << 30), ("1TiB", 1 << 40))
    def test_a_size(self, text, size):
        self.assertEqual(parse_size(text), size)

    @params(
        (["nowhere"], "nowhere does not exist"), (["a.txt"], "a.txt is not a folder"),
        (["x" * 300], f"{'x' * 300} cannot be looked at: File name too long"), ([""], "'' does not exist"),
        (["x:" + "x" * 300], "there is no module x"), (["8000"], "8000 does not exist; for a port, type --port 8000"),
        (["--port", "70000"], "argument --port/-p: '70000' is not a port number (0 to 65535)"),
        (["--port", "x"], "argument --port/-p: 'x' is not a port number (0 to 65535)"),
        (["--auth", "nobody"], "argument --auth: it has to be USER:PASSWORD"),
        (["--auth", "me:"], "argument --auth: it has to be USER:PASSWORD"),
        (["--cache", "-1"], "argument --cache: '-1' is not a number of seconds"),
        (["--upload", "--max-upload", "much"], "argument --max-upload: 'much' is not a size such as 500M or 2G"),
        (["--overwrite"], "--overwrite and --max-upload go with --upload"),
        (["--max-upload", "0"], "--overwrite and --max-upload go with --upload"),
        (["--handler", "typed"], "'typed' is not a handler class: give MODULE:NAME"),
        (["--handler", "typed:Nothing"], "typed has no Nothing"),
        (["--handler", "nothing_there:Pages"], "there is no module nothing_there"),
        (["--handler", "typed:app"], "typed:app is not a handler class"),
        (["typed:Pages"], "typed:Pages is a handler class: give --handler typed:Pages"),
        (["--handler", "typed:Files", "--upload"], "--upload is for folders: subclass UploadHandler"),
        (["--handler", "typed:Pages", "--spa"], "typed:Pages does not take --spa"),
        (["--handler", "typed:Pages", "--auth", "a:b", "--no-listing", "."],
         "typed:Pages does not take --auth (or OWNHANDS_AUTH), --no-listing, a folder"),
        (["--handler", "typed:Files", "nowhere"], "nowhere does not exist"),
        (["typed:app", "--upload"], "typed:app is not a folder, and only folders have --upload"),
        (["typed:app", "--upload", "--overwrite", "--max-upload", "1"],
         "typed:app is not a folder, and only folders have --upload, --max-upload, --overwrite"),
        (["typed:app", "--overwrite"], "typed:app is not a folder, and only folders have --overwrite"),
        (["typed:make()", "--no-listing", "--follow-symlinks", "--auth", "a:b"],
         "typed:make() is not a folder, and only folders have --auth (or OWNHANDS_AUTH), --follow-symlinks, --no-listing"),
        (["--max-content", "1G"],
         "--max-content is for applications and handler classes; a folder takes --upload and --max-upload"),
        (["typed:app", "--max-content", "much"], "argument --max-content: 'much' is not a size such as 500M or 2G"),
        (["--threads", "0"], "argument --threads: '0' is not a number of threads"),
        (["--threads", "x"], "argument --threads: 'x' is not a number of threads"),
        (["--handler", "typed:Stream", "--max-content", "1G"], "typed:Stream does not take --max-content"),
        (["typed:nothing"], "typed has no nothing"), (["nothing_there:app"], "there is no module nothing_there"),
        (["typed:number"], "typed:number is no WSGI application: it cannot be called"))
    def test_what_makes_no_server_is_said_in_one_line(self, arguments, line):
        self.assertEqual(self.refusal(*arguments), line)

    @params(([], ". does not exist"), (["nothing_there:app"], "there is no module nothing_there"))
    def test_the_current_folder_may_be_deleted(self, arguments, line):
        (self.root / "gone").mkdir()
        with contextlib.chdir(self.root):
            os.chdir("gone")
            os.rmdir("../gone")
            self.assertEqual(self.refusal(*arguments), line)

    def test_a_password_that_an_application_would_not_ask_for_is_refused(self):
        os.environ["OWNHANDS_AUTH"] = "me:secret"
        self.assertEqual(self.refusal("typed:app"),
                         "typed:app is not a folder, and only folders have --auth (or OWNHANDS_AUTH)")

    def test_a_wrong_password_in_the_environment_is_not_shown(self):
        os.environ["OWNHANDS_AUTH"] = "secret"
        self.assertEqual(self.refusal(), "OWNHANDS_AUTH: it has to be USER:PASSWORD")

    def test_a_certificate_that_is_not_there(self):
        named = r" no.pem \(certificate\) and no.key \(key\)"
        with self.assertRaisesRegex(SystemExit, rf"\Aownhands: --tls: No such file[^\n]+{named}\Z"):
            self.server("--tls", "no.pem", "no.key")

    def test_help_names_every_option(self):
        text = make_parser().format_help()
        names = {name for action in make_parser()._actions for name in action.option_strings if name.startswith("--")}
        self.assertEqual({name for name in names if name not in text}, set())
        self.assertLessEqual(max(map(len, text.splitlines())), 120)


class HandlerTest(CommandTest):
    @params((["--handler", "typed:Pages"], b"pages"), (["typed:app"], b"app"), (["typed:make()"], b"app"))
    def test_serves_with_it(self, arguments, content):
        self.assertEqual(self.get(self.server(*arguments)).content, content)

    @params((["typed:app"], 16 << 20), (["typed:app", "--max-content", "1G"], 1 << 30),
            (["--handler", "typed:Pages", "--max-content", "3K"], 3 << 10))
    def test_takes_so_much_content(self, arguments, size):
        self.assertEqual(self.server(*arguments).RequestHandlerClass.max_content_size, size)

    @params([], ["typed:app"], ["--handler", "typed:Stream"])
    def test_runs_in_so_many_threads(self, arguments):
        self.assertEqual(self.server(*arguments, "--threads", "3").max_threads, 3)

    def test_a_file_handler_of_ones_own_takes_the_options_and_the_folder(self):
        self.write("sub/.b", b"dot")
        server = self.server("sub", "--handler", "typed:Files", "--hidden")
        self.assertEqual(self.get(server, "/.b").content, b"dot")

    def test_any_handler_of_socketserver(self):
        self.assertEqual(self.server("--handler", "typed:Stream").RequestHandlerClass.__name__, "Stream")

    def test_a_module_that_lacks_another_says_so_itself(self):
        with self.assertRaisesRegex(ModuleNotFoundError, "a_module_that_is_not_there"):
            self.server("--handler", "lacking:Pages")
        with self.assertRaisesRegex(AttributeError, "there_is_no_such_name"):
            self.server("--handler", "failing:Pages")
        for arguments in (["--handler", "unclear:Pages"], ["unclear:app"]):
            with self.assertRaisesRegex(ValueError, "not a number"):
                self.server(*arguments)

    def test_a_folder_with_a_colon_is_a_folder(self):
        self.write("typed:app/b.txt", b"folder")
        self.assertEqual(self.get(self.server("typed:app"), "/b.txt").content, b"folder")


class AnnouncementTest(CommandTest):
    def announce(self, *arguments, address="192.0.2.7"):
        server = self.server(*arguments)
        with (mock.patch.object(__main__, "network_address", return_value=address),
              contextlib.redirect_stdout(io.StringIO()) as said):
            server.announce()
        return said.getvalue()

    def test_says_the_local_and_the_network_url(self):
        self.assertEqual(self.announce("."), "Serving . on http://localhost:8000/ (Ctrl-C stops)\n"
                                             "On the network: http://192.0.2.7:8000/\n")

    def test_says_a_network_url_of_ipv6(self):
        self.assertIn("http://[2001:db8::7]:8000/", self.announce(address="2001:db8::7"))

    def test_says_no_network_url_if_there_is_none(self):
        only = "Serving . on http://{}:8000/ (Ctrl-C stops)\n"
        self.assertEqual(self.announce(".", address=None), only.format("localhost"))
        self.assertEqual(self.announce(".", "--host", "127.0.0.1"), only.format("127.0.0.1"))

    def test_says_nothing_where_there_is_no_standard_output(self):
        server = self.server("--host", "127.0.0.1")
        with mock.patch.object(sys, "stdout", None):
            self.assertIsNone(server.announce())

    @params((["--upload"], True), (["--upload", "--auth", "a:b"], False), (["--upload", "--host", "::1"], False))
    def test_warns_who_lets_everybody_upload(self, arguments, warns):
        self.assertEqual("may upload" in self.announce(*arguments), warns)

    def test_opens_the_browser(self):
        opened = []
        with mock.patch("threading.Thread", lambda target, args, daemon: mock.Mock(
                start=lambda: opened.append((target, args)))):
            self.announce("--open")
        self.assertEqual(opened, [(webbrowser.open, ("http://localhost:8000/",))])

    def test_the_network_address_is_none_of_this_computer_alone(self):
        self.assertNotIn(__main__.network_address(), ("127.0.0.1", "::1", ""))


class Logged(RequestHandler):
    user = "me"

    def do_GET(self, request):
        return "hello"


class AccessLogTest(unittest.TestCase):
    def line(self, log_format, target="/a?b=c", **fields):
        with self.assertLogs("ownhands.access", logging.INFO) as logs, mock.patch("time.time", return_value=1.5):
            server = HTTPServer(handler=Logged, log_format=log_format)
            server.on_connect(MockConnection(encode_request(target, **fields)), ("192.0.2.1", 4711))
        return logs.records[0].getMessage()

    @params(("common", r'192\.0\.2\.1 - me \[01/Jan/1970:\d\d:\d\d:01 [+-]\d{4}\] "GET /a\?b=c HTTP/1\.1" 200 \d+'),
            ("combined", r'192\.0\.2\.1 - me \[[^]]+\] "GET /a\?b=c HTTP/1\.1" 200 \d+ "-" "MockClient/0\.1"'))
    def test_has_a_line_for_an_answer(self, log_format, pattern):
        self.assertRegex(self.line(log_format), rf"\A{pattern}\Z")

    def test_has_an_object_for_an_answer(self):
        found = json.loads(self.line("json", referer="http://a/"))
        self.assertGreater(found.pop("size"), 5)
        self.assertEqual(found, {
            "time": "1970-01-01T00:00:01.500Z", "client": "192.0.2.1", "user": "me", "method": "GET",
            "target": "/a?b=c", "version": "HTTP/1.1", "status": 200, "host": "localhost", "referer": "http://a/",
            "user_agent": "MockClient/0.1"})

    def test_quotes_what_comes_from_outside(self):
        line = self.line("combined", user_agent='a" 200 "\\\xff\t')
        self.assertTrue(line.endswith(r'"a\x22 200 \x22\x5c\xff"'), line)

    @params(r"/?\x0a127.0.0.1", r"/\\", "/\\")
    def test_escapes_a_backslash_in_a_target_as_in_what_was_no_request(self, target):
        line = f"GET {target} HTTP/1.1"
        with self.assertLogs("ownhands.access", logging.INFO) as logs:
            HTTPServer(handler=Logged).on_connect(MockConnection(f"{line}\r\nHost: a\r\n\r\n".encode()), ("", 1))
        refused = accesslog.common(Answered("", "", 0.0, None, 400, 100, line))
        expected = '"' + line.replace("\\", r"\x5c") + '"'
        self.assertEqual((expected in logs.records[0].getMessage(), expected in refused), (True, True))

    @params(("common", "/" + "a" * 2000, "x", "/" + "a" * 1023 + "... HTTP/1.1"),
            ("json", "/" + "a" * 2000, "x", "a..."),
            ("common", "/?" + "\\" * 2000, "x", r"\x5c... HTTP/1.1"), ("combined", "/", "\xff" * 2000, r'\xff..."'),
            ("json", "/", "\xff" * 2000, r'\u00ff..."'), ("combined", "/", "a" * 1024, 'a"'))
    def test_cuts_what_is_long(self, log_format, target, user_agent, shown):
        line = self.line(log_format, target=target, user_agent=user_agent)
        self.assertIn(shown, line)
        self.assertLess(len(line), 8000)

    @params(("\u20ac", r"\u20ac"), ("\x7f\x9b\n", r"\x7f\x9b\x0a"))
    def test_escapes_what_no_terminal_should_see_in_a_name(self, user, shown):
        self.assertIn(f" - {shown} [", accesslog.common(Answered("", user, 0.0, None, 400, 100)))

    @params(*accesslog.FORMATS)
    def test_has_a_line_for_what_was_no_request(self, log_format):
        line = accesslog.FORMATS[log_format](Answered("192.0.2.1", "", 0.0, None, 400, 100))
        self.assertIn("400", line)


class ProcessTest(CommandTest):
    """The command as it is typed, in a process of its own."""

    def start(self, *arguments, **environ):
        process = subprocess.Popen(
            [sys.executable, "-m", "ownhands", *arguments, "--host", "127.0.0.1", "--port", "0"], text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        line = process.stdout.readline()
        self.assertRegex(line, r"\AServing .* on http://127\.0\.0\.1:\d+/ \(Ctrl-C stops\)\n\Z")
        return process, line.split()[-3]

    def test_serves_logs_and_stops(self):
        process, url = self.start(".")
        with urllib.request.urlopen(url + "a.txt", timeout=10) as reply:
            self.assertEqual(reply.read(), b"hello")
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=10)
        self.assertEqual((process.returncode, rest), (0, ""))
        self.assertRegex(errors, r'\A127\.0\.0\.1 - - \[[^]]+\] "GET /a\.txt HTTP/1\.1" 200 \d+\n\Z')

    def test_a_folder_whose_name_standard_output_cannot_say(self):
        (self.root / "gr\xfcn").mkdir()
        self.start("gr\xfcn", PYTHONIOENCODING="ascii")  # which looks at the line with the name and the URL

    def test_serves_silently(self):
        process, url = self.start("typed:app", "--access-log", "none")
        with urllib.request.urlopen(url, timeout=10) as reply:
            self.assertEqual(reply.read(), b"app")
        process.terminate()
        self.assertEqual(process.communicate(timeout=10), ("", ""))
        self.assertEqual(process.returncode, 0)
