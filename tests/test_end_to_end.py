"""The examples over real ports, by the clients that people use; each is skipped where it is not installed."""
import asyncio
import http.client
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
from importlib.util import find_spec
from pathlib import Path
from unittest import skipUnless

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler, Response
from ownhands.testing import encode_request, parse_replies
from tests.programs import Program, needs, run

MEGABYTE = 1 << 20
BODY = bytes(range(251)) * (10 * MEGABYTE // 251)  # 251 is prime: no piece repeats at a power of two
TYPE = "image/x-test"


class ProgramTest(unittest.TestCase):
    """A class of tests against one example, which has to end well, and without a word on standard error."""

    example = "echo"

    @classmethod
    def setUpClass(cls):
        cls.program = Program(cls.example)
        cls.enterClassContext(cls.program)
        cls.url, cls.port = cls.program.url, cls.program.port

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        return connection


class StandardLibraryTest(ProgramTest):
    def test_keeps_the_connection(self):
        connection = self.connect()
        ports = set()
        for _ in range(3):
            connection.request("GET", "/")
            connection.getresponse().read()
            ports.add(connection.sock.getsockname()[1])
        self.assertEqual(len(ports), 1)

    @params(False, True)
    def test_echoes_ten_megabytes(self, chunked):
        connection = self.connect()
        body = (BODY[start:start + MEGABYTE] for start in range(0, len(BODY), MEGABYTE)) if chunked else BODY
        connection.request("POST", "/echo", body, {"Content-Type": TYPE}, encode_chunked=chunked)
        reply = connection.getresponse()
        self.assertEqual((reply.status, reply.headers["Content-Type"]), (200, TYPE))
        self.assertTrue(reply.read() == BODY)

    def test_answers_pipelined_requests_in_order(self):
        bodies = [b"%d" % number for number in range(50)]
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(b"".join(encode_request("/echo", "POST", body, connection="keep-alive")
                                        for body in bodies[:-1])
                               + encode_request("/echo", "POST", bodies[-1], connection="close"))
            received = b"".join(iter(lambda: connection.recv(MEGABYTE), b""))
        self.assertEqual([reply.content for reply in parse_replies(received, *["POST"] * 50)], bodies)


@needs("curl")
class CurlTest(ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.folder / "body").write_bytes(BODY)

    def curl(self, *arguments):
        return run("curl", "-sv", "--noproxy", "*", "--max-time", "30", *arguments, cwd=self.folder)

    def echo(self, *arguments):
        done = self.curl("-o", "reply", "-H", f"Content-Type: {TYPE}", *arguments, self.url + "echo")
        self.assertTrue((self.folder / "reply").read_bytes() == BODY)
        return done.stderr

    @params(("--http1.0", "1.0"), ("--http1.1", "1.1"), ("-I", "1.1"))
    def test_greets(self, option, version):
        said = self.curl(option, "-o", "reply", self.url).stderr.decode()
        self.assertRegex(said, rf"(?s)> (GET|HEAD) / HTTP/{version}\r\n.*< HTTP/1.1 200 OK\r\n")

    def test_keeps_the_connection(self):
        done = self.curl("-w", "%{num_connects}", "-o", "a", self.url, "-o", "b", self.url)
        self.assertEqual(done.stdout, b"10")

    @params((), ("-H", "Transfer-Encoding: chunked"), ("--http1.0",))
    def test_echoes_ten_megabytes(self, *options):
        self.echo("-H", "Expect:", "--data-binary", "@body", *options)

    @params((), ("-H", "Transfer-Encoding: chunked"))
    def test_is_told_to_continue(self, *options):
        said = self.echo("-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", "@body", *options)
        self.assertIn(b"< HTTP/1.1 100 Continue", said)

    def test_reads_why_it_was_refused(self):
        with (self.folder / "large").open("wb") as file:
            file.truncate(17 * MEGABYTE)
        done = self.curl("-H", "Expect:", "--data-binary", "@large", self.url + "echo")
        self.assertEqual(done.stdout, b"413 Content Too Large: the content is too large\n")


@skipUnless(find_spec("urllib3"), "urllib3 is not installed")
class Urllib3Test(ProgramTest):
    def test_pools_one_connection(self):
        import urllib3
        with urllib3.PoolManager(retries=False) as manager:
            replies = [manager.request("POST", self.url + "echo", body=b"%d" % number).data for number in range(5)]
            pool = manager.connection_from_url(self.url)
            self.assertEqual((replies, pool.num_connections), ([b"0", b"1", b"2", b"3", b"4"], 1))

    def test_sends_chunks(self):
        import urllib3
        with urllib3.PoolManager(retries=False) as manager:
            reply = manager.request("POST", self.url + "echo", body=iter([b"in ", b"chunks"]), chunked=True)
            self.assertEqual((reply.status, reply.data), (200, b"in chunks"))


@skipUnless(find_spec("requests"), "requests is not installed")
class RequestsTest(ProgramTest):
    def test_session_posts_json_and_a_generator(self):
        import requests
        with requests.Session() as session:
            session.trust_env = False
            self.assertEqual(session.post(self.url + "echo", json={"tea": 1}).json(), {"tea": 1})
            self.assertEqual(session.post(self.url + "echo", data=iter([b"a", b"b"])).content, b"ab")
            self.assertEqual(session.get(self.url + "none").status_code, 404)


@skipUnless(find_spec("aiohttp"), "aiohttp is not installed")
class AiohttpTest(ProgramTest):
    def test_has_fifty_requests_at_once(self):
        async def ask(session, number):
            async with session.post(self.url + "echo", data=b"%d" % number, expect100=number % 5 == 0) as reply:
                return int(await reply.read())

        async def ask_all():
            from aiohttp import ClientSession
            async with ClientSession() as session:
                return await asyncio.gather(*(ask(session, number) for number in range(50)))

        self.assertEqual(asyncio.run(ask_all()), list(range(50)))


class LoadTest(ProgramTest):
    example = "hello"

    @classmethod
    def setUpClass(cls):
        import resource
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        cls.addClassCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))  # what is started here inherits it
        super().setUpClass()

    def tearDown(self):
        connection = self.connect()
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().read(), b"Hi there!\n")

    @needs("ab")
    @params(("-n", "5000", "-c", "10"), ("-n", "3000", "-c", "1000"), ("-k", "-n", "5000", "-c", "100"))
    def test_ab_sees_no_failure(self, *options):
        said = run("ab", "-q", *options, self.url).stdout.decode()
        self.assertRegex(said, rf"Complete requests: +{options[options.index('-n') + 1]}\n")
        self.assertRegex(said, r"Failed requests: +0\n")
        self.assertNotIn("Non-2xx", said)

    @needs("wrk")
    def test_wrk_sees_no_failure(self):
        said = run("wrk", "-t1", "-c50", "-d1s", self.url).stdout.decode()
        self.assertGreater(int(re.search(r"(\d+) requests in", said)[1]), 0)
        self.assertNotRegex(said, "Socket errors|Non-2xx")


