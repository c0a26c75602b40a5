"""Programs and libraries from PyPI that serve with http.server, unmodified, under patch(), driven by their clients."""
import contextlib
import http.server
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any

from ownhands import compat

compat.patch()  # before any of them is imported; this module has a process of its own

import boto3  # noqa: E402
import django  # noqa: E402
import prometheus_client  # noqa: E402
import requests  # noqa: E402
from django.conf import settings  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from pytest_httpserver import HTTPServer as ExpectingServer  # noqa: E402
from pytest_localserver.http import ContentServer  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 20  # seconds
CONTENT = bytes(range(256)) * 2000

urlpatterns = [path("<name>", lambda request, name: HttpResponse(f"{request.method} {name} {len(request.body)}"))]

if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["*"], MIDDLEWARE=[], LOGGING_CONFIG=None,
                       STATIC_URL="static/",
                       DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    django.setup(set_prefix=False)


class PrometheusTest(unittest.TestCase):
    def setUp(self):
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.Counter("seen", "What was seen", registry=self.registry).inc(3)

    def scrape(self, port: int) -> float:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=TIMEOUT).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return next(sample.value for sample in samples if sample.name == "seen_total")

    def test_exposition_server(self):
        server, thread = prometheus_client.start_http_server(0, "127.0.0.1", self.registry)
        self.assertIsInstance(server, compat.HTTPServer)
        self.assertEqual([self.scrape(server.server_port) for _ in range(3)], [3, 3, 3])
        server.shutdown()
        server.server_close()
        thread.join(TIMEOUT)

    def test_metrics_handler(self):
        handler = prometheus_client.MetricsHandler.factory(self.registry)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            self.assertFalse(compat.is_classic(server))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.assertEqual([self.scrape(server.server_port) for _ in range(3)], [3, 3, 3])
            server.shutdown()


class TestServersTest(unittest.TestCase):
    def test_pytest_httpserver(self):
        with ExpectingServer("127.0.0.1", 0) as server:
            self.assertIsInstance(server.server, compat.HTTPServer)
            server.expect_ordered_request("/json", method="POST", json={"a": 1}).respond_with_json({"b": 2})
            server.expect_request("/text", query_string="c=d").respond_with_data("text", status=418)
            self.assertEqual(requests.post(server.url_for("/json"), json={"a": 1}, timeout=TIMEOUT).json(), {"b": 2})
            self.assertEqual(requests.get(server.url_for("/text?c=d"), timeout=TIMEOUT).status_code, 418)
            server.check_assertions()

    def test_pytest_localserver(self):
        server = ContentServer("127.0.0.1", 0)
        server.start()
        server.serve_content("hello", 201, {"X": "y"})
        reply = requests.put(server.url, data=b"x" * 100, timeout=TIMEOUT)
        self.assertEqual((reply.status_code, reply.text, reply.headers["X"]), (201, "hello", "y"))
        self.assertEqual(server.requests[0].data, b"x" * 100)
        server.stop()

    def test_moto_with_boto3(self):
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        client = boto3.client("s3", endpoint_url="http://{}:{}".format(*server.get_host_and_port()),
                              region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="key", Body=CONTENT)
        self.assertEqual(client.get_object(Bucket="bucket", Key="key")["Body"].read(), CONTENT)
        self.assertEqual(client.get_object(Bucket="bucket", Key="key", Range="bytes=5-9")["Body"].read(), CONTENT[5:10])
        self.assertEqual(client.list_objects_v2(Bucket="bucket")["KeyCount"], 1)
        client.close()
        server.stop()


class DjangoTest(unittest.TestCase):
    def test_live_server(self):
        from django.test import LiveServerTestCase  # test loaders look at its properties, which it does not expect

        class Live(LiveServerTestCase):
            def test(self):
                self.assertIsInstance(self.server_thread.httpd, compat.HTTPServer)
                self.assertEqual(requests.get(self.live_server_url + "/one", timeout=TIMEOUT).text, "GET one 0")
                reply = requests.post(self.live_server_url + "/two", data=CONTENT, timeout=TIMEOUT)
                self.assertEqual(reply.text, f"POST two {len(CONTENT)}")
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Live).run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))


