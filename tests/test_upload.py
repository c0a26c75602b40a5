"""Files sent to a folder: what is stored under which name, what is refused, and that nothing half-written stays."""
import errno
import gzip
import io
import os
import tempfile
import unittest
import zipfile
from itertools import product
from pathlib import Path
from unittest.mock import patch

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.files import FileHandler, UploadHandler
from ownhands.storing import FORM_SLACK, Place, clean_name, is_partial, open_partial
from ownhands.testing import MockClient, MockConnection, encode_request, in_pieces, parse_replies

from .forms import CHROMIUM
from .turns import Session

FORM = "multipart/form-data; boundary=B"
IN_MEMORY_OR_NOT = (1 << 20, 0)  # max_memory_size


def form(*files, name="files"):
    parts = "".join(f'--B\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n{content}\r\n'
                    for filename, content in files)
    return parts + "--B--\r\n"


class Acting(MockConnection):
    """A client that does something between its pieces: a generator is asked for them when they are received."""

    def __init__(self, pieces):
        super().__init__()
        self.pieces = iter(pieces)

    def recv(self, size, /):
        return next(self.pieces, b"")


class InFolder(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.folder / "old.txt").write_text("old")
        (self.folder / "sub").mkdir()

    def server(self, handler=UploadHandler, **knobs):
        return HTTPServer(handler=handler, root=self.folder, **knobs)

    def send(self, target, body=b"new", method="PUT", knobs=None, **fields):
        return MockClient(self.server(**knobs or {}))(target, method=method, body=body, **fields)

    def files(self):
        return {str(path.relative_to(self.folder)): path.read_text() for path in self.folder.rglob("*")
                if path.is_file()}

    def assert_untouched(self):
        self.assertEqual(self.files(), {"old.txt": "old"})


