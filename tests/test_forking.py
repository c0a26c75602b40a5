"""Children that a program forks while it serves: they can be ended, they end, and the parent serves on as before.

Each program runs in a process of its own: what a child does at its end is nothing for the process of the tests.
"""
import os
import subprocess
import sys
import unittest

from .engines import PATIENCE
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


def said_by(program: str, *arguments: str) -> list[str]:
    """The lines that a program says, and its exit status, if that is a failure."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM + program, *arguments], cwd=ROOT,
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

def end():
    print(ask(connect(server)), flush=True)
    os.kill(parent, signal.SIGTERM)

server = HTTPServer("127.0.0.1", 0, Handler)
server.announce = lambda: threading.Thread(target=end, daemon=True).start()
server.serve()
"""))

    def test_a_child_has_the_handlers_of_before(self):
        self.assertEqual(["True True", "True"], said_by("""
from ownhands.program import handling_signals
numbers = signal.SIGINT, signal.SIGTERM
before = [signal.getsignal(number) for number in numbers]
with handling_signals(print, None):
    during = [signal.getsignal(number) for number in numbers]
    pid = fork()
    if not pid:
        print([signal.getsignal(number) for number in numbers] == before, not signal.pthread_sigmask(0, []), flush=True)
        os._exit(0)
    status_of(pid)
    print([signal.getsignal(number) for number in numbers] == during and not signal.pthread_sigmask(0, []))
"""))


if __name__ == "__main__":
    unittest.main()
