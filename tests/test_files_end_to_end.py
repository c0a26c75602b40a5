"""A shared folder over real ports, by the clients that people use; each is skipped where it is not installed."""
import os
import socket
import subprocess
import threading
from pathlib import Path

from ownhands import HTTPServer, UploadHandler
from ownhands.engine import EngineThread

from .folders import FolderTest
from .programs import needs, run

SIZE = 8 << 20
CONTENT = bytes(range(251)) * (SIZE // 251)  # 251 is prime: no piece repeats at a power of two
REQUEST = b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n"


class SharedTest(FolderTest):
    """A folder with a film in it, served in the background; `here` is where clients put what they get."""

    knobs: dict = {}

    def setUp(self):
        super().setUp()
        self.write("film.mp4", CONTENT)
        self.here = self.outside / "here"
        self.here.mkdir()
        self.server = self.enterContext(
            HTTPServer("127.0.0.1", 0, UploadHandler, root=str(self.root), **self.knobs))
        self.url = self.server.url

    def connect(self):
        """A client that buffers little, so that the film cannot have been sent whole before it reads."""
        connection = socket.socket()
        self.addCleanup(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.server.server_address[1]))
        return connection


class ClientTest(SharedTest):
    @needs("curl")
    def test_curl_takes_ranges(self):
        for value, octets in (("0-99", CONTENT[:100]), ("-100", CONTENT[-100:]), ("4000000-", CONTENT[4_000_000:])):
            self.assertEqual(run("curl", "-sf", "-r", value, self.url + "film.mp4").stdout, octets)
        several = run("curl", "-sf", "-r", "0-9,5000-5009", self.url + "film.mp4").stdout
        self.assertTrue(CONTENT[:10] in several and CONTENT[5000:5010] in several)

    @needs("curl")
    def test_curl_resumes(self):
        part = self.here / "film.mp4"
        part.write_bytes(CONTENT[:1_000_000])
        run("curl", "-sf", "-C", "-", "-o", part, self.url + "film.mp4")
        self.assertEqual(part.read_bytes(), CONTENT)

    @needs("curl")
    def test_curl_asks_again_only_for_what_has_changed(self):
        tag, copy = self.here / "tag", self.here / "copy"
        command = ["curl", "-sf", "--etag-save", tag, "--etag-compare", tag, "-o", copy, "-w", "%{http_code}",
                   self.url + "film.mp4"]
        self.assertEqual([run(*command).stdout for _ in range(2)], [b"200", b"304"])

    @needs("curl")
    def test_curl_takes_compressed_text(self):
        text = b"the same again and again, " * 1000
        self.write("a.txt", text)
        done = run("curl", "-sf", "--compressed", "-D", "-", self.url + "a.txt").stdout
        self.assertTrue(done.endswith(text) and b"Content-Encoding: gzip" in done)

    @needs("curl")
    def test_curl_uploads(self):
        (self.here / "new.bin").write_bytes(CONTENT)
        run("curl", "-sf", "-T", self.here / "new.bin", self.url)
        self.assertEqual((self.root / "new.bin").read_bytes(), CONTENT)

    @needs("wget")
    def test_wget_resumes(self):
        (self.here / "film.mp4").write_bytes(CONTENT[:3_000_000])
        done = run("wget", "-c", self.url + "film.mp4", cwd=self.here)
        self.assertEqual((self.here / "film.mp4").read_bytes(), CONTENT)
        self.assertIn(b"206 Partial Content", done.stderr)

    @needs("wget")
    def test_wget_mirrors_a_folder(self):
        for name in (b"a b.txt", "ü.txt".encode(), b"sub/c.txt"):
            self.write(name)
        run("wget", "-q", "-r", "-np", "-nH", "--restrict-file-names=nocontrol", self.url, cwd=self.here)
        found = {each.relative_to(self.here).as_posix() for each in self.here.rglob("*.txt")}
        self.assertTrue({"a b.txt", "ü.txt", "sub/c.txt"} <= found, found)

    @needs("aria2c")
    def test_aria2_takes_ranges_in_parallel(self):
        run("aria2c", "-x", "8", "-s", "8", "-k", "1M", "--file-allocation=none", "--no-conf", "-q",
            self.url + "film.mp4", cwd=self.here)
        self.assertEqual((self.here / "film.mp4").read_bytes(), CONTENT)

    @needs("unzip")
    def test_unzip_reads_a_folder(self):
        self.write("sub/a.txt", b"hello")
        run("curl", "-sf", "-o", self.here / "all.zip", self.url + "?zip")
        run("unzip", "-q", self.here / "all.zip", cwd=self.here)
        self.assertEqual((self.here / "root" / "sub" / "a.txt").read_bytes(), b"hello")

    @needs("ffmpeg")
    def test_ffmpeg_seeks_in_a_film(self):
        film = Path(os.fsdecode(self.root)) / "real.mp4"
        quiet = ("ffmpeg", "-loglevel", "error")
        run(*quiet, "-f", "lavfi", "-i", "testsrc=duration=4:size=64x64:rate=10", "-g", "10", film)
        run(*quiet, "-ss", "3", "-i", self.url + "real.mp4", "-frames:v", "1", self.here / "a.png")
        self.assertTrue((self.here / "a.png").read_bytes().startswith(b"\x89PNG"))


