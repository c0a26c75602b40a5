"""python -m ownhands.run: a program as it is, and what --check says of it."""
import contextlib
import http.server
import io
import py_compile
import subprocess
import sys
import tempfile
import unittest
import urllib.request
import wsgiref.simple_server  # noqa: F401  first: what is imported while classes are replaced stays with ours
from pathlib import Path

from nose2.tools import params

from ownhands import run
from ownhands.compat_rules import handler_reasons
from tests.programs import ROOT, Program, load_example

class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "beside.py").write_text("NAME = 'beside'\n")

    def run_program(self, *arguments: str, source: str = "") -> subprocess.CompletedProcess:
        (self.folder / "program.py").write_text(source)
        return subprocess.run([sys.executable, "-m", "ownhands.run", *arguments], cwd=self.folder, timeout=30,
                              env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    @params(("program.py", "a", "-m"), ("--", "program.py", "a", "-m"), ("-m", "program", "a", "-m"))
    def test_runs_a_program(self, *arguments):
        done = self.run_program(*arguments, source=(
            "import sys, beside, http.server\nfrom ownhands import compat\n"
            "print(__name__, sys.argv[1:], beside.NAME, http.server.HTTPServer is compat.HTTPServer)\n"))
        self.assertEqual((done.stdout, done.stderr), ("__main__ ['a', '-m'] beside True\n", ""))

    def test_may_go_to_its_own_folder(self):
        done = self.run_program("program.py", source=(
            "import os, inspect\nos.chdir(os.path.dirname(__file__))\nos.chdir('/')\nprint(open(__file__).read(4))\n"
            "class A: pass\ninspect.getsource(A)"))
        self.assertEqual((done.stdout, done.stderr), ("impo\n", ""))

    def test_may_go_elsewhere_before_it_imports_as_a_module(self):
        done = self.run_program("-m", "program", source="import os\nos.chdir('/')\nimport beside")
        self.assertEqual(done.stderr, "")

    def test_may_be_a_folder(self):
        (self.folder / "__main__.py").write_text("import beside\nprint(__name__)")
        self.assertEqual(self.run_program(".").stdout, "__main__\n")

    def test_may_be_compiled(self):
        (self.folder / "program.py").write_text("print(__name__)")
        py_compile.compile(str(self.folder / "program.py"), str(self.folder / "program.pyc"))
        self.assertEqual(self.run_program("program.pyc").stdout, "__main__\n")

    def test_is_there_as_long_as_its_threads(self):
        done = self.run_program("program.py", source=(
            "import pickle, threading\nclass A: pass\n"
            "def late():\n threading.main_thread().join()\n pickle.dumps(A())\nthreading.Thread(target=late).start()"))
        self.assertEqual(done.stderr, "")

    def test_has_its_own_arguments_also_when_it_is_checked(self):
        done = self.run_program("--check", "program.py", "a", source="import sys\nprint(sys.argv[1:])")
        self.assertEqual(done.stdout.splitlines()[0], "['a']")

    def test_gives_the_programs_exit_status(self):
        self.assertEqual(self.run_program("program.py", source="raise SystemExit(7)").returncode, 7)

    def test_helps(self):
        self.assertIn("--check", self.run_program("--help").stdout)


class CommandLineTest(unittest.TestCase):
    @params((), ("--unknown",), ("-m",), ("--",), ("--check",), ("-m", "http.server"))
    def test_says_what_it_takes(self, *arguments):
        with self.assertRaisesRegex(SystemExit, "python -m ownhands"):
            run.main([*arguments])

    @params(("nosuch.py",), ("--check", __file__ + "/nosuch.py"))
    def test_says_in_one_line_that_a_program_is_not_there(self, *arguments):
        with contextlib.redirect_stderr(io.StringIO()) as said, self.assertRaises(SystemExit) as caught:
            run.main([*arguments])
        self.assertEqual(caught.exception.code, 2)
        self.assertRegex(said.getvalue(), rf"\Aownhands: cannot run {arguments[-1]}: (No such file|Not a dir)[^\n]+\n\Z")


class CheckTest(unittest.TestCase):
    def check(self, source: str) -> tuple[int, list[str]]:
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "program.py")
            program.write_text("from http.server import *\nimport functools, socketserver\n" + source)
            path = list(sys.path)
            try:
                with contextlib.redirect_stdout(io.StringIO()) as said:
                    status = run.report(str(program))
            finally:
                sys.path[:] = path
        return status, said.getvalue().splitlines()

    @params(
        "class H(BaseHTTPRequestHandler):\n def do_GET(self): pass\n def __init__(self, *a): super().__init__(*a)",
        "class H(SimpleHTTPRequestHandler):\n def end_headers(self): super().end_headers()",
        "class H(socketserver.ThreadingMixIn, HTTPServer): pass",
        "def main():\n class H(SimpleHTTPRequestHandler):\n  def do_GET(self): pass",
        "if __name__ == '__main__':\n class H(HTTPServer):\n  def verify_request(self, *_): pass")
    def test_says_fast(self, source):
        self.assertEqual(self.check(source), (0, ["H: fast"]))

    @params(
        ("class H(BaseHTTPRequestHandler):\n def handle(self): pass", "handle"),
        ("class H(BaseHTTPRequestHandler):\n def setup(self): pass", "setup"),
        ("class H(HTTPServer):\n def get_request(self): pass", "get_request"),
        ("def main():\n class H(HTTPServer):\n  def finish_request(self, *_): pass", "finish_request"),
        ("if __name__ == '__main__':\n class H(BaseHTTPRequestHandler):\n  def parse_request(self): pass",
         "parse_request"))
    def test_says_classic_and_why(self, source, name):
        reason = (run.CLASSIC_HANDLER | run.CLASSIC_SERVER)[name]
        self.assertEqual(self.check(source), (1, ["H: classic", f"    H.{name}: {reason}"]))

    @params("{}", "def main():\n {}")
    def test_says_why_an_init_is_classic(self, where):
        body = "class H(BaseHTTPRequestHandler):\n  def __init__(self, *a):\n   {}super().__init__(*a){}"
        behind, before = body.format("", "; self.x = 1"), body.format("self.x = 1; ", "")
        self.assertEqual(self.check(where.format(behind)), (1, ["H: classic", f"    H.__init__: {run.CLASSIC_INIT}"]))
        self.assertEqual(self.check(where.format(before)), (0, ["H: fast"]))

    def test_names_the_class_that_overrides(self):
        status, lines = self.check("class A(BaseHTTPRequestHandler):\n def handle(self): pass\nclass B(A): pass")
        self.assertEqual((status, [line.partition(":")[0] for line in lines]),
                         (1, ["A", "    A.handle", "B", "    A.handle"]))

    @params("class H(socketserver.ForkingMixIn, HTTPServer): pass",
            "def main():\n class H(socketserver.ForkingMixIn, HTTPServer): pass")
    def test_knows_forking(self, source):
        status, lines = self.check(source)
        self.assertEqual((status, lines[1].partition(":")[0]), (1, "    ForkingMixIn.process_request"))

    def test_points_at_servers_of_socketserver(self):
        status, lines = self.check("def main():\n socketserver.TCPServer(('', 0), SimpleHTTPRequestHandler)")
        self.assertEqual((status, lines), (1, [
            "line 4: TCPServer is socketserver's: classic, use http.server.HTTPServer"]))

    def test_leaves_out_the_standard_librarys_own(self):
        status, lines = self.check("import wsgiref.simple_server, xmlrpc.server")
        self.assertEqual((status, len(lines)), (0, 1))

    def test_points_at_wsgiref(self):
        status, lines = self.check("from wsgiref.simple_server import make_server\n"
                                   "def main():\n make_server('', 0, None)")
        self.assertEqual((status, lines), (1, [
            "line 5: make_server has wsgiref's handler: classic, use ownhands.wsgi.make_server"]))

    def test_does_not_run_the_main_part(self):
        self.assertEqual(self.check("if __name__ == '__main__': raise SystemExit(9)")[0], 0)

    @params("H.server = HTTPServer(('', 1), H)\nH.server.serve_forever()",
            "with ThreadingHTTPServer(('', 1), functools.partial(H)) as server:\n while True: server.handle_request()",
            "def main():\n H.server = HTTPServer(('', 1), H)\n try: H.server.serve_forever(poll_interval=1)\n finally: H.server.shutdown()\nmain()",
            "import threading\nthread = threading.Thread(target=HTTPServer(('', 1), H).serve_forever)\n"
            "thread.start()\nthread.join()")
    def test_ends_where_the_program_would_serve(self, serving):
        source = f"class H(BaseHTTPRequestHandler):\n def do_GET(self): pass\n{serving}\nprint('it goes on')"
        status, lines = self.check(source)
        self.assertEqual((status, lines[-1]), (0, "H: fast"))
        with http.server.HTTPServer(("127.0.0.1", 0), None) as server:
            self.assertTrue(server.server_port)

    @params(
        ("from wsgiref.simple_server import *\nWSGIServer(('', 1), WSGIRequestHandler).serve_forever()",
         "WSGIRequestHandler", "WSGIRequestHandler.handle: " + run.CLASSIC_HANDLER["handle"]),
        ("from xmlrpc.server import *\nS = SimpleXMLRPCServer(('', 1))\nS.serve_forever()",
         "SimpleXMLRPCServer", "SimpleXMLRPCServer is no subclass of http.server.HTTPServer"))
    def test_knows_the_classes_that_serve(self, source, name, reason):
        status, lines = self.check(source)
        self.assertEqual((status, lines[:2]), (1, [f"{name}: classic", f"    {reason}"]))

    @params(
        ("class H(CGIHTTPRequestHandler): pass", "H: classic"),
        ("class S(socketserver.ThreadingMixIn, socketserver.TCPServer): pass", "S: classic"),
        ("from xmlrpc.server import *\nclass S(SimpleXMLRPCServer): pass", "S: classic"),
        ("from xmlrpc.server import *\nif __name__ == '__main__': SimpleXMLRPCServer(('', 1))",
         "line 4: SimpleXMLRPCServer is a server of its own: classic"),
        ("from wsgiref.simple_server import *\nif __name__ == '__main__': WSGIServer(('', 1), WSGIRequestHandler)",
         "line 4: WSGIServer has wsgiref's handler: classic, use ownhands.wsgi.make_server"))
    def test_knows_what_is_classic_whatever_it_defines(self, source, line):
        if "CGI" in source and not hasattr(http.server, "CGIHTTPRequestHandler"):  # before Python 3.15
            self.skipTest("there is no such class")
        status, lines = self.check(source)
        self.assertEqual((status, line in lines), (1, True), lines)

    def test_lets_a_program_fail(self):
        self.assertRaises(ZeroDivisionError, self.check, "1 / 0")

    def test_says_that_there_is_nothing(self):
        status, lines = self.check("")
        self.assertEqual((status, len(lines)), (0, 1))


class ExampleTest(unittest.TestCase):
    def test_is_served_fast(self):
        self.assertFalse(handler_reasons(load_example("migrate_http_server").Echo))

    @params((None, b"Hi there!\n"), (b"hello", b"hello"))
    def test_answers(self, body, content):
        program = Program("migrate_http_server").__enter__()
        self.addCleanup(program.stop)  # by a signal, as a program of http.server ends
        with urllib.request.urlopen(program.url, body, timeout=10) as reply:
            self.assertEqual(reply.read(), content)