class Put(InFolder):
    @params("/new.txt", "/sub/new.txt", "/%C3%BC%20%22%3Cb%3E.txt", "/a%25b", "/new.")
    def test_stores(self, target):
        reply = self.send(target)
        self.assertEqual((reply.status, reply.fields["Location"]), (201, target))
        self.assertEqual(MockClient(self.server())(target).content, b"new")

    def test_says_where_as_a_uri_does(self):
        reply = self.send("/a[1]{|}^`%5B!$&'()*+,;=:@")
        self.assertEqual((reply.status, reply.fields["Location"]), (201, "/a%5B1%5D%7B%7C%7D%5E%60%5B!$&'()*+,;=:@"))
        self.assertIn("a[1]{|}^`[!$&'()*+,;=:@", self.files())

    def test_name_that_is_no_utf_8(self):
        self.assertEqual(self.send("/%FF.txt").status, 201)
        self.assertIn(b"\xff.txt", os.listdir(os.fsencode(self.folder)))

    def test_without_content(self):
        self.assertEqual((self.send("/new.txt", b"").status, self.files()["new.txt"]), (201, ""))

    @params(1, 2, 100, 70_000)
    def test_pieces_of_any_size(self, size):
        body = b"0123456789" * 9 if size < 70_000 else b"0123456789" * 30_000
        octets = encode_request("/new.txt", "PUT", body)
        connection = MockConnection(in_pieces(octets, size))
        self.server().on_connect(connection)
        self.assertEqual(parse_replies(connection.sent, "PUT")[0].status, 201)
        self.assertEqual((self.folder / "new.txt").read_bytes(), body)

    def test_in_chunks(self):
        head = b"PUT /new.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection = MockConnection(in_pieces(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 3))
        self.server().on_connect(connection)
        self.assertEqual(self.files()["new.txt"], "abcde")

    def test_the_mode_is_that_of_other_new_files(self):
        self.send("/new.txt")
        (self.folder / "other").touch()
        self.assertEqual((self.folder / "new.txt").stat().st_mode, (self.folder / "other").stat().st_mode)

    def test_never_overwrites(self):
        reply = self.send("/old.txt")
        self.assertEqual((reply.status, reply.text), (409, "409 Conflict: it exists already\n"))
        self.assert_untouched()

    def test_overwrites_if_told_to(self):
        self.assertEqual(self.send("/old.txt", knobs={"overwrite": True}).status, 204)
        self.assertEqual(self.files(), {"old.txt": "new"})

    def test_new_where_overwriting_is_allowed(self):
        self.assertEqual(self.send("/new.txt", knobs={"overwrite": True}).status, 201)

    @params(
        ("/sub", 409, {}), ("/sub/", 409, {}), ("/", 409, {}), ("/missing/new.txt", 404, {}), ("/old.txt/new", 409, {}),
        ("/../new.txt", 404, {}), ("/%2e%2e/new.txt", 404, {}), ("/..%2fnew.txt", 404, {}),
        ("/sub/..%5cnew.txt", 400, {}),
        ("/.hidden", 400, {}), ("/sub/%2Ehidden", 400, {}), ("/.git/a", 404, {}), ("/.git/.a", 404, {}),
        ("/.hidden/", 404, {}), ("/...", 400, {}), ("/..", 404, {}), ("/a%00b", 404, {}), ("/a%0Ab", 400, {}),
        ("/a%7F", 400, {}), ("/%20a", 400, {}),
        ("/%E2%80%AEtxt.exe", 400, {}), ("/" + "x" * 256, 400, {}), ("/.upload-0123456789abcdef.part", 400, {}),
        ("/new.txt", 400, {"content_range": "bytes 0-2/9"}), ("/new.txt", 415, {"content_encoding": "gzip"}),
        ("/old.txt", 412, {"if_none_match": "*"}), ("/new.txt", 412, {"if_match": "*"}),
    )
    def test_refuses(self, target, status, fields):
        self.assertEqual(self.send(target, knobs={"overwrite": True}, **fields).status, status)
        self.assert_untouched()

    def test_says_why_a_name_with_a_dot_is_refused(self):
        self.assertEqual(self.send("/.hidden").text, "400 Bad Request: a name cannot begin with a dot here\n")

    @params(("/.upload-0123456789abcdef.part", 404), ("/.env", 201))
    def test_hidden_names_where_they_are_served(self, target, status):
        self.assertEqual(self.send(target, knobs={"hidden": True}).status, status)

    @params(({}, b"form", b"mine"), ({"index": "index.html"}, b"mine", b"mine"))
    def test_what_a_visitor_sends_is_no_page_unless_it_is_named(self, knobs, page, file):
        self.assertEqual(self.send("/index.html", b"mine", knobs=knobs).status, 201)
        client = MockClient(self.server(**knobs))
        self.assertIn(page, client("/").content)
        self.assertEqual(client("/index.html").content, file)

    @params((None, 3, 201), (3, 3, 201), (3, 4, 413))
    def test_limit(self, limit, size, status):
        self.assertEqual(self.send("/new.txt", b"x" * size, knobs={"max_upload": limit}).status, status)
        self.assertEqual("new.txt" in self.files(), status == 201)

    @params(("gzip", 415), ("identity, gzip", 415), (["identity", "br"], 415), ("x", 415), ("identity", 201),
            ("Identity, identity", 201), ("", 201))
    def test_codings(self, coding, status):
        reply = self.send("/new.txt", content_encoding=coding)
        self.assertEqual((reply.status, reply.fields.get("Accept-Encoding")),
                         (status, "identity" if status == 415 else None))
        self.assertEqual("new.txt" in self.files(), status == 201)

    def test_limit_where_no_length_is_declared(self):
        head = b"PUT /new.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection = MockConnection(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        self.server(max_upload=4).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent, "PUT")[0].status, 413)
        self.assert_untouched()

    def test_more_than_other_contents_may_have(self):
        self.assertEqual(self.send("/new.txt", b"12345", knobs={"max_content_size": 4}).status, 201)

    @params(
        ("/old.txt", {"if_match": '"another"'}, 412), ("/old.txt", {"if_match": "{etag}"}, 204),
        ("/old.txt", {"if_match": "*"}, 204), ("/old.txt", {"if_none_match": "{etag}"}, 412),
        ("/old.txt", {"if_none_match": '"another"'}, 204), ("/new.txt", {"if_none_match": "*"}, 201),
        ("/old.txt", {"if_unmodified_since": "Sun, 06 Nov 1994 08:49:37 GMT"}, 412),
        ("/old.txt", {"if_unmodified_since": "{date}"}, 204), ("/new.txt", {"if_match": '"another"'}, 412),
    )
    def test_conditions(self, target, fields, status):
        os.utime(self.folder / "old.txt", (1e9, 1e9))
        found = MockClient(self.server())("/old.txt").fields
        fields = {name: value.format(etag=found["ETag"], date=found["Last-Modified"]) for name, value in fields.items()}
        self.assertEqual(self.send(target, knobs={"overwrite": True}, **fields).status, status)
        self.assertEqual(self.files().get(target[1:]), {412: {"/old.txt": "old"}.get(target)}.get(status, "new"))

    @params(("if_match", 204), ("if_none_match", 412))
    def test_conditions_on_what_was_got_compressed(self, field, status):
        (self.folder / "page.css").write_text("a" * 5000)
        os.utime(self.folder / "page.css", (1e9, 1e9))
        found = MockClient(self.server())("/page.css", accept_encoding="gzip").fields
        self.assertEqual(found["Content-Encoding"], "gzip")
        reply = self.send("/page.css", knobs={"overwrite": True}, **{field: found["ETag"]})
        self.assertEqual(reply.status, status)

    def test_a_handler_that_streams_takes_it_piece_by_piece(self):
        class Streaming(UploadHandler):
            def on_head(self, request):
                super().on_head(request)
                self.stream_this(1000)

        with patch("ownhands.messages.Request.content", property(lambda request: self.fail("it is all in memory"))):
            self.assertEqual(self.send("/new.txt", knobs={"handler": Streaming}).status, 201)
        self.assertEqual(self.files()["new.txt"], "new")

    def test_what_comes_in_is_never_another_files_content(self):
        self.send("/old.txt.gz", gzip.compress(b"something else"))
        reply = MockClient(self.server())("/old.txt", accept_encoding="gzip")
        self.assertEqual((reply.content, reply.fields.get("Content-Encoding")), (b"old", None))

    def test_an_application_in_the_browser_has_its_page(self):
        (self.folder / "index.html").write_text("the application")
        client = MockClient(self.server(spa=True))
        self.assertEqual([client(target, accept="text/html").text for target in ("/", "/users")], ["the application"] * 2)

    def test_only_where_the_handler_takes_files(self):
        reply = self.send("/new.txt", knobs={"handler": FileHandler})
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, "GET, HEAD, OPTIONS"))
        self.assert_untouched()

    @params(("/sub/", "GET, HEAD, OPTIONS, POST"), ("/", "GET, HEAD, OPTIONS, POST"),
            ("/old.txt", "GET, HEAD, OPTIONS, PUT"), ("/new.txt?a/", "GET, HEAD, OPTIONS, PUT"),
            ("*", "GET, HEAD, OPTIONS, POST, PUT"))
    def test_what_is_allowed_there(self, target, allow):
        methods = ["OPTIONS"] if target == "*" else ["OPTIONS", "DELETE"] + ["POST"] * ("PUT" in allow)
        self.assertEqual([self.send(target, b"", method).fields["Allow"] for method in methods], [allow] * len(methods))

    def test_what_a_subclass_allows_besides(self):
        class Removing(UploadHandler):
            def do_DELETE(self, request):
                pass

        reply = self.send("/old.txt", b"", "POST", {"handler": Removing})
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, "DELETE, GET, HEAD, OPTIONS, PUT"))

    @params("old.txt", "sub", "missing")
    @unittest.skipUnless(hasattr(os, "symlink"), "there are no links")
    def test_does_not_write_through_a_link(self, target):
        outside = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (outside / "old.txt").write_text("outside")
        (self.folder / "link").symlink_to(outside / target)
        self.send("/link", knobs={"overwrite": True})
        self.send("/link/new.txt", knobs={"overwrite": True})
        self.assertEqual([path.read_text() for path in outside.iterdir()], ["outside"])


