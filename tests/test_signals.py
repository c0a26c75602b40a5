"""The server as a whole program: signals, exit statuses, and what it says of a port that it cannot have."""
import signal
import socket
import subprocess
import sys
import unittest

from nose2.tools import params

from .engines import PATIENCE
from .programs import ROOT
from .test_server import GET

PROGRAM = """
import signal, sys, threading, time
from ownhands import HTTPServer, RequestHandler
class Slow(RequestHandler):
    def do_GET(self, request):
        print("busy", flush=True)
        time.sleep(60)
        return "late"
HTTPServer("127.0.0.1", int(sys.argv[1]), Slow, shutdown_timeout=float(sys.argv[2])).serve()
"""


@unittest.skipIf(sys.platform == "win32", "no such signals")
class ProgramTest(unittest.TestCase):
    def start(self, port=0, shutdown_timeout=30):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port), str(shutdown_timeout)], cwd=ROOT,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        self.port = 0
        line = process.stdout.readline()
        if line:
            self.port = int(line.split(":")[2].split("/")[0])
        return process

    def end(self, process):
        process.kill()
        process.communicate()

    def be_busy(self, process):
        client = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(client.close)
        client.sendall(GET)
        self.assertEqual("busy\n", process.stdout.readline())

    @params(signal.SIGINT, signal.SIGTERM)
    def test_a_signal_ends_it_well(self, number):
        process = self.start()
        process.send_signal(number)
        self.assertEqual((0, ""), (process.wait(PATIENCE), process.stderr.read()))

    def test_a_second_one_ends_it_at_once(self):
        process = self.start()
        self.be_busy(process)
        process.send_signal(signal.SIGINT)
        while True:  # the first is dealt with when the listener has closed
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
            except ConnectionError:
                break
        process.send_signal(signal.SIGINT)
        self.assertEqual(-signal.SIGINT, process.wait(PATIENCE))

    def test_what_had_to_be_cut_is_status_1(self):
        process = self.start(shutdown_timeout=0.05)
        self.be_busy(process)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(1, process.wait(PATIENCE))
        self.assertIn("Slow did not end", process.stderr.read())

    def test_a_port_that_is_taken_is_status_1_and_no_traceback(self):
        self.start()
        port = self.port
        process = self.start(port)
        self.assertEqual(1, process.wait(PATIENCE))
        self.assertRegex(process.stderr.read(), rf"\Aownhands: cannot listen on 127\.0\.0\.1:{port}: .*\n\Z")

    def test_after_a_crash_it_starts_again_on_the_same_port(self):
        process = self.start()
        self.be_busy(process)
        process.kill()
        process.wait(PATIENCE)
        port = self.port
        self.start(port)
        self.assertEqual(port, self.port)