@contextlib.contextmanager
def running(folder: Any, *arguments: str, **environ: str):
    """`python -m ownhands.run -m ...` in the folder; gives what it says first, up to a port it was given or names."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "PYTHONUNBUFFERED": "1"} | environ
    with subprocess.Popen([sys.executable, "-m", "ownhands.run", "-m", *arguments], cwd=folder, env=environment,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()


def port_said(process: subprocess.Popen) -> int:
    for line in process.stdout:
        if found := re.search(r"port (\d+)", line):
            return int(found[1])
    raise AssertionError("it has said no port")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for(port: int, process: subprocess.Popen) -> None:
    """Until somebody listens; these programs print no line that says so for sure."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"nobody listens: {process.stdout.read() if process.poll() is not None else ''}")


class ProgramTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_rangehttpserver(self):
        (self.folder / "file").write_bytes(CONTENT)
        with running(self.folder, "RangeHTTPServer", "0", "--bind", "127.0.0.1") as process:
            url = f"http://127.0.0.1:{port_said(process)}/file"
            self.assertEqual(requests.get(url, timeout=TIMEOUT).content, CONTENT)
            reply = requests.get(url, headers={"Range": "bytes=1000-70999"}, timeout=TIMEOUT)
            self.assertEqual((reply.status_code, reply.content), (206, CONTENT[1000:71000]))
            reply = requests.get(url, headers={"Range": "bytes=511990-"}, timeout=TIMEOUT)
            self.assertEqual(reply.content, CONTENT[-10:])

    def test_uploadserver(self):
        with running(self.folder, "uploadserver", "0", "--bind", "127.0.0.1") as process:
            url = f"http://127.0.0.1:{port_said(process)}/"
            files = [("files", ("a.bin", CONTENT)), ("files", ("b.bin", b"x" * (2 << 20)))]
            self.assertEqual(requests.post(url + "upload", files=files, timeout=TIMEOUT).status_code, 204)
            self.assertEqual((self.folder / "a.bin").read_bytes(), CONTENT)
            self.assertEqual((self.folder / "b.bin").stat().st_size, 2 << 20)
            self.assertIn("a.bin", requests.get(url, timeout=TIMEOUT).text)

    def test_radicale(self):
        port = free_port()
        with running(self.folder, "radicale", "--server-hosts", f"127.0.0.1:{port}", "--auth-type", "none",
                     "--storage-filesystem-folder", str(self.folder / "collections")) as process:
            wait_for(port, process)
            url = f"http://127.0.0.1:{port}/user/calendar/"
            with requests.Session() as session:
                session.auth = ("user", "")
                self.assertEqual(session.request("MKCALENDAR", url, timeout=TIMEOUT).status_code, 201)
                event = ("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Tea\r\n"
                         "DTSTAMP:20260101T000000Z\r\nDTSTART:20260101T160000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
                reply = session.put(url + "1.ics", event, headers={"Content-Type": "text/calendar"}, timeout=TIMEOUT)
                self.assertEqual(reply.status_code, 201)
                self.assertIn("SUMMARY:Tea", session.get(url + "1.ics", timeout=TIMEOUT).text)
                reply = session.request("PROPFIND", url, headers={"Depth": "1"}, timeout=TIMEOUT)
                self.assertEqual(reply.status_code, 207)
                self.assertIn("1.ics", reply.text)

    def test_django_runserver(self):
        (self.folder / "site_of_test.py").write_text(
            "from django.http import HttpResponse\nfrom django.urls import path\n"
            "SECRET_KEY, ROOT_URLCONF, DEBUG, ALLOWED_HOSTS = 'x', __name__, True, ['*']\n"
            "urlpatterns = [path('<name>', lambda request, name: HttpResponse(f'{name} {len(request.body)}'))]\n")
        port = free_port()
        for options in ((), ("--nothreading",)):
            with running(self.folder, "django", "runserver", "--noreload", "--skip-checks", *options,
                         f"127.0.0.1:{port}", DJANGO_SETTINGS_MODULE="site_of_test") as process:
                wait_for(port, process)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/a", timeout=TIMEOUT) as reply:
                    self.assertEqual(reply.read(), b"a 0")
                self.assertEqual(requests.post(f"http://127.0.0.1:{port}/b", CONTENT, timeout=TIMEOUT).text,
                                 f"b {len(CONTENT)}")
