"""Children that a program forks while it serves: they can be ended, they end, and the parent serves on as before.

Each program runs in a process of its own: what a child does at its end is nothing for the process of the tests.
"""
import gc
import os
import signal
import subprocess
import sys
import unittest

from nose2.tools import params

from ownhands import program
from ownhands.engine import Engine
from ownhands.program import handling_signals

from .engines import PATIENCE, FakeTurner
from .programs import ROOT

PROGRAM = """
import os, signal, socket, sys, threading, time
from socketserver import ThreadingMixIn
from ownhands import HTTPServer, RequestHandler, Response, compat

parent = os.getpid()

def fork():
    pid = os.fork()
    if not pid:
        signal.alarm(5)  # whatever it hangs in, it does not outlive the test
    return pid

def status_of(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def ask(connection, path="/", end=b"."):
    connection.sendall(b"GET %b HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" % path.encode())
    received = b""
    while not received.endswith(end):
        received += connection.recv(1000)
    return received.rpartition(b"\\r\\n")[2].decode()

def connect(server):
    return socket.create_connection(server.server_address, 10)

class Handler(RequestHandler):
    def do_GET(self, request):
        return Response(answer(self, request.path))

class Classic(compat.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_message = lambda *_: None
    def do_GET(self):
        content = answer(self, self.path).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

class Threading(ThreadingMixIn, compat.HTTPServer):
    handle_error = lambda *_: None

def served(path):
    return f"{path} by {'parent' if os.getpid() == parent else 'child'}."

def serve_beside(kind):
    server = HTTPServer("127.0.0.1", 0, Handler) if kind == "own" else Threading(("127.0.0.1", 0), Classic)
    if kind == "own":
        server.start()
    else:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return server

"""


FORKING = """
def answer(handler, path):
    if path != "/fork":
        return served(path)
    pid = fork()
    if pid:
        return f"{path} {status_of(pid)}."
"""

ASKED_ONCE = """
def end():
    print(ask(connect(server)), flush=True)
    os.kill(parent, signal.SIGTERM)

server = HTTPServer("127.0.0.1", 0, Handler)
server.announce = lambda: threading.Thread(target=end, daemon=True).start()
server.serve()
"""


def said_by(source: str, *arguments: str) -> list[str]:
    """The lines that a program says, and its exit status, if that is a failure."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM + source, *arguments], cwd=ROOT,
                          capture_output=True, timeout=PATIENCE, text=True)
    return done.stdout.splitlines() + ([f"status {done.returncode}", done.stderr] if done.returncode else [])


@unittest.skipUnless(hasattr(os, "fork"), "no processes are forked here")
class SignalTest(unittest.TestCase):
    def test_a_child_is_terminated_by_the_first(self):
        self.assertEqual(["/ -15."], said_by("""
def answer(handler, path):
    pid = fork()
    if not pid:
        time.sleep(10)
        os._exit(0)
    os.kill(pid, signal.SIGTERM)
    return f"{path} {status_of(pid)}."
""" + ASKED_ONCE))

    def test_a_child_has_the_handlers_of_before(self):
        self.assertEqual(["True True", "/ 0."], said_by("""
numbers = signal.SIGINT, signal.SIGTERM
before = [signal.getsignal(number) for number in numbers]

def answer(handler, path):
    pid = fork()
    if not pid:
        print([signal.getsignal(number) for number in numbers] == before, not signal.pthread_sigmask(0, []), flush=True)
        os._exit(0)
    return f"{path} {status_of(pid)}."
""" + ASKED_ONCE))

    def test_a_worker_that_serves_has_those_of_serve(self):
        self.assertCountEqual(["it has ended", "/ by child.", "0"], said_by("""
def answer(handler, path):
    os.kill(os.getpid(), signal.SIGTERM)
    return served(path)

class Server(HTTPServer):
    def serve_forever(self):
        pid = fork()
        if not pid:
            super().serve_forever()
            print("it has ended", flush=True)
            return
        print(ask(connect(self)))
        print(status_of(pid), flush=True)
        os._exit(0)

server = Server("127.0.0.1", 0, Handler)
server.announce = lambda: None
server.serve()
"""))

    @params((2, False), (1, True))
    def test_one_that_is_forked_while_another_is_holds_none_back(self, times, is_child):
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        with handling_signals(self.fail, None):
            for _ in range(2):
                program._hold_back()
            during = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            for _ in range(times):
                program.go_on(is_child)
        self.assertEqual((during - before, signal.pthread_sigmask(signal.SIG_BLOCK, [])),
                         ({signal.SIGINT, signal.SIGTERM}, before))


@unittest.skipUnless(hasattr(os, "fork"), "no processes are forked here")
class ChildOfHandlerTest(unittest.TestCase):
    @params(*((kind, how) for kind in ("own", "compat") for how in ("exit", "raise", "stop")))
    def test_ends_and_leaves_all_to_its_parent(self, kind, how):
        self.assertEqual(["/ by parent.", "/fork 0.", "/ by parent.", "/ by parent."], said_by(FORKING + """\
    if sys.argv[2] == "stop":
        handler.server.shutdown()
        handler.server.server_close()
    elif sys.argv[2] == "raise":
        raise ValueError("a child's")
    sys.exit(3)  # which no thread of a server's heeds

