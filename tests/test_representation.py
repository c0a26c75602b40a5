"""representation.py: Response.file, and what conditional and range requests get of it."""
import contextlib
import re
import socket
import unittest
from pathlib import Path
from unittest import mock

from nose2.tools import params

from ownhands import HTTPError, HTTPServer, RequestHandler, Response
from ownhands.dates import parse_date
from ownhands.content import FileOutgoing
from ownhands.framing import frame
from ownhands.representation import Parts, etag_of, modified_of
from ownhands.testing import MockClient, MockConnection, parse_replies

from .folders import DATE, STAMP, FolderTest, open_descriptors

CONTENT = bytes(range(250)) * 400  # 100,000 octets


def parse_parts(reply):
    """The parts of a multipart/byteranges: what each says of itself, and its octets."""
    boundary = re.fullmatch(r"multipart/byteranges; boundary=([0-9a-f]+)", reply.fields["Content-Type"])[1].encode()
    before, *parts, after = reply.content.split(b"\r\n--" + boundary)
    assert (before, after) == (b"", b"--\r\n")
    found = []
    for part in parts:
        head, _, octets = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        found.append((head.decode().split("\r\n"), octets))
    return found


class ResponseFileTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("film.mp4", CONTENT)
        self.options = {}
        test = self

        class Films(RequestHandler):
            def do_GET(self, request):
                return Response.file(test.path, **test.options)

            do_POST = do_GET

        self.server = HTTPServer(handler=Films)
        self.client = MockClient(self.server)

    def test_gives_the_file_and_says_what_it_is(self):
        reply = self.client("/")
        self.assertEqual((reply.status, reply.content), (200, CONTENT))
        wanted = {"Content-Type": "video/mp4", "Last-Modified": STAMP, "Accept-Ranges": "bytes",
                  "X-Content-Type-Options": "nosniff", "Content-Length": "100000"}
        self.assertEqual({name: reply.fields[name] for name in wanted}, wanted)
        self.assertRegex(reply.fields["ETag"], r'\A"[!#-~]+"\Z')

    def test_takes_any_kind_of_path(self):
        for path in (self.path, Path(self.path.decode()), self.path.decode()):
            self.path = path
            self.assertEqual(self.client("/").content, CONTENT)

    def test_takes_a_link(self):
        self.link("current.mp4", "film.mp4")
        self.path = self.root / "current.mp4"
        self.assertEqual(self.client("/").content, CONTENT)

    def test_of_head_has_the_fields_of_get(self):
        def names(reply):
            return [pair for pair in reply.fields.pairs if pair[0] != "Date"]
        self.assertEqual(names(self.client("/", method="HEAD")), names(self.client("/")))

    def test_has_the_fields_that_are_given(self):
        self.options = {"content_type": "video/x-test", "cache_control": "no-store"}
        reply = self.client("/")
        self.assertEqual((reply.fields["Content-Type"], reply.fields["Cache-Control"]), ("video/x-test", "no-store"))

    def test_those_that_are_given_take_the_place_of_its_own(self):
        self.options = {"etag": '"mine"', "last_modified": "Sun, 06 Nov 1994 08:49:37 GMT", "accept_ranges": None}
        reply = self.client("/")
        self.assertEqual([reply.fields.get_all(name) for name in ("ETag", "Last-Modified", "Accept-Ranges")],
                         [['"mine"'], ["Sun, 06 Nov 1994 08:49:37 GMT"], []])
        self.assertEqual(self.client("/", if_none_match='"mine"').status, 304)

    @params((True, 404), (False, 500))
    def test_of_what_may_not_be_opened_is_404_for_a_folder(self, is_folder, status):
        self.path = self.root if is_folder else self.write("a.txt")
        with (mock.patch("ownhands.folder.os.open", side_effect=PermissionError),
              contextlib.nullcontext() if is_folder else self.assertLogs("ownhands", "ERROR")):
            self.assertEqual(self.client("/").status, status)

    def test_may_be_sent_only_once(self):
        once = Response.file(self.path)

        class Again(RequestHandler):
            def do_GET(self, request):
                return once

        with (HTTPServer("127.0.0.1", 0, Again) as server, self.assertLogs("ownhands", "ERROR") as logs,
                socket.create_connection(server.server_address) as client):
            client.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            received = b"".join(iter(lambda: client.recv(65536), b""))
        self.assertEqual([reply.status for reply in parse_replies(received, "HEAD", "GET")], [200, 500])
        self.assertIn("make a new answer for each request", logs.output[0])

    @params((True, 'attachment; filename="film.mp4"'), ("my film.mp4", 'attachment; filename="my film.mp4"'),
            (False, None))
    def test_is_saved_by_a_browser(self, download, value):
        self.options = {"download": download}
        self.assertEqual(self.client("/").fields.get("Content-Disposition"), value)

    @params("nothing", "", "nothing/film.mp4", "film.mp4/nothing", "a\0b")
    def test_of_what_is_no_file_is_404(self, name):
        self.path = self.root / name
        self.assertEqual(self.client("/").status, 404)

    @params(("bytes=0-9", 0, 9), ("bytes=99990-", 99990, 99999), ("bytes=-11", 99989, 99999),
            ("bytes=70000-79999", 70000, 79999), ("bytes=1-", 1, 99999), ("bytes=0-", 0, 99999))
    def test_gives_a_range(self, value, first, last):
        reply = self.client("/", range=value)
        self.assertEqual((reply.status, reply.content), (206, CONTENT[first:last + 1]))
        self.assertEqual(reply.fields["Content-Range"], f"bytes {first}-{last}/100000")
        self.assertEqual(reply.fields["Content-Type"], "video/mp4")

    def test_gives_several_ranges(self):
        reply = self.client("/", range="bytes=-3,0-1,5000000-,1000-1001")
        self.assertEqual(parse_parts(reply), [
            (["Content-Type: video/mp4", "Content-Range: bytes 99997-99999/100000"], CONTENT[-3:]),
            (["Content-Type: video/mp4", "Content-Range: bytes 0-1/100000"], CONTENT[:2]),
            (["Content-Type: video/mp4", "Content-Range: bytes 1000-1001/100000"], CONTENT[1000:1002])])
        self.assertEqual((reply.status, reply.fields.get("Content-Range")), (206, None))
        self.assertEqual(reply.fields["Content-Length"], str(len(reply.content)))

    @params(([(each * 1000, each * 1000 + 1) for each in range(32)], 1), ([(0, 60_000), (70_000, 100_000)], 2),
            ([(0, 1), (1000, 99_000), (99_500, 100_000)], 3))
    def test_sends_several_ranges_in_pieces_of_a_good_size(self, ranges, count):
        for content in (CONTENT, Response.file(self.path).content):
            parts = Parts(content, "video/mp4", ranges, 100_000)
            pieces = [piece for piece in parts if piece]
            self.assertLessEqual(len(pieces), count)
            self.assertEqual(len(b"".join(pieces)), parts.length)
            for first, end in ranges:
                self.assertIn(b"bytes %d-%d/100000\r\n\r\n%b\r\n--" % (first, end - 1, CONTENT[first:end]),
                              b"".join(pieces))

    def test_answers_one_of_several_ranges_that_touch_as_one(self):
        reply = self.client("/", range="bytes=0-9,10-19")
        self.assertEqual((reply.fields["Content-Range"], reply.content), ("bytes 0-19/100000", CONTENT[:20]))

    @params("bytes=100000-", "bytes=" + ",".join(f"{each * 1000}-{each * 1000}" for each in range(33)))
    def test_refuses_ranges(self, value):
        reply = self.client("/", range=value)
        self.assertEqual((reply.status, reply.fields["Content-Range"]), (416, "bytes */100000"))

    @params({"range": "seconds=1-2"}, {"range": "bytes=2-1"}, {"range": "bytes=0-1", "method": "HEAD"},
            {"range": "bytes=0-1", "if_range": '"other"'})
    def test_ignores_range(self, fields):
        reply = self.client("/", **fields)
        self.assertEqual((reply.status, reply.fields["Content-Length"]), (200, "100000"))

    def test_of_another_method_has_no_conditions(self):
        self.assertEqual(self.client("/", method="POST", range="bytes=0-1", if_match='"other"').status, 200)

    @params("ETag", "Last-Modified")
    def test_gives_a_range_if_it_is_still_the_same(self, validator):
        value = self.client("/").fields[validator]
        self.assertEqual(self.client("/", range="bytes=0-1", if_range=value).status, 206)

    def test_is_not_modified(self):
        etag = self.client("/").fields["ETag"]
        for fields in ({"if_none_match": etag}, {"if_modified_since": STAMP}):
            reply = self.client("/", range="bytes=5000000-", **fields)
            self.assertEqual((reply.status, reply.content, reply.fields["ETag"]), (304, b"", etag))
            self.assertEqual([name for name in reply.fields if name.startswith(("content-", "last-"))], [])

    def test_is_another_one(self):
        reply = self.client("/", if_match='"other"')
        self.assertEqual((reply.status, reply.fields["Content-Type"]), (412, "text/plain; charset=utf-8"))

    def test_has_another_tag_when_it_was_changed_or_replaced(self):
        tags = {self.client("/").fields["ETag"]}
        for content, age in ((CONTENT, 1), (CONTENT[1:], 1)):
            self.write("film.mp4", content, age)
            tags.add(self.client("/").fields["ETag"])
        self.write("new", CONTENT[1:], 1)
        (self.root / "new").replace(self.root / "film.mp4")
        tags.add(self.client("/").fields["ETag"])
        self.assertEqual(len(tags), 4)

    @params({}, {"method": "HEAD"}, {"range": "bytes=0-1"}, {"range": "bytes=0-1,5000-5001"}, {"if_none_match": "*"},
            {"if_match": '"other"'}, {"range": "bytes=100000-"})
    def test_is_closed_behind_every_answer(self, fields):
        before = open_descriptors()
        self.client("/", **fields)
        self.assertEqual(open_descriptors(), before)

    @params(b"", b"Range: bytes=0-1,90000-90001\r\n")
    def test_is_closed_when_the_client_leaves(self, fields):
        before = open_descriptors()
        self.server.on_connect(MockConnection(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", fail_after=10))
        self.assertEqual(open_descriptors(), before)

    def test_that_shrinks_while_it_is_sent_ends_the_connection(self):
        path = self.path

        class Shrinking(MockConnection):
            def send(self, data):
                with open(path, "r+b") as file:
                    file.truncate(80000)
                return super().send(data)

        connection = Shrinking(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        with self.assertLogs("ownhands"):
            self.server.on_connect(connection)
        self.assertTrue(connection.is_closed)
        with self.assertRaisesRegex(ConnectionError, "after 80000 octets"):
            parse_replies(connection.sent)


class TagTest(unittest.TestCase):
    class Status:  # of a file system that keeps whole seconds, as it seems
        st_size, st_mtime, st_mtime_ns, st_ino = 1, float(DATE), DATE * 10**9, 5

    class Finer(Status):
        st_mtime_ns = DATE * 10**9 + 1

    @params((Finer, -1, False), (Finer, 0, True), (Finer, 0.01, True), (Finer, 0.03, False), (Finer, 1, False),
            (Status, -1, False), (Status, 0, True), (Status, 1.9, True), (Status, 2.1, False))
    def test_is_weak_until_the_clock_has_ticked(self, status, age, is_weak):
        self.assertEqual(etag_of(status, DATE + age).startswith('W/"'), is_weak)

    @params(0.001, 0.5, 3)
    def test_is_none_that_another_content_may_get(self, later):
        first, second = (etag_of(self.Status, DATE + age).removeprefix("W/") for age in (0.25, 0.25 + later))
        self.assertNotEqual(first, second)

    @params((10, DATE), (-10, DATE - 10))
    def test_a_date_in_the_future_is_now(self, age, modified):
        self.assertEqual(modified_of(self.Status, DATE + age), modified)

    def test_of_a_variant_is_another(self):
        self.assertNotEqual(etag_of(self.Status, DATE + 1), etag_of(self.Status, DATE + 1, "-gz"))

    def test_is_a_field_value(self):
        self.assertEqual(parse_date(STAMP), DATE)


class SendFileTest(FolderTest):
    def test_a_range_is_sent_by_the_system(self):
        import socket
        self.write("a", CONTENT)
        response = Response.file(self.root / "a")
        content = response.content
        content.offset, content.length = 10, 90000
        ours, theirs = socket.socketpair()
        with ours, theirs:
            outgoing, _ = frame(response, "GET", False, True, ours)
            self.assertIsInstance(outgoing, FileOutgoing)
            received = b""
            while not outgoing.send_some(ours):
                received += theirs.recv(1 << 20)
            ours.close()
            while octets := theirs.recv(1 << 20):
                received += octets
        outgoing.close()
        self.assertEqual(received.partition(b"\r\n\r\n")[2], CONTENT[10:90010])

    def test_there_is_nothing_to_be_found(self):
        self.assertRaises(HTTPError, Response.file, self.root)