class Whole(InFolder):
    """Nothing half-written is ever seen or left."""

    @params(*product((1, 100), IN_MEMORY_OR_NOT))
    def test_client_that_goes_away(self, at, max_memory_size):
        octets = encode_request("/new.txt", "PUT", b"x" * 200)
        connection = MockConnection([octets[:octets.index(b"\r\n\r\n") + 4 + at]])
        self.server(max_memory_size=max_memory_size).on_connect(connection)
        self.assert_untouched()

    def test_a_file_that_has_not_come_whole_is_not_to_be_seen(self):
        seen = []
        (self.folder / "seen").mkdir()

        def watched():
            octets = encode_request("/seen/new.txt", "PUT", b"x" * 200)
            yield octets[:-100]
            partial, = os.listdir(self.folder / "seen")
            client = MockClient(self.server(hidden=True))
            seen.extend([is_partial(partial), client("/seen/new.txt").status, client("/seen/" + partial).status,
                         client("/seen/", accept="application/json").text.count("upload"),
                         client("/seen/?zip").content.count(b"upload")])
            yield octets[-100:]

        self.server(max_memory_size=0).on_connect(Acting(watched()))
        self.assertEqual(seen, [True, 404, 404, 0, 0])
        self.assertEqual(self.files()["seen/new.txt"], "x" * 200)

    @params(*product(((False, {}, 409), (True, {}, 204), (True, {"if_none_match": "*"}, 412)), IN_MEMORY_OR_NOT))
    def test_a_name_that_is_taken_meanwhile(self, case, max_memory_size):
        overwrite, fields, status = case

        def racing():
            octets = encode_request("/new.txt", "PUT", b"x" * 200, **fields)
            yield octets[:-100]
            (self.folder / "new.txt").write_text("first")
            yield octets[-100:]

        connection = Acting(racing())
        self.server(overwrite=overwrite, max_memory_size=max_memory_size).on_connect(connection)
        self.assertEqual(self.files(), {"old.txt": "old", "new.txt": "x" * 200 if status == 204 else "first"})
        self.assertEqual(parse_replies(connection.sent, "PUT")[0].status, status)

    def test_a_name_that_is_taken_at_the_last_moment(self):
        with patch("ownhands.upload.check_put"):  # as if it had not been there yet
            self.assertEqual(self.send("/old.txt", knobs={"overwrite": True}, if_none_match="*").status, 409)
        self.assert_untouched()

    def test_a_file_that_is_another_one_meanwhile(self):
        def racing(etag):
            octets = encode_request("/old.txt", "PUT", b"x" * 200, if_match=etag)
            yield octets[:-100]
            (self.folder / "old.txt").write_text("other")
            yield octets[-100:]

        os.utime(self.folder / "old.txt", (1e9, 1e9))  # a file of this moment has no strong tag yet
        connection = Acting(racing(MockClient(self.server())("/old.txt").fields["ETag"]))
        self.server(overwrite=True).on_connect(connection)
        self.assertEqual((parse_replies(connection.sent, "PUT")[0].status, self.files()), (412, {"old.txt": "other"}))

    @params(*IN_MEMORY_OR_NOT)
    def test_a_file_that_is_another_one_at_the_last_moment(self, max_memory_size):
        os.utime(self.folder / "old.txt", (1e9, 1e9))
        etag = MockClient(self.server())("/old.txt").fields["ETag"]
        knobs = {"overwrite": True, "max_memory_size": max_memory_size}
        with patch("ownhands.storing.os.fsync", lambda fd: (self.folder / "old.txt").write_text("other")):
            self.assertEqual(self.send("/old.txt", knobs=knobs, if_match=etag).status, 412)
        self.assertEqual(self.files(), {"old.txt": "other"})

    @params(*IN_MEMORY_OR_NOT)
    def test_a_folder_that_is_removed_meanwhile(self, max_memory_size):
        def removing():
            octets = encode_request("/gone/new.txt", "PUT", b"x" * 200)
            yield octets[:-100]
            for path in (self.folder / "gone").iterdir():
                path.unlink()
            (self.folder / "gone").rmdir()
            yield octets[-100:]

        (self.folder / "gone").mkdir()
        connection = Acting(removing())
        self.server(max_memory_size=max_memory_size).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent, "PUT")[0].status, 404)

    @params(*product(((errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EROFS, 403), (errno.EFBIG, 413),
                      (errno.EIO, 500)), IN_MEMORY_OR_NOT))
    @patch("ownhands.storing.os.fsync")
    def test_a_disk_that_fails(self, outcome, max_memory_size, fsync):
        number, status = outcome
        fsync.side_effect = OSError(number, os.strerror(number))
        with self.assertLogs("ownhands") if status == 500 else self.assertNoLogs("ownhands", "WARNING"):
            self.assertEqual(self.send("/new.txt", knobs={"max_memory_size": max_memory_size}).status, status)
        self.assert_untouched()

    @params(*IN_MEMORY_OR_NOT)
    @unittest.skipUnless(os.path.exists("/dev/full"), "no full device here")
    def test_a_disk_that_is_full(self, max_memory_size):
        full = lambda place, name, flags: os.open("/dev/full", os.O_RDWR)  # noqa: E731
        with patch("ownhands.storing.Place.create", full), self.assertNoLogs("ownhands", "WARNING"):
            reply = self.send("/new.txt", b"x" * 100_000, knobs={"max_memory_size": max_memory_size})
        self.assertEqual(reply.status, 507)
        self.assert_untouched()

    @patch("shutil.disk_usage")
    def test_a_file_larger_than_the_disk_is_refused_before_it_comes(self, disk_usage):
        disk_usage.return_value.free = 2
        self.assertEqual(self.send("/new.txt").status, 507)

    @params(("/new.txt", {}, 201, "new"), ("/old.txt", {}, 409, "old"), ("/old.txt", {"overwrite": True}, 204, "new"))
    @patch("ownhands.storing.os.link", side_effect=OSError(errno.EPERM, "no links"))
    def test_file_systems_without_links(self, target, knobs, status, content, link):
        with patch("ownhands.upload.check_put"):  # as if it had not been there when it was asked for
            self.assertEqual(self.send(target, knobs=knobs).status, status)
        self.assertEqual(self.files()[target[1:]], content)
        self.assertEqual(link.called, True)