server = serve_beside(sys.argv[1])
connection = connect(server)
for path in "/", "/fork", "/":
    print(ask(connection, path))
print(ask(connect(server)), flush=True)
os._exit(0)
""", kind, how))

    @params("exit", "return")
    def test_of_socketservers_leaves_the_end_to_its_parent(self, how):
        self.assertEqual(["by parent."], said_by("""
import socketserver

class Line(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        pid = fork()
        if pid:
            status_of(pid)
            self.wfile.write(served(b"").encode()[4:])
        elif sys.argv[1] == "exit":
            sys.exit()

server = HTTPServer("127.0.0.1", 0, Line)
server.start()
with connect(server) as connection:
    connection.sendall(b"line\\n")
    print(connection.makefile().read(), flush=True)
os._exit(0)
""", how))

    @params("own", "compat")
    def test_ends_behind_its_turn(self, kind):
        self.assertEqual(["/ by parent.", "0 by parent.", "/ by parent.", "/ by parent."], said_by("""
def answer(handler, path):
    if path != "/fork":
        return served(path)
    pid = fork()
    return served(status_of(pid) if pid else "what it says comes first, as in http.server,")

server = serve_beside(sys.argv[1])
connection = connect(server)
for path, end in ("/", b"."), ("/fork", b"parent."), ("/", b"."):
    print(ask(connection, path, end))
print(ask(connect(server)), flush=True)
os._exit(0)
""", kind))

    @params("exit", "raise")
    def test_sends_nothing_that_its_parent_has_written(self, how):
        self.assertEqual(["one head", "what the child says, and its parent."], said_by("""
class Writer(Classic):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        pid = fork()
        if pid:
            status_of(pid)
            return self.wfile.write(b" and its parent.")
        self.wfile.write(b"what the child says,")
        sys.exit() if sys.argv[1] == "exit" else self.wfile.flush() or 1 / 0

server = Threading(("127.0.0.1", 0), Writer)
threading.Thread(target=server.serve_forever, daemon=True).start()
connection = connect(server)
connection.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
received = connection.makefile("rb").read()
print("one head" if received.count(b"200 OK") == 1 else received)
print(received.partition(b"\\r\\n\\r\\n")[2].decode(), flush=True)
os._exit(0)
""", how))


class EngineTest(unittest.TestCase):
    def test_of_a_child_tidies_up_nothing_of_its_parents(self):
        def pieces():
            try:
                yield
            finally:
                ended.append("by the child")

        ended = []
        turner, engine = FakeTurner(), Engine(lambda _: None)
        turner.content = pieces()
        next(turner.content)
        engine.watch(1000, turner)
        engine.disown()
        del turner
        gc.collect()
        self.assertEqual(ended, [])


SERIAL = FORKING + """\
    how()
    return "a child's, which nobody waits for."

def ask_all():
    connection = connect(server)
    print(ask(connection, "/fork", b" " + sys.argv[1].encode() + b"."))
    print(ask(connection))
    print(ask(connect(server)))
    print("" if os.get_blocking(server.fileno()) else "nobody waits in accept", flush=True)
    os._exit(0)

server = compat.HTTPServer(("127.0.0.1", 0), Classic)
server.handle_error = lambda *_: None
threading.Thread(target=ask_all, daemon=True).start()
server.serve_forever()
os._exit(4)
"""


@unittest.skipUnless(hasattr(os, "fork"), "no processes are forked here")
class ChildOfMainThreadTest(unittest.TestCase):
    @params((3, "how = lambda: sys.exit(3)"), (4, "how = lambda: None"), (4, "how = lambda: 1 / 0"),
            (4, "how = lambda: server.shutdown()"))
    def test_ends_serve_forever(self, status, how):
        self.assertEqual([f"/fork {status}.", "/ by parent.", "/ by parent.", "nobody waits in accept"],
                         said_by(how + SERIAL, str(status)))

    def test_ends_though_the_parent_serves_at_the_end_of_the_program(self):
        self.assertEqual(["7", "/ by parent."], said_by("""
answer = lambda handler, path: served(path)
server = serve_beside("compat")
ask(connect(server))
pid = fork()
if not pid:
    sys.exit(7)
print(status_of(pid))
print(ask(connect(server)), flush=True)
os._exit(0)
"""))

    def test_may_end_what_was_just_to_begin(self):
        self.assertEqual(["0"], said_by("""
class Server(HTTPServer):
    def server_bind(self):
        opening.set()
        time.sleep(10)

opening = threading.Event()
server = Server("127.0.0.1", 0, Handler)
threading.Thread(target=server.start, daemon=True).start()
opening.wait()
pid = fork()
if not pid:
    server.stop()
    server.wait()
    os._exit(0)
print(status_of(pid), flush=True)
os._exit(0)
"""))

    def test_may_serve_itself(self):
        self.assertEqual(["/ by child.", "0", "/ by parent."], said_by("""
answer = lambda handler, path: served(path)
server = serve_beside("own")
ask(connect(server))
pid = fork()
if not pid:
    server.socket, server.server_address = None, ("127.0.0.1", 0)
    server.start()
    print(ask(connect(server)), flush=True)
    server.stop()
    os._exit(0)
print(status_of(pid))
print(ask(connect(server)), flush=True)
os._exit(0)
"""))


if __name__ == "__main__":
    unittest.main()
