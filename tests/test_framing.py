"""How an answer is framed, by version, method, status and content, and how a broken promise of its content ends."""
import bz2
import gzip
import io
import mmap
import os
import tempfile
import unittest
from pathlib import Path
from unittest.mock import patch

from nose2.tools import params

from ownhands.content import ContentError
from ownhands.framing import SMALL_SIZE, encode_small, frame
from ownhands.messages import Response
from ownhands.testing import MockConnection

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
CHUNKED, KEPT, CLOSED = b"Transfer-Encoding: chunked", b"Connection: keep-alive", b"Connection: close"


def sent(response: Response, method: str = "GET", is_10: bool = False, persistent: bool = True) -> tuple[list, bytes,
         bool]:
    """The lines of framing and persistence, the body, and whether the connection persists."""
    outgoing, persistent = frame(response, method, is_10, persistent, None)
    connection = MockConnection()
    outgoing.send_some(connection)
    outgoing.close()
    head, _, body = connection.sent.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n")[1:]
             if line.lower().startswith((b"content-length", b"transfer-", b"connection"))]
    return lines, body, persistent


def length(number: int) -> bytes:
    return b"Content-Length: %d" % number


class Framing(unittest.TestCase):
    @params(
        ("GET", 200, b"abc", [length(3)], b"abc"),
        ("GET", 200, b"", [length(0)], b""),
        ("GET", 404, b"abc", [length(3)], b"abc"),
        ("POST", 200, [b"ab", b"", b"c"], [CHUNKED], b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"),
        ("GET", 200, [], [CHUNKED], b"0\r\n\r\n"),
        ("GET", 200, [b""], [CHUNKED], b"0\r\n\r\n"),
        ("HEAD", 200, b"abc", [length(3)], b""),
        ("HEAD", 404, b"abc", [length(3)], b""),
        ("HEAD", 200, [b"abc"], [], b""),
        ("GET", 204, b"abc", [], b""),
        ("GET", 204, [b"abc"], [], b""),
        ("HEAD", 204, b"", [], b""),
        ("GET", 205, b"abc", [length(0)], b""),
        ("GET", 304, b"abc", [], b""),
        ("HEAD", 304, b"", [], b""),
        ("OPTIONS", 200, b"", [length(0)], b""),
        ("CONNECT", 405, b"abc", [length(3)], b"abc"),
    )
    def test_of_http_1_1(self, method, status, content, lines, body):
        self.assertEqual(sent(Response(content, status), method), (lines, body, True))

    @params(
        ("GET", 200, b"abc", [KEPT, length(3)], b"abc", True),
        ("GET", 200, [b"ab", b"c"], [CLOSED], b"abc", False),
        ("GET", 200, [], [CLOSED], b"", False),
        ("HEAD", 200, [b"abc"], [KEPT], b"", True),
        ("GET", 204, [b"abc"], [KEPT], b"", True),
    )
    def test_of_http_1_0(self, method, status, content, lines, body, persists):
        self.assertEqual(sent(Response(content, status), method, is_10=True), (lines, body, persists))

    @params((b"abc", [CLOSED, length(3)], b"abc"), ([b"abc"], [CLOSED, CHUNKED], b"3\r\nabc\r\n0\r\n\r\n"))
    def test_of_the_last_answer(self, content, lines, body):
        self.assertEqual(sent(Response(content), persistent=False), (lines, body, False))

    @params(b"abc", [b"abc"])
    def test_a_tunnel_that_nobody_serves(self, content):  # RFC 9110 9.3.6
        self.assertEqual(sent(Response(content), "CONNECT"), ([CLOSED], b"", False))

    @params(("close", False), ("Close", False), ("x-other, close", False), ("keep-alive", True), ("x-close", True))
    def test_a_handler_may_close(self, value, persists):
        other = [b"Connection: " + each.encode() for each in value.split(", ") if each.startswith("x-")]
        lines = [*other, length(1)] if persists else [CLOSED, *other, length(1)]
        self.assertEqual(sent(Response(b"a", connection=value)), (lines, b"a", persists))

    @params(
        ({"connection": "upgrade, close", "upgrade": "x"}, False, [CLOSED, b"Connection: upgrade"]),
        ({"connection": "Upgrade", "upgrade": "x"}, True, [b"Connection: Upgrade"]),
        ({"upgrade": "x"}, True, [b"Connection: Upgrade"]),  # RFC 9110 7.8: nobody may send it without
        ({"connection": ["keep-alive, a", "b"]}, True, [b"Connection: a", b"Connection: b"]),
    )
    def test_other_options_are_the_handlers(self, fields, persists, lines):
        self.assertEqual(sent(Response(b"a", 426, **fields)), ([*lines, length(1)], b"a", persists))

    def test_large_octets_are_not_copied(self):
        self.assertEqual(sent(Response(b"a" * (SMALL_SIZE + 1)))[1], b"a" * (SMALL_SIZE + 1))


class DeclaredLength(unittest.TestCase):
    @params(
        ("GET", 200, b"abc", [length(3)], b"abc"),
        ("GET", 200, [b"ab", b"c"], [length(3)], b"abc"),
        ("HEAD", 200, b"", [length(3)], b""),
        ("HEAD", 200, [], [length(3)], b""),
        ("GET", 304, b"", [length(3)], b""),
        ("GET", 204, b"", [], b""),
        ("GET", 205, b"", [length(0)], b""),
    )
    def test_is_used(self, method, status, content, lines, body):
        self.assertEqual(sent(Response(content, status, content_length=3), method), (lines, body, True))

    @params(b"ab", b"abcd", b"")
    def test_contradicts_octets(self, content):
        with self.assertRaises(ContentError):
            frame(Response(content, content_length=3), "GET", False, True, None)

    @params("x", "+3", "3, 3", "-1", "", "\xb2", ["3", "3"])
    def test_is_none(self, value):
        with self.assertRaises(ContentError):
            frame(Response(b"abc", content_length=value), "GET", False, True, None)

    @params(([b"ab", b"c", b"d"], b"abc"), ([b"ab"], b"ab"), ([], b""))
    def test_is_not_kept_by_pieces(self, pieces, body):
        outgoing, _ = frame(Response(pieces, content_length=3), "GET", False, True, None)
        connection = MockConnection()
        with self.assertRaises(ContentError):
            outgoing.send_some(connection)
        self.assertEqual(connection.sent.partition(b"\r\n\r\n")[2], body)

    def test_a_first_piece_that_is_too_long_comes_before_the_head(self):
        with self.assertRaises(ContentError):
            frame(Response([b"abcd"], content_length=3), "GET", False, True, None)


class Iterables(unittest.TestCase):
    def test_what_the_first_piece_raises_comes_before_the_head(self):
        def pieces():
            raise KeyError("nothing")
            yield b""

        with self.assertRaises(KeyError):
            frame(Response(pieces()), "GET", False, True, None)

    @params("a", "", None, 0)
    def test_a_first_piece_that_is_no_octets(self, piece):
        for is_10 in (False, True):
            with self.assertRaises(TypeError):
                frame(Response(iter([piece])), "GET", is_10, True, None)

    def test_a_later_one_that_fails_leaves_the_content_without_an_end(self):
        def pieces():
            yield b"a"
            raise KeyError("nothing")

        outgoing, _ = frame(Response(pieces()), "GET", False, True, None)
        connection = MockConnection()
        with self.assertRaises(KeyError):
            outgoing.send_some(connection)
        self.assertTrue(connection.sent.endswith(b"\r\n\r\n1\r\na\r\n"))

    @params("GET", "HEAD")
    def test_are_closed(self, method):
        class Pieces(list):
            is_closed = False

            def close(self):
                self.is_closed = True

        content = Pieces([b"a"])
        sent(Response(content), method)
        self.assertTrue(content.is_closed)

    def test_a_generator_is_closed_where_it_stands(self):
        events = []

        def pieces():
            try:
                yield b"a"
                yield b"b"
            finally:
                events.append("closed")

        outgoing, _ = frame(Response(pieces()), "GET", False, True, None)
        outgoing.close()
        self.assertEqual(events, ["closed"])

    @params({"content_length": 4}, {"content_length": "x"})
    def test_are_closed_after_an_error(self, fields):
        file = io.BytesIO(b"abc")
        with self.assertRaises(ContentError):
            frame(Response(file, **fields), "GET", False, True, None)
        self.assertTrue(file.closed)


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "file")

    @params((0, b"0123456789"), (4, b"456789"), (10, b""), (12, b""))
    def test_from_where_they_stand(self, position, body):
        self.path.write_bytes(b"0123456789")
        for file in (io.BytesIO(b"0123456789"), self.path.open("rb"), self.path.open("rb", buffering=0)):
            file.seek(position)
            self.assertEqual(sent(Response(file)), ([length(len(body))], body, True))
            self.assertTrue(file.closed)

    def test_head(self):
        file = io.BytesIO(b"abc")
        self.assertEqual(sent(Response(file), "HEAD"), ([length(3)], b"", True))
        self.assertTrue(file.closed)

    @params(gzip.open, bz2.open)
    def test_one_that_reads_other_octets_than_the_system_has(self, opener):
        with opener(self.path, "wb") as file:
            file.write(b"a" * 1000)
        self.assertEqual(sent(Response(opener(self.path))), ([length(1000)], b"a" * 1000, True))

    def test_a_map_of_a_file(self):
        with tempfile.TemporaryFile() as file:
            file.write(b"mapped")
            file.flush()
            self.assertEqual(sent(Response(mmap.mmap(file.fileno(), 0)))[1].strip(b"0123456789\r\n"), b"mapped")

    @unittest.skipUnless(Path("/proc/self/status").exists(), "no such files here")
    def test_a_file_that_tells_no_size(self):
        with Path("/proc/self/status").open("rb") as file:
            self.assertIn(b"Threads", sent(Response(file))[1])

    def test_a_temporary_file(self):
        file = tempfile.NamedTemporaryFile()  # noqa: SIM115  closed once sent
        file.write(b"abc")
        file.seek(1)
        self.assertEqual(sent(Response(file)), ([length(2)], b"bc", True))

    def test_one_of_unknown_length(self):
        class Source:
            pieces = [b"ab", b"c"]

            def read(self, size):
                return self.pieces.pop(0) if self.pieces else b""

        self.assertEqual(sent(Response(Source())), ([CHUNKED], b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", True))

    def test_a_pipe(self):
        reading, writing = os.pipe()
        os.write(writing, b"abc")
        os.close(writing)
        file = os.fdopen(reading, "rb")
        self.assertEqual(sent(Response(file)), ([CHUNKED], b"3\r\nabc\r\n0\r\n\r\n", True))

    def test_one_that_grows_is_sent_as_promised(self):
        self.path.write_bytes(b"abc")
        outgoing, _ = frame(Response(self.path.open("rb")), "GET", False, True, None)
        with self.path.open("ab") as file:
            file.write(b"def")
        connection = MockConnection()
        self.assertTrue(outgoing.send_some(connection))
        outgoing.close()
        self.assertEqual(connection.sent.partition(b"\r\n\r\n")[2], b"abc")


class Heads(unittest.TestCase):
    @params(b"a", [b"a"])
    def test_whole(self, content):
        with patch("ownhands.framing.time", return_value=784111777.5):
            outgoing, _ = frame(Response(content, 404, x="y"), "GET", False, True, None)
        connection = MockConnection()
        outgoing.send_some(connection)
        lines = connection.sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
        self.assertEqual((lines[0], lines[2:4]), (b"HTTP/1.1 404 Not Found", [b"Date: " + DATE.encode(), b"X: y"]))
        self.assertRegex(lines[1], rb"\AServer: OwnHands/[0-9.]+\Z")

    @params(("date", b"Date: x"), ("server", b"Server: x"))
    def test_a_handlers_own(self, name, line):
        outgoing, _ = frame(Response(b"", **{name: "x"}), "GET", False, True, None)
        connection = MockConnection()
        outgoing.send_some(connection)
        lines = connection.sent.split(b"\r\n")
        self.assertEqual([each for each in lines if each.startswith(line[:5])], [line])

    @params((b"", b""), (b"Connection: close\r\n", b"Connection: close\r\n"))
    def test_small(self, given, line):
        octets = encode_small(Response(b"abc", 299, x="y"), given)
        self.assertTrue(octets.startswith(b"HTTP/1.1 299 \r\nServer: "))
        self.assertTrue(octets.endswith(b"\r\n" + line + b"Content-Length: 3\r\nX: y\r\n\r\nabc"))

    @params((0.0, 0.5, True), (0.0, 0.999, True), (0.5, 1.0, False), (5.0, 4.0, False), (0.0, 3600.0, False))
    def test_the_date_changes_once_a_second(self, first, second, is_same):
        with patch("ownhands.framing.time", side_effect=[1000 + first, 1000 + second]):
            octets = [encode_small(Response(b"abc"), b"") for _ in range(2)]
        self.assertEqual(octets[0] == octets[1], is_same)


if __name__ == "__main__":
    unittest.main()