NGINX = """
daemon off; worker_processes 1; {user} pid {folder}/pid; error_log stderr notice;
events {{ }}
http {{
    access_log off; client_max_body_size 20m;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream ownhands {{ server 127.0.0.1:{port}; keepalive 4; }}
    server {{
        listen unix:{folder}/listener;
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        location / {{ proxy_pass http://ownhands; }}
        location /unbuffered/ {{ proxy_pass http://ownhands; proxy_request_buffering off; proxy_buffering off; }}
    }}
}}
"""


class Upstream(RequestHandler):
    """Says from which port it was asked: a port that is the same again is a connection that was kept."""

    def do_GET(self, request):
        return Response(str(request.client_address[1]))

    def do_POST(self, request):
        return Response(request.content, transfer=request.fields.get("Transfer-Encoding", "by length"))


class UnixConnection(http.client.HTTPConnection):
    """http.client over the socket file at `path`."""

    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@needs("nginx")
class NginxTest(unittest.TestCase):
    """nginx in front, which keeps its connections to ownhands."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.mkdtemp(prefix="oh-")  # short: it becomes part of a socket's address
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        server = cls.enterClassContext(HTTPServer("127.0.0.1", 0, Upstream))
        configuration = Path(folder, "nginx.conf")
        configuration.write_text(NGINX.format(folder=folder, port=server.server_address[1],
                                              user="user root;" if os.geteuid() == 0 else ""))
        nginx = subprocess.Popen(["nginx", "-e", "stderr", "-c", configuration], stderr=subprocess.PIPE, text=True)
        cls.addClassCleanup(cls.stop, nginx)
        said = ""
        while "start worker process" not in said:
            line = nginx.stderr.readline()
            if not line:
                raise AssertionError(f"nginx did not start: {said}")
            said += line
        cls.path = f"{folder}/listener"

    @staticmethod
    def stop(nginx):
        nginx.terminate()
        nginx.communicate(timeout=20)

    def ask(self, *request, **options):
        connection = UnixConnection(self.path)
        self.addCleanup(connection.close)
        connection.request(*request, **options)
        reply = connection.getresponse()
        return reply, reply.read()

    def test_keeps_its_connections(self):
        ports = [self.ask("GET", "/")[1] for _ in range(5)]
        self.assertEqual(len(set(ports)), 1)

    @params(("/", False, "by length"), ("/", True, "by length"), ("/unbuffered/", False, "by length"),
            ("/unbuffered/", True, "chunked"))
    def test_passes_ten_megabytes(self, path, chunked, transfer):
        body = (BODY[start:start + MEGABYTE] for start in range(0, len(BODY), MEGABYTE)) if chunked else BODY
        reply, content = self.ask("POST", path, body, encode_chunked=chunked)
        self.assertEqual((reply.status, reply.headers["Transfer"]), (200, transfer))
        self.assertTrue(content == BODY)