class Published(InFolder):
    def test_nothing_else_is_there_before_the_client_is_told(self):
        with Place(-1, str(self.folder)) as place, open_partial(place.copy()) as file:
            file.write(b"new")
            before = len(list(self.folder.iterdir()))
            file.publish(place, "new.txt", overwrite=False)
            self.assertEqual((len(list(self.folder.iterdir())), (self.folder / "new.txt").read_bytes()), (before, b"new"))


class Exchanged(InFolder):
    """A folder that is moved away, or exchanged for a link, while it is looked at or sent to."""

    def setUp(self):
        super().setUp()
        self.outside = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.outside / "secret").touch()

    def exchange(self):
        (self.folder / "sub").rename(self.folder / "moved")
        (self.folder / "sub").symlink_to(self.outside)

    def ask(self, count, *arguments, **fields):
        """The answer, and what is outside then; the folder is exchanged when it was opened `count` times."""
        really_open, opened = UploadHandler._open, []

        def opening(handler, names):
            found = really_open(handler, names)
            opened.append(names)
            if len(opened) == count:
                self.exchange()
            return found

        with patch.object(UploadHandler, "_open", opening):
            reply = self.send(*arguments, **fields)
        self.assertGreaterEqual(len(opened), count)
        return reply.status, os.listdir(self.outside)

    def test_no_zip_of_what_is_outside(self):
        self.assertEqual(self.ask(1, "/sub/?zip", b"", "GET")[0], 404)

    @params(*product((1, 2), IN_MEMORY_OR_NOT))
    def test_nothing_is_stored_outside(self, count, max_memory_size):
        _, outside = self.ask(count, "/sub/new.txt", knobs={"max_memory_size": max_memory_size})
        self.assertEqual(outside, ["secret"])

    @params(*IN_MEMORY_OR_NOT)
    def test_nothing_half_written_stays_in_what_was_moved(self, max_memory_size):
        def moving():
            octets = encode_request("/sub/new.txt", "PUT", b"x" * 200)
            yield octets[:-100]
            (self.folder / "sub").rename(self.folder / "moved")
            yield octets[-100:]

        connection = Acting(moving())
        self.server(max_memory_size=max_memory_size).on_connect(connection)
        self.assertEqual(parse_replies(connection.sent, "PUT")[0].status, 404)
        self.assertEqual(list((self.folder / "moved").iterdir()), [])

    def test_folders_beyond_the_longest_path(self):
        path, directory = "", os.open(self.folder, os.O_RDONLY)
        for _ in range(30):
            os.mkdir("d" * 200, dir_fd=directory)
            inner = os.open("d" * 200, os.O_RDONLY, dir_fd=directory)
            os.close(directory)
            directory, path = inner, path + "/" + "d" * 200
        self.addCleanup(os.close, directory)
        self.assertEqual(self.send(path + "/new.txt").status, 201)
        archive = zipfile.ZipFile(io.BytesIO(self.send(path + "/?zip", b"", "GET").content))
        self.assertEqual(archive.namelist(), ["d" * 200 + "/", "d" * 200 + "/new.txt"])