class SlowTest(SharedTest):
    knobs = {"max_threads": 2, "auth_delay": 0.2}

    def test_those_who_do_not_read_hold_no_thread(self):
        slow = [self.connect() for _ in range(8)]
        for connection in slow:
            connection.sendall(REQUEST)
            connection.recv(1000)
        quick = self.connect()
        quick.sendall(b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n")
        self.assertIn(b"206 Partial", quick.recv(10_000))
        for connection in slow:
            received = len(connection.recv(1 << 20))
            self.assertGreater(received, 0)

    def test_a_file_that_shrinks_ends_its_connection_only(self):
        connection, other = self.connect(), self.connect()
        connection.sendall(REQUEST)
        received = len(connection.recv(1000))
        with self.assertLogs("ownhands"):
            os.truncate(self.root / "film.mp4", 5000)
            while octets := connection.recv(1 << 20):
                received += len(octets)
        self.assertLess(received, SIZE)
        other.sendall(REQUEST)
        self.assertIn(b"Content-Length: 5000\r\n", other.recv(1000))

    def test_a_file_that_vanishes_is_sent_to_its_end(self):
        connection = self.connect()
        connection.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        received = connection.recv(1000)
        (self.root / "film.mp4").unlink()
        while octets := connection.recv(1 << 20):
            received += octets
        self.assertTrue(received.partition(b"\r\n\r\n")[2] == CONTENT)


class PasswordTest(SharedTest):
    knobs = {"auth": "me:secret", "auth_delay": 0.2, "max_threads": 2, "lanes": 1}

    def test_many_wrong_ones_wait_without_a_thread(self):
        wrong = [self.connect() for _ in range(20)]
        for connection in wrong:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp4\r\n\r\n")
        right = self.connect()
        right.sendall(b"HEAD /film.mp4 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic bWU6c2VjcmV0\r\n\r\n")
        self.assertIn(b"200 OK", right.recv(1000))
        threads = [each for each in threading.enumerate()
                   if isinstance(each, EngineThread) and each.engine in self.server._engines]
        self.assertLessEqual(len(threads), 2)
        for connection in wrong:
            self.assertIn(b"401 Unauthorized", connection.recv(1000))
            self.assertEqual(connection.recv(1000), b"")

    @needs("curl")
    def test_curl_knows_it(self):
        command = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-r", "0-9", self.url + "film.mp4")
        found = [run(*command, *more).stdout for more in ((), ("-u", "me:wrong"), ("-u", "me:secret"))]
        self.assertEqual(found, [b"401", b"401", b"206"])


class SecureTest(SharedTest):
    """Over TLS no octet can be sent by the system itself."""

    def setUp(self):
        super().setUp()
        try:
            import trustme
        except ImportError:
            self.skipTest("trustme is not installed")
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        certificate.private_key_and_cert_chain_pem.write_to_path(self.here / "cert.pem")
        authority.cert_pem.write_to_path(self.here / "ca.pem")
        self.secure = self.enterContext(HTTPServer(
            "127.0.0.1", 0, UploadHandler, root=str(self.root), tls=(str(self.here / "cert.pem"),) * 2))

    @needs("curl")
    def test_curl_takes_the_file_and_ranges_of_it(self):
        url = f"https://localhost:{self.secure.server_address[1]}/film.mp4"
        command = ("curl", "-sf", "--resolve", f"localhost:{self.secure.server_address[1]}:127.0.0.1", "--cacert",
                   self.here / "ca.pem", url)
        self.assertTrue(subprocess.run(command, capture_output=True, timeout=30).stdout == CONTENT)
        self.assertEqual(run(*command, "-r", "70000-139999").stdout, CONTENT[70_000:140_000])
