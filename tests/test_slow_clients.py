"""Crowds of slow clients, each in its way, beside a healthy one that is answered all the same. Real sockets.

By hand, `python -m tests.test_slow_clients [SECONDS]`: the worst latency of the healthy one beside each, of full size.
"""
import gc
import resource
import socket
import struct
import sys
import threading
import time
import unittest
from pathlib import Path

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler, Response

from .engines import PATIENCE, wait_for

HEAD = b"%b HTTP/1.1\r\nHost: localhost\r\n"
GET = HEAD % b"GET /" + b"\r\n"
LARGE = bytes(10_000_000)


class Echo(RequestHandler):
    def do_GET(self, request):
        return Response(LARGE if request.path == "/large" else "hello\n")

    def do_POST(self, request):
        return Response(request.content)


def idle(client):
    client.sendall(GET)
    client.recv(65536)


def half_head(client):
    client.sendall(GET[:-9])


def half_length(client):
    client.sendall(HEAD % b"POST /" + b"Content-Length: 1000\r\n\r\nabc")


def half_chunked(client):
    client.sendall(HEAD % b"POST /" + b"Transfer-Encoding: chunked\r\n\r\n10\r\nabc")


def not_reading(client):
    client.sendall(HEAD % b"GET /large" + b"\r\n")


def reset(client):
    client.sendall(GET)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


CROWDS = {  # what each does, and how many of them there are
    "idle keep-alive": (idle, 1000),
    "silent": (lambda client: None, 200),
    "half a head": (half_head, 200),
    "dribbled head": (None, 100),
    "half a content by length": (half_length, 200),
    "half a content in chunks": (half_chunked, 200),
    "10 MB asked for and not read": (not_reading, 60),
    "reset": (reset, 500),
}


class Crowd:
    """So many clients at once, from `with` to the end."""

    def __init__(self, address, name, share=1.0):
        self.act, count = CROWDS[name]
        self.clients = []
        self.over = threading.Event()
        for _ in range(int(count * share)):
            client = socket.create_connection(address, PATIENCE)
            self.clients.append(client)
            if self.act is not None:
                self.act(client)
        self.dribbler = threading.Thread(target=self.dribble, daemon=True)
        if self.act is None:
            self.dribbler.start()

    def dribble(self):
        """An octet each 50 ms."""
        for octet in GET[:-2]:
            for client in self.clients:
                client.send(bytes([octet]))
            if self.over.wait(0.05):
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        if self.act is None:
            self.dribbler.join(PATIENCE)
        for client in self.clients:
            client.close()


def ask(client):
    """Seconds until the answer."""
    before = time.perf_counter()
    client.sendall(GET)
    if b"hello\n" not in client.recv(65536):
        raise AssertionError("the healthy client was not answered")
    return time.perf_counter() - before


def ask_anew(address):
    with socket.create_connection(address, PATIENCE) as client:
        return ask(client)


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def raise_limit(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard),
                                                    hard))


@unittest.skipUnless(sys.platform == "linux", "descriptors are counted in /proc")
class SlowClientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise_limit(4096)
        cls.server = HTTPServer("127.0.0.1", 0, Echo, max_threads=4)
        cls.server.start()
        cls.address = cls.server.server_address
        cls.client = socket.create_connection(cls.address, PATIENCE)
        ask(cls.client)
        wait_for(lambda: cls.server._engines[0].connections == 2)  # with the listener; it is watched behind its turn

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        cls.server.stop()

    @params(*CROWDS)
    def test_a_healthy_client_is_answered(self, name):
        gc.collect()
        descriptors, connections = count_descriptors(), self.server._engines[0].connections
        with Crowd(self.address, name, share=0.5):
            for _ in range(20):
                ask(self.client)
                ask_anew(self.address)
            self.assertLessEqual(self.server._engines[0]._crew.threads, 4)
        wait_for(lambda: self.server._engines[0].connections <= connections)
        wait_for(lambda: count_descriptors() <= descriptors)


def main(seconds=3.0):
    raise_limit(8192)
    with HTTPServer("127.0.0.1", 0, Echo, max_threads=4) as server, \
            socket.create_connection(server.server_address, PATIENCE) as client:
        for name in CROWDS:
            with Crowd(server.server_address, name) as crowd:
                kept, anew = [], []
                until = time.monotonic() + seconds
                while time.monotonic() < until:
                    kept.append(ask(client))
                    anew.append(ask_anew(server.server_address))
                    time.sleep(0.002)
                print(f"{len(crowd.clients):5} {name:30} worst {max(kept) * 1000:6.1f} ms kept, "
                      f"{max(anew) * 1000:6.1f} ms anew, {server._engines[0]._crew.threads} threads", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