class InTurns(InFolder):
    """No thread waits for a client that takes its time."""

    @params(*product(((b"PUT /new.txt", b"x" * 200, "PUT"),
                      (b"POST /", form(("new.txt", "x" * 200)).encode(), "POST")), IN_MEMORY_OR_NOT))
    def test_each_octet_in_a_turn_of_its_own(self, case, max_memory_size):
        start, body, method = case
        session = Session(UploadHandler, root=self.folder, max_memory_size=max_memory_size)
        session.send(start + b" HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
                     % (FORM.encode(), len(body)))
        received = session.send(*[body[at:at + 1] for at in range(len(body))])
        self.assertEqual(parse_replies(received, method)[0].status, 201)
        self.assertEqual(self.files(), {"old.txt": "old", "new.txt": "x" * 200})


class BeforeTheContent(InFolder):
    """Who is refused is refused before the content is read: no 100 (Continue), nothing is written."""

    def refused(self, method="PUT", target="/new.txt", knobs=None, **fields):
        octets = encode_request(target, method, "x" * 100, expect="100-continue", **fields)
        connection = MockConnection([octets[:octets.index(b"\r\n\r\n") + 4]])
        self.server(**knobs or {}).on_connect(connection)
        reply = parse_replies(connection.sent, method)[0]
        self.assertEqual(reply.interim, ())
        self.assert_untouched()
        return reply.status

    @params(
        ("PUT", {"sec_fetch_site": "cross-site"}), ("PUT", {"sec_fetch_site": "same-site"}),
        ("PUT", {"origin": "http://evil.example"}), ("PUT", {"origin": "null"}),
        ("PUT", {"origin": "http://example.com:8000"}), ("PUT", {"origin": "http://example.com.evil.example"}),
        ("PUT", {"origin": "http://example.com", "sec_fetch_site": "cross-site"}),
        ("POST", {"origin": "http://evil.example", "content_type": FORM}),
    )
    def test_pages_of_other_sites(self, method, fields):
        target = "/" if method == "POST" else "/new.txt"
        self.assertEqual(self.refused(method, target, host="example.com", **fields), 403)

    @params({}, {"sec_fetch_site": "same-origin"}, {"sec_fetch_site": "none"}, {"origin": "http://example.com"},
            {"origin": "https://example.com"})
    def test_own_pages_and_what_is_no_browser(self, fields):
        self.assertEqual(self.send("/new.txt", host="example.com", **fields).status, 201)

    @params({}, {"authorization": "Basic d3Jvbmc6d3Jvbmc="})
    def test_credentials(self, fields):
        self.assertEqual(self.refused(knobs={"auth": "user:password"}, **fields), 401)

    def test_a_form_whose_condition_does_not_hold(self):
        self.assertEqual(self.refused("POST", "/", content_type=FORM, if_none_match="*"), 412)

    @params(("PUT", "/old.txt", 409), ("PUT", "/sub", 409), ("POST", "/", 415), ("PUT", "/missing/x", 404))
    def test_what_would_not_be_stored(self, method, target, status):
        self.assertEqual(self.refused(method, target), status)

    def test_what_is_too_large(self):
        self.assertEqual(self.refused(knobs={"max_upload": 99}), 413)

    def test_what_is_let_through_is_asked_for(self):
        octets = encode_request("/new.txt", "PUT", "x", expect="100-continue")
        connection = MockConnection([octets[:-1], octets[-1:]])
        self.server().on_connect(connection)
        reply, = parse_replies(connection.sent, "PUT")
        self.assertEqual(([head.status for head in reply.interim], reply.status), ([100], 201))


