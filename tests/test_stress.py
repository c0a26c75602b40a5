"""Many client threads at random: every answer belongs to its request, and nothing is left behind.

By hand, `python -m tests.test_stress [SECONDS] [SEED]`: 200 clients for a minute.
"""
import logging
import random
import socket
import sys
import threading
import time
import unittest

from ownhands import HTTPServer, RequestHandler, Response
from ownhands.engine import EngineThread
from ownhands.testing import parse_replies

from .engines import PATIENCE, wait_for
from .test_slow_clients import count_descriptors, raise_limit


class Mixed(RequestHandler):
    """Handlers that answer, sleep, compute, raise, stream; each names its request in the answer."""

    def do_GET(self, request):
        kind, name = request.path.strip("/").split("/")
        if kind == "sleep":
            time.sleep(0.005)
        elif kind == "compute":
            sum(range(100_000))
        elif kind == "raise":
            raise ValueError(name)
        elif kind == "stream":
            return Response(name.encode() for _ in range(20))
        elif kind == "large":
            return Response(name * 20_000)
        return Response(name)

    def do_POST(self, request):
        return Response(request.content, 201)

    def on_error(self, request, error):
        response = super().on_error(request, error)
        return Response(str(error), 500) if isinstance(error, ValueError) else response


KINDS = {"quick": 1, "sleep": 1, "compute": 1, "raise": 1, "stream": 20, "large": 20_000}  # times its name


class Client(threading.Thread):
    """Asks at random, until told to stop; what went wrong is in `problem` then."""

    def __init__(self, address, seed, until):
        super().__init__(daemon=True)
        self.address, self.random, self.until = address, random.Random(seed), until
        self.name = f"client-{seed}"
        self.answers = 0
        self.problem = None

    def run(self):
        try:
            while time.monotonic() < self.until:
                with socket.create_connection(self.address, PATIENCE) as connection:
                    self.converse(connection)
        except BaseException as error:
            self.problem = f"{self.name}: {type(error).__name__}: {error}"

    def converse(self, connection):
        for number in range(self.random.randint(1, 20)):
            requests = [self.make(f"{self.name}-{number}-{part}") for part in range(self.random.choice([1, 1, 1, 3]))]
            octets = b"".join(sent for sent, _, _ in requests)
            if self.random.random() < 0.05:  # and away
                return connection.sendall(octets[:self.random.randrange(len(octets))])
            self.send(connection, octets)
            if self.random.random() < 0.05:
                return
            self.check(connection, requests)

    def make(self, name):
        """The octets of a request, and the status and content of its answer."""
        head = f"Host: a\r\nX-Name: {name}\r\n"
        if self.random.random() < 0.2:
            content = name * self.random.randint(1, 5000)
            if self.random.random() < 0.5:
                body = f"Content-Length: {len(content)}\r\n\r\n{content}"
            else:
                body = f"Transfer-Encoding: chunked\r\n\r\n{len(content):x}\r\n{content}\r\n0\r\n\r\n"
            return f"POST / HTTP/1.1\r\n{head}{body}".encode(), 201, content.encode()
        kind = self.random.choice([*KINDS, *["quick"] * 6])
        status = 500 if kind == "raise" else 200
        return f"GET /{kind}/{name} HTTP/1.1\r\n{head}\r\n".encode(), status, name.encode() * KINDS[kind]

    def send(self, connection, octets):
        while octets:
            size = self.random.choice([len(octets), len(octets), self.random.randint(1, len(octets))])
            connection.sendall(octets[:size])
            octets = octets[size:]

    def check(self, connection, requests):
        received = b""
        while True:
            octets = connection.recv(1 << 20)
            if not octets:
                raise AssertionError(f"closed after {received[-200:]!r}")
            received += octets
            try:
                replies = parse_replies(received)
            except ConnectionError:
                continue  # there is more to come
            if len(replies) == len(requests):
                break
        for reply, (_, status, content) in zip(replies, requests, strict=True):
            if (reply.status, reply.content) != (status, content):
                raise AssertionError(f"{status} {content[:80]!r} was to come, and not {reply.status} "
                                     f"{reply.content[:80]!r}")
            self.answers += 1


def stress(seconds, clients, seed=0, **knobs):
    """Runs it; gives the number of answers and what went wrong."""
    with HTTPServer("127.0.0.1", 0, Mixed, **knobs) as server:
        until = time.monotonic() + seconds
        threads = [Client(server.server_address, f"{seed}-{number}", until) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 2 * PATIENCE)
        problems = [thread.problem or f"{thread.name} hangs" for thread in threads
                    if thread.problem or thread.is_alive()]
        wait_for(lambda: all(engine.connections == 1 for engine in server._engines))
    return sum(thread.answers for thread in threads), problems


@unittest.skipUnless(sys.platform == "linux", "descriptors are counted in /proc")
class StressTest(unittest.TestCase):
    def setUp(self):
        raise_limit(4096)
        logging.getLogger("ownhands").setLevel(logging.CRITICAL)  # of the handlers that raise
        self.addCleanup(logging.getLogger("ownhands").setLevel, logging.NOTSET)

    def run_and_check(self, seconds, clients, **knobs):
        descriptors = count_descriptors()
        engine_threads = count_engine_threads()
        answers, problems = stress(seconds, clients, **knobs)
        self.assertEqual([], problems[:3])
        self.assertGreater(answers, clients)
        wait_for(lambda: count_engine_threads() <= engine_threads)
        self.assertLessEqual(count_descriptors(), descriptors)

    def test_with_threads_to_spare(self):
        self.run_and_check(1.0, 200)

    def test_with_two_lanes(self):
        self.run_and_check(0.6, 100, lanes=2)

    def test_with_hardly_any_thread(self):
        self.run_and_check(0.6, 60, max_threads=2, max_wait=60)

    def test_with_hardly_any_connection(self):
        self.run_and_check(0.4, 60, max_connections=20)


def count_engine_threads():
    return sum(isinstance(thread, EngineThread) for thread in threading.enumerate())


def main(seconds=60.0, seed=0.0):
    logging.getLogger("ownhands").setLevel(logging.CRITICAL)
    raise_limit(4096)
    before = threading.active_count(), count_descriptors()
    answers, problems = stress(seconds, 200, int(seed))
    time.sleep(0.1)
    print(f"{answers} answers, {len(problems)} problems, threads and descriptors {before} before, "
          f"{(threading.active_count(), count_descriptors())} after", *problems[:10], sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
