"""Files as curl and requests really send them, over real ports."""
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from ownhands import HTTPServer
from ownhands.files import UploadHandler

try:
    import requests
except ImportError:
    requests = None

CONTENT = bytes(range(256)) * 8000  # enough for curl to ask with Expect first


class Clients(unittest.TestCase):
    def setUp(self):
        self.root, here = (Path(self.enterContext(tempfile.TemporaryDirectory())) for _ in range(2))
        self.path = here / "a \"b\" \u00fc;.bin"
        self.path.write_bytes(CONTENT)
        self.server = self.enterContext(HTTPServer("127.0.0.1", 0, UploadHandler, root=self.root))

    def curl(self, *arguments):
        options = ["-sS", "--max-time", "20", "--noproxy", "*", "-w", "%{http_code}"]
        command = ["curl", *options, *arguments, self.server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def assert_stored(self):
        self.assertEqual([path.name for path in self.root.iterdir()], [self.path.name])
        self.assertEqual((self.root / self.path.name).read_bytes(), CONTENT)

    @unittest.skipUnless(shutil.which("curl"), "there is no curl")
    def test_curl_puts_a_file(self):
        self.assertEqual(self.curl("-T", self.path), "stored\n201")
        self.assert_stored()

    @unittest.skipUnless(shutil.which("curl"), "there is no curl")
    def test_curl_puts_what_it_reads_from_a_pipe(self):
        command = f"cat {self.path.parent}/* | curl -sS --max-time 20 --noproxy '*' -T - {self.server.url}piped"
        subprocess.run(command, shell=True, check=True, timeout=30, capture_output=True)
        self.assertEqual((self.root / "piped").read_bytes(), CONTENT)

    @unittest.skipUnless(shutil.which("curl"), "there is no curl")
    def test_curl_sends_a_form(self):
        escaped = str(self.path).replace('"', '\\"')
        self.assertEqual(self.curl("-F", f'f=@"{escaped}"', "-F", "x=y"), f"{self.path.name}: stored\n201")
        self.assert_stored()

    @unittest.skipUnless(shutil.which("curl"), "there is no curl")
    def test_curl_is_refused_before_it_sends(self):
        (self.root / self.path.name).write_bytes(b"old")
        self.assertEqual(self.curl("-T", self.path, "-w", "%{http_code} %{size_upload}")[-5:], "409 0")

    @unittest.skipUnless(requests, "requests is not installed")
    def test_requests_sends_a_form(self):
        session = self.enterContext(requests.Session())
        session.trust_env = False
        with self.path.open("rb") as file:
            answer = session.post(self.server.url, files={"f": file}, data={"x": "y"}, timeout=20)
        self.assertEqual((answer.status_code, answer.text), (201, f"{self.path.name}: stored\n"))
        self.assert_stored()

    @unittest.skipUnless(requests, "requests is not installed")
    def test_requests_puts_a_file(self):
        session = self.enterContext(requests.Session())
        session.trust_env = False
        with self.path.open("rb") as file:
            answer = session.put(self.server.url + "x.bin", data=file, timeout=20)
        self.assertEqual((answer.status_code, (self.root / "x.bin").read_bytes() == CONTENT), (201, True))