class Form(InFolder):
    def post(self, *files, target="/", knobs=None, **fields):
        return self.send(target, form(*files), "POST", knobs, **{"content_type": FORM} | fields)

    def test_stores_each_file(self):
        reply = self.post(("a.txt", "1"), ("b.txt", "2"), target="/sub/")
        self.assertEqual((reply.status, reply.text), (201, "a.txt: stored\nb.txt: stored\n"))
        self.assertEqual(self.files(), {"old.txt": "old", "sub/a.txt": "1", "sub/b.txt": "2"})

    def test_says_where_one_is(self):
        self.assertEqual(self.post(("a b.txt", "1"), target="/sub/").fields["Location"], "/sub/a%20b.txt")

    @params(1, 2, 5, 64)
    def test_as_chromium_sends_it(self, size):
        boundary, octets, _ = CHROMIUM
        octets = encode_request("/", "POST", octets, content_type=f"multipart/form-data; boundary={boundary.decode()}")
        self.server().on_connect(MockConnection(in_pieces(octets, size)))
        self.assertEqual(self.files(), {"old.txt": "old", 'a"b \u00fc.txt': "one\n"})

    @params(("/sub/", "/sub/"), ("//evil.example/", "/evil.example/"))
    def test_a_browser_is_led_back_to_the_folder(self, target, location):
        (self.folder / "evil.example").mkdir()
        reply = self.post(("a.txt", "1"), target=target, accept="text/html,*/*")
        self.assertIn((reply.status, reply.fields.get("Location")), [(303, location), (404, None)])

    def test_one_that_exists_does_not_keep_out_the_others(self):
        reply = self.post(("a.txt", "1"), ("old.txt", "2"), ("b.txt", "3"), accept="text/html")
        self.assertEqual((reply.status, reply.text),
                         (409, "a.txt: stored\nold.txt: it exists already\nb.txt: stored\n"))
        self.assertEqual(self.files(), {"old.txt": "old", "a.txt": "1", "b.txt": "3"})

    def test_the_limit_is_of_each_file(self):
        reply = self.post(("a.txt", "123"), ("b.txt", "1234"), ("c.txt", "123"), knobs={"max_upload": 3})
        self.assertEqual((reply.status, sorted(self.files())), (413, ["a.txt", "c.txt", "old.txt"]))

    def test_names_are_cleaned(self):
        self.post(("../../evil.txt", "1"), ("C:\\dir\\b.txt", "2"), (".bashrc", "3"), ("a\tb\u202e.txt", "4"))
        self.assertEqual(self.files(), {"old.txt": "old", "evil.txt": "1", "b.txt": "2", "bashrc": "3", "ab.txt": "4"})

    @params("..", "/", "...", " ")
    def test_names_of_which_nothing_is_left(self, name):
        self.assertEqual(self.post((name, "1")).status, 400)
        self.assert_untouched()

    @params((form(("", "")), 400), ("--B--", 400), ("", 400), (form(("a.txt", "1"))[:-10], 400))
    def test_forms_with_nothing_in_them(self, body, status):
        self.assertEqual(self.send("/", body, "POST", content_type=FORM).status, status)
        self.assert_untouched()

    @params(({"if_match": '"x"'}, 412), ({"if_none_match": "*"}, 412), ({"if_match": "*"}, 201),
            ({"if_none_match": '"x"'}, 201), ({"if_match": '"x"', "content_type": "text/plain"}, 415),
            ({"content_encoding": "gzip"}, 415), ({"content_encoding": "identity"}, 201))
    def test_conditions_and_codings(self, fields, status):
        self.assertEqual(self.post(("a.txt", "1"), **fields).status, status)
        self.assertEqual("a.txt" in self.files(), status == 201)

    @params("x", "")
    def test_nothing_is_stored_of_a_file_that_is_cut_by_the_boundary(self, behind):
        reply = self.send("/", form(("a.txt", "begun\r\n--B" + behind))[:-9], "POST", content_type=FORM)
        self.assertEqual(reply.status, 400)
        self.assert_untouched()

    @params(("/old.txt", FORM, 405), ("/", "text/plain", 415), ("/missing/", FORM, 404))
    def test_refuses(self, target, content_type, status):
        self.assertEqual(self.post(("a.txt", "1"), target=target, content_type=content_type).status, status)
        self.assert_untouched()

    @params(*IN_MEMORY_OR_NOT)
    def test_a_client_that_goes_away(self, max_memory_size):
        octets = encode_request("/", "POST", form(("a.txt", "1"), ("b.txt", "2")), content_type=FORM)
        self.server(max_memory_size=max_memory_size).on_connect(MockConnection([octets[:-12]]))
        self.assert_untouched()

    def test_one_too_large_for_memory(self):
        reply = self.post(("a.txt", "1" * 100_000), ("b.txt", "2"), knobs={"max_memory_size": 1000, "max_upload": 100_000})
        self.assertEqual((reply.status, self.files()), (201, {"old.txt": "old", "a.txt": "1" * 100_000, "b.txt": "2"}))
        self.assertEqual(len(list(self.folder.iterdir())), 4)  # with the folder; nothing else is left

    @params((1, 413, None), (2, 413, ["a.txt: a file may have 10 octets at most"]))
    def test_a_part_that_is_much_too_large_ends_it(self, times, status, lines):
        size = (FORM_SLACK + 200_000) // times  # of each part
        octets = encode_request("/", "POST", form(*[("a.txt", "x" * size)] * times), content_type=FORM)
        pieces = list(in_pieces(octets, 60_000))
        connection = MockConnection(pieces[:-1] if lines is None else pieces)
        self.server(max_memory_size=1000, max_upload=10).on_connect(connection)
        reply = parse_replies(connection.sent, "POST")[0]
        self.assertEqual((reply.status, lines is None or reply.text.splitlines() == lines * 2), (status, True))
        self.assert_untouched()

    def test_the_connection_goes_on(self):
        octets = encode_request("/", "POST", form(("a.txt", "1")), content_type=FORM, connection=None)
        connection = MockConnection(octets + encode_request("/a.txt"))
        self.server().on_connect(connection)
        self.assertEqual([reply.status for reply in parse_replies(connection.sent, "POST", "GET")], [201, 200])


class Names(unittest.TestCase):
    @params(
        ("a.txt", "a.txt"), ("/etc/passwd", "passwd"), ("..\\..\\a", "a"), (" a ", "a"), ("a\0\x1f\x7f\x85b", "ab"),
        (".a", "a"), ("..", ""), ("...a", "a"), ("", ""), ("a/", ""), ("\udcff", "\udcff"), ("a.", "a."),
        ("aux.c", "aux.c"),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"), ("\u00fc" * 200, "\u00fc" * 127),
        ("x." + "y" * 300, "x." + "y" * 253),
        (".upload-0123456789abcdef.part", "upload-0123456789abcdef.part"),
    )
    def test_cleaned(self, name, expected):
        self.assertEqual(clean_name(name, on_windows=False), expected)

    @params((".a", ".a"), (".", ""), ("..", ""), (".upload-0123456789abcdef.part", ""))
    def test_hidden_ones(self, name, expected):
        self.assertEqual(clean_name(name, hidden=True, on_windows=False), expected)

    @params(
        ("con", "_con"), ("AUX.c", "_AUX.c"), ("lpt1 .x", "_lpt1 .x"), ("console", "console"), ("COM\u00b9", "_COM\u00b9"), ("conin$", "_conin$"), ("a:b", "a_b"),
        ("a. .", "a"), ("a?*<>|\"", "a______"),
    )
    def test_on_windows(self, name, expected):
        self.assertEqual(clean_name(name, on_windows=True), expected)
