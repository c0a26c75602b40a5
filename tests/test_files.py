"""files.py: FileHandler and UploadHandler over the byte path, and what of a folder they never give."""
import gzip
import io
import json
import os
import time
import zipfile
from itertools import product
from unittest import mock, skipIf

from nose2.tools import params

from ownhands import FileHandler, HTTPServer, UploadHandler, files
from ownhands.testing import MockClient, MockConnection, encode_request, parse_replies

from .folders import DATE, STAMP, FolderTest, open_descriptors

TEXT = b"the same again and again, " * 100


class FilesTest(FolderTest):
    handler = FileHandler

    def client(self, **knobs):
        return MockClient(HTTPServer(handler=self.handler, root=str(self.root), **knobs))

    def get(self, target, /, **fields):
        return self.client()(target, **fields)


class FileTest(FilesTest):
    def test_is_given_with_what_is_known_of_it(self):
        self.write("a.txt", b"hello")
        reply = self.get("/a.txt")
        wanted = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": "5", "Last-Modified": STAMP,
                  "Accept-Ranges": "bytes", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache",
                  "Vary": "Accept-Encoding"}
        self.assertEqual((reply.status, reply.content), (200, b"hello"))
        self.assertEqual({name: reply.fields[name] for name in wanted}, wanted)
        self.assertRegex(reply.fields["ETag"], r'\A"[!#-~]+"\Z')

    @params(0, 1, 65536, 65537, 300_000)
    def test_of_any_size(self, size):
        content = bytes(range(250)) * (size // 250 + 1)
        self.write("a.bin", content[:size])
        for method, octets in (("GET", content[:size]), ("HEAD", b"")):
            reply = self.get("/a.bin", method=method)
            self.assertEqual((reply.status, reply.content, reply.fields["Content-Length"]), (200, octets, str(size)))

    @params((b"a b", "/a%20b"), (b"\xff\xfe", "/%ff%FE"), (b"a\\b", "/a%5Cb"), (b"a?b#c", "/a%3Fb%23c"),
            (b"%41", "/%2541"), ("ü".encode(), "/%C3%BC"), (b"a\nb", "/a%0Ab"), (b"a..", "//a.."))
    def test_of_any_name(self, name, target):
        self.write(name)
        self.assertEqual(self.get(target).content, b"content")

    def test_of_any_name_is_reached_from_the_listing(self):
        names = [bytes([octet]) for octet in range(1, 256) if octet not in b"./"] + [b"a\xff\xfe", b"<i>&'\""]
        for name in names:
            self.write(name, name)
        client = self.client()
        entries = json.loads(client("/", accept="application/json").content)["entries"]
        self.assertEqual(sorted(client("/" + entry["href"]).content for entry in entries), sorted(names))

    def test_of_a_long_path_whose_names_are_not_kept(self):
        path = "/".join([each * 200 for each in "abc"])
        self.write(path)
        kept = files._kept_names.cache_info().currsize
        self.assertEqual([self.get(target).status for target in ("/" + path, "/" + "a/" * 1000)], [200, 404])
        self.assertEqual(files._kept_names.cache_info().currsize, kept)

    def test_asked_for_in_absolute_form(self):
        self.write("a.txt")
        self.assertEqual(self.get("http://localhost/a.txt").content, b"content")

    @params("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/sub/../../secret.txt", "/sub/%2E%2E/a.txt",
            "/.env", "/sub/.git/config", "/%2eenv", "/a%00.txt", "/%2Fetc%2Fpasswd", "/out/secret.txt", "/out", "/out/",
            "/secret", "/pipe", "/nothing", "/a.txt/", "/a.txt/b", "/..%5csecret.txt", "/" + "x" * 1000)
    def test_of_these_is_404(self, target):
        self.write("a.txt")
        self.write(".env")
        self.write("sub/.git/config")
        self.link("out", "..")
        self.link("secret", "../secret.txt")
        os.mkfifo(self.root / "pipe")
        before = open_descriptors()
        reply = self.get(target)
        self.assertEqual((reply.status, reply.text), (404, "404 Not Found: there is nothing here\n"))
        self.assertEqual(open_descriptors(), before)

    def test_that_is_hidden_is_given_if_that_is_wanted(self):
        self.write(".env")
        self.assertEqual(self.client(hidden=True)("/.env").content, b"content")

    def test_that_has_not_come_whole_is_never_given(self):
        self.write(".upload-0123456789abcdef.part")
        client = self.client(hidden=True)
        self.assertEqual(client("/.upload-0123456789abcdef.part").status, 404)
        self.assertNotIn("upload-", client("/").text)

    def test_behind_a_link_that_leads_out_is_given_if_that_is_wanted(self):
        self.link("out", "..")
        self.assertEqual(self.client(follow_symlinks=True)("/out/secret.txt").content, b"secret")

    @skipIf(os.geteuid() == 0, "root can read everything")
    def test_that_may_not_be_read(self):
        os.chmod(self.write("a"), 0)
        self.assertEqual(self.get("/a").status, 403)

    @params((13, 403), (24, 503), (2, 404), (36, 404), (5, 500))
    def test_that_the_system_does_not_open(self, number, status):
        client = self.client()
        with mock.patch("ownhands.files.open_beneath", side_effect=OSError(number, "no")):
            if status == 500:
                with self.assertLogs("ownhands"):
                    self.assertEqual(client("/a").status, status)
            else:
                self.assertEqual(client("/a").status, status)

    def test_that_shrinks_before_it_is_read_is_asked_for_again_later(self):
        self.write("a", b"0123456789")
        with mock.patch("ownhands.fileslice.os.read", return_value=b""):
            reply = self.get("/a")
        self.assertEqual((reply.status, reply.fields["Retry-After"]), (503, "1"))

    def test_has_conditions_and_ranges(self):
        self.write("a.txt", b"0123456789")
        etag = self.get("/a.txt").fields["ETag"]
        rows = [({"if_none_match": etag}, 304), ({"if_modified_since": STAMP}, 304), ({"if_match": '"b"'}, 412),
                ({"range": "bytes=2-4"}, 206), ({"range": "bytes=10-"}, 416),
                ({"range": "bytes=2-4", "if_range": etag}, 206), ({"range": "bytes=2-4", "if_range": '"b"'}, 200),
                ({"range": "bytes=2-4", "if_range": STAMP}, 206)]
        self.assertEqual([self.get("/a.txt", **fields).status for fields, _ in rows], [status for _, status in rows])
        self.assertEqual(self.get("/a.txt", range="bytes=2-4").content, b"234")
        kept = self.get("/a.txt", if_none_match=etag).fields
        self.assertEqual((kept["ETag"], kept["Cache-Control"], kept["Vary"]), (etag, "no-cache", "Accept-Encoding"))

    @params(({}, "no-cache"), ({"cache": 60}, "max-age=60"), ({"cache": 0}, "max-age=0"),
            ({"cache": 60, "auth": "a:b"}, "private, max-age=60"))
    def test_may_be_kept(self, knobs, value):
        self.write("a.txt")
        reply = self.client(**knobs)("/a.txt", authorization="Basic YTpi")
        self.assertEqual((reply.status, reply.fields["Cache-Control"]), (200, value))

    def test_is_saved_by_a_browser_if_it_is_asked_for_so(self):
        self.write("ü.txt")
        self.assertEqual(self.get("/%C3%BC.txt?download").fields["Content-Disposition"],
                         "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%BC.txt")

    @params("POST", "PUT", "DELETE", "PATCH")
    def test_takes_no_other_method(self, method):
        reply = self.get("/", method=method)
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, "GET, HEAD, OPTIONS"))


class EncodingTest(FilesTest):
    def test_text_is_compressed_on_the_fly(self):
        self.write("a.txt", TEXT)
        plain, packed = self.get("/a.txt"), self.get("/a.txt", accept_encoding="gzip")
        self.assertEqual((packed.fields["Content-Encoding"], gzip.decompress(packed.content)), ("gzip", TEXT))
        self.assertLess(len(packed.content), 200)
        self.assertEqual((packed.fields["Vary"], plain.fields["Vary"]), ("Accept-Encoding", "Accept-Encoding"))
        self.assertNotEqual(packed.fields["ETag"], plain.fields["ETag"])
        self.assertNotIn("Content-Encoding", plain.fields)
        again = self.get("/a.txt", accept_encoding="gzip", if_none_match=packed.fields["ETag"])
        self.assertEqual((again.status, again.fields["ETag"]), (304, packed.fields["ETag"]))
        head = self.get("/a.txt", accept_encoding="gzip", method="HEAD")
        self.assertEqual(head.fields["Content-Length"], packed.fields["Content-Length"])

    def test_what_is_written_over_is_compressed_anew_though_its_time_and_size_stay(self):
        changed = None
        for content in (b"a" * 4000, b"b" * 4000):
            while changed == (changed := os.stat(self.write("a.css", content)).st_ctime):
                pass  # the clock of the file system has not ticked yet
            self.assertEqual(gzip.decompress(self.get("/a.css", accept_encoding="gzip").content), content)

    @params(("a.txt", b"short"), ("a.png", TEXT), ("a.bin", TEXT), ("a.txt", os.urandom(5000)), ("a.txt", TEXT * 500))
    def test_what_is_not_worth_it_is_not_compressed(self, name, content):
        self.write(name, content)
        reply = self.get("/" + name, accept_encoding="gzip, br")
        self.assertEqual((reply.content, reply.fields.get("Content-Encoding")), (content, None))

    @params(*product((5000, (64 << 10) + 1, 1 << 20, (1 << 20) + 1), ("GET", "HEAD")))
    def test_what_proves_not_to_be_worth_it_is_given_as_it_is(self, size, method):
        content = os.urandom(size)
        self.write("a.txt", content)
        before = open_descriptors()
        for _ in range(2):  # at first it is tried, then that is known
            reply = self.get("/a.txt", accept_encoding="gzip, br", method=method)
            self.assertEqual((reply.status, reply.fields.get("Content-Encoding")), (200, None))
            self.assertEqual(reply.content, content if method == "GET" else b"")
        self.assertEqual(open_descriptors(), before)

    def test_nothing_is_compressed_if_that_is_not_wanted(self):
        self.write("a.txt", TEXT)
        self.write("a.txt.gz", gzip.compress(TEXT))
        reply = self.client(compress=False)("/a.txt", accept_encoding="gzip")
        self.assertEqual((reply.content, reply.fields.get("Vary")), (TEXT, None))

    def test_a_range_is_of_the_file_itself(self):
        self.write("a.txt", TEXT)
        reply = self.get("/a.txt", accept_encoding="gzip", range="bytes=4-7")
        self.assertEqual((reply.status, reply.content, reply.fields.get("Content-Encoding")), (206, b"same", None))

    @params({"range": "seconds=1-2"}, {"range": "bytes=4-2"}, {"range": "bytes=4-7", "method": "HEAD"},
            {"range": "bytes=4-7", "if_range": '"another"'}, {"range": "bytes=4-7", "if_range": "{plain}x"},
            {"range": "bytes=4-7", "if_range": STAMP},  # it may be of the file or of what it was compressed to
            {"if_none_match": "{packed}", "range": "bytes=4-7", "method": "HEAD"},
            {"if_match": "{plain}", "range": "bytes=4-7", "method": "HEAD"},
            {"if_match": "{packed}", "range": "bytes=4-2"},
            {"accept_encoding": "identity;q=0, br", "range": "bytes=4-7", "method": "HEAD"})
    def test_a_range_that_does_not_count_changes_nothing(self, fields):
        self.write("a.txt", TEXT)
        tags = {"plain": self.get("/a.txt").fields["ETag"],
                "packed": self.get("/a.txt", accept_encoding="gzip").fields["ETag"]}
        fields = {"accept_encoding": "gzip"} | {name: value.format(**tags) for name, value in fields.items()}
        without = {name: value for name, value in fields.items() if name not in ("range", "if_range")}
        found, expected = self.get("/a.txt", **fields), self.get("/a.txt", **without)
        self.assertEqual((found.status, found.content, found.fields.without("date").pairs),
                         (expected.status, expected.content, expected.fields.without("date").pairs))

    @params(("{plain}", 206, None), ("{packed}", 206, "gzip"))
    def test_a_range_is_of_what_if_range_names(self, if_range, status, coding):
        self.write("a.txt", TEXT)
        whole = {"plain": self.get("/a.txt"), "packed": self.get("/a.txt", accept_encoding="gzip")}
        if_range = if_range.format(**{name: reply.fields["ETag"] for name, reply in whole.items()})
        reply = self.get("/a.txt", accept_encoding="gzip", range="bytes=4-7", if_range=if_range)
        self.assertEqual((reply.status, reply.fields.get("Content-Encoding")), (status, coding))
        self.assertEqual(reply.content, whole["packed" if coding else "plain"].content[4:8])

    def test_a_range_is_of_what_is_compressed_where_the_file_itself_is_not_taken(self):
        self.write("a.txt", TEXT)
        reply = self.get("/a.txt", accept_encoding="gzip, identity;q=0", range="bytes=0-1")
        self.assertEqual((reply.status, reply.content, reply.fields["Content-Encoding"]), (206, b"\x1f\x8b", "gzip"))

    def test_a_range_that_the_file_has_not(self):
        self.write("a.txt", TEXT)
        reply = self.get("/a.txt", accept_encoding="gzip", range=f"bytes={len(TEXT)}-")
        self.assertEqual((reply.status, reply.fields["Content-Range"]), (416, f"bytes */{len(TEXT)}"))

    def test_is_not_kept_of_a_file_whose_next_write_may_not_show(self):
        with mock.patch.object(files, "identity_of", lambda status: "the same: the clock has not ticked"):
            for content in (TEXT, TEXT[::-1]):
                self.write("a.css", content, DATE - int(time.time()))
                self.assertEqual(gzip.decompress(self.get("/a.css", accept_encoding="gzip").content), content)

    @params(("br, gzip", "br"), ("gzip", "gzip"), ("br;q=0.5, gzip", "gzip"), ("identity", None), (None, None),
            ("br;q=0, gzip;q=0", None), ("*", "br"))
    def test_a_file_beside_it_is_sent_in_its_place(self, accept, coding):
        self.write("a.js", b"plain")
        self.write("a.js.br", b"brotli")
        self.write("a.js.gz", b"gzipped")
        reply = self.get("/a.js", accept_encoding=accept)
        content = {"br": b"brotli", "gzip": b"gzipped", None: b"plain"}[coding]
        self.assertEqual((reply.content, reply.fields.get("Content-Encoding")), (content, coding))
        self.assertEqual((reply.fields["Content-Type"], reply.fields["Vary"]),
                         ("text/javascript; charset=utf-8", "Accept-Encoding"))

    def test_a_range_of_a_file_beside_it_is_of_that_file(self):
        self.write("a.js", b"plain")
        self.write("a.js.gz", b"gzipped")
        reply = self.get("/a.js", accept_encoding="gzip", range="bytes=0-1")
        self.assertEqual((reply.status, reply.content, reply.fields["Content-Range"]), (206, b"gz", "bytes 0-1/7"))

    def test_a_date_does_not_say_which_of_them_a_range_is_of(self):
        self.write("a.js", b"plain")
        self.write("a.js.gz", b"gzipped")
        reply = self.get("/a.js", accept_encoding="gzip", range="bytes=0-1", if_range=STAMP)
        self.assertEqual((reply.status, reply.content), (200, b"gzipped"))

    def test_an_older_file_beside_it_is_not(self):
        self.write("a.js", b"plain")
        self.write("a.js.gz", b"of yesterday", age=86400)
        self.assertEqual(self.get("/a.js", accept_encoding="gzip").content, b"plain")

    def test_a_link_beside_it_that_leads_out_is_not(self):
        self.write("a.js", b"plain")
        self.link("a.js.gz", "../secret.txt")
        self.assertEqual(self.get("/a.js", accept_encoding="gzip").content, b"plain")

    def test_the_file_beside_it_is_what_it_is_when_it_is_asked_for(self):
        self.write("a.js.gz", b"gzipped")
        reply = self.get("/a.js.gz", accept_encoding="gzip")
        self.assertEqual((reply.fields["Content-Type"], reply.fields.get("Content-Encoding")),
                         ("application/gzip", None))

    def test_what_is_not_taken_in_any_way_is_406(self):
        self.write("a.bin")
        self.assertEqual(self.get("/a.bin", accept_encoding="identity;q=0").status, 406)


class FolderAnswerTest(FilesTest):
    @params(("/sub", "/sub/"), ("/sub?sort=size", "/sub/?sort=size"), ("//sub", "/sub/"), ("//example.org/", None),
            ("//sub%2fexample.org", None), ("/a%20b%ff", "/a%20b%FF/"), ("/sub//sub", "/sub/sub/"),
            ("/sub?q={a|b}^`[]\\%zz%7B%", "/sub/?q=%7Ba%7Cb%7D%5E%60%5B%5D%5C%25zz%7B%25"))
    def test_without_its_slash_leads_to_itself(self, target, location):
        (self.root / "sub" / "sub").mkdir(parents=True)
        os.mkdir(os.fsencode(self.root) + b"/a b\xff")
        reply = self.get(target)
        self.assertEqual((reply.status, reply.fields.get("Location")), (301 if location else 404, location))

    def test_has_its_page(self):
        self.write("sub/index.html", b"page")
        self.write("index.html", b"home")
        self.assertEqual((self.get("/").content, self.get("/sub/").content), (b"home", b"page"))
        self.assertEqual(self.get("/").fields["Content-Type"], "text/html; charset=utf-8")

    def test_has_another_page(self):
        self.write("home.md", b"home")
        self.assertEqual(self.client(index="home.md")("/").content, b"home")

    @params("", None)
    def test_has_no_page_if_none_is_wanted(self, index):
        self.write("index.html", b"home")
        self.assertIn("index.html", self.client(index=index)("/").text)

    def test_whose_page_is_a_folder_is_listed(self):
        (self.root / "index.html").mkdir()
        self.assertIn('href="index.html/"', self.get("/").text)

    def test_is_listed_as_a_page_that_nothing_can_run_in(self):
        self.write("<script>alert(1)</script>")
        reply = self.get("/")
        self.assertEqual(reply.fields["Content-Type"], "text/html; charset=utf-8")
        self.assertIn("default-src 'none'", reply.fields["Content-Security-Policy"])
        self.assertEqual(reply.fields["X-Content-Type-Options"], "nosniff")
        self.assertNotIn("<script>alert", reply.text)

    def test_is_listed_without_what_is_not_given(self):
        self.write(".env")
        self.write("a.txt")
        self.link("out", "..")
        os.mkfifo(self.root / "pipe")
        entries = json.loads(self.get("/", accept="application/json").content)["entries"]
        self.assertEqual([entry["name"] for entry in entries], ["a.txt"])

    def test_is_listed_as_json(self):
        self.write("sub/a.txt")
        reply = self.get("/sub/", accept="application/json")
        found = json.loads(reply.content)
        self.assertEqual((reply.fields["Content-Type"], found["path"], found["entries"][0]["name"]),
                         ("application/json", "/sub/", "a.txt"))
        self.assertIn("Accept", reply.fields["Vary"])

    def test_is_sorted_as_the_query_says(self):
        self.write("a.txt", b"1")
        self.write("b.txt", b"22")
        text = self.get("/?sort=size&order=desc").text
        self.assertLess(text.index('href="b.txt"'), text.index('href="a.txt"'))

    def test_is_listed_compressed(self):
        self.write("a.txt")
        reply = self.get("/", accept_encoding="gzip")
        self.assertIn(b"a.txt", gzip.decompress(reply.content))

    @params(("gzip;q=0.5, identity", None), ("gzip;q=0.5, identity;q=0.6", None), ("gzip;q=0.5", "gzip"),
            ("br, gzip", "gzip"), ("gzip, identity", "gzip"), ("br, gzip;q=0.5, identity;q=0.7", None), ("br", None),
            ("identity;q=0, gzip;q=0.1", "gzip"), ("*", "gzip"), ("", None), (None, None))
    def test_is_listed_in_the_coding_that_is_liked_best(self, accepted, coding):
        self.write("a.txt")
        self.assertEqual(self.get("/", accept_encoding=accepted).fields.get("Content-Encoding"), coding)

    def test_is_not_listed_if_that_is_not_wanted(self):
        self.write("sub/index.html", b"page")
        client = self.client(listing=False)
        self.assertEqual([client(target).status for target in ("/", "/?zip", "/sub/")], [403, 403, 200])

    def test_comes_as_a_zip(self):
        self.write("sub/a.txt", b"hello")
        self.write("sub/index.html", b"page")
        self.write("sub/.env")
        self.write("sub/.upload-0123456789abcdef.part")
        self.link("sub/out", "../../secret.txt")
        reply = self.get("/sub/?zip")
        archive = zipfile.ZipFile(io.BytesIO(reply.content))
        self.assertEqual(sorted(archive.namelist()), ["sub/", "sub/a.txt", "sub/index.html"])
        self.assertEqual(archive.read("sub/a.txt"), b"hello")
        self.assertEqual((reply.fields["Content-Type"], reply.fields["Content-Disposition"]),
                         ("application/zip", 'attachment; filename="sub.zip"'))

    @params(*product(("/sub/", "/sub/?zip"), ("GET", "HEAD"), (
        ({"if_match": '"x"'}, 412), ({"if_match": "*"}, 200), ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200), ({"if_modified_since": STAMP}, 200), ({"if_unmodified_since": STAMP}, 200))))
    def test_has_no_tag_and_no_date(self, target, method, case):
        fields, status = case
        self.write("sub/a.txt")
        whole, reply = self.get(target, method=method), self.get(target, method=method, **fields)
        self.assertEqual((reply.status, status == 200 or b"a.txt" not in reply.content), (status, True))
        if status == 304:
            self.assertEqual([reply.fields.get(name) for name in ("Vary", "Cache-Control", "Content-Type")],
                             [whole.fields.get("Vary"), whole.fields["Cache-Control"], None])

    @params("/sub", "/sub/?zip", "/nothing")
    def test_conditions_of_what_is_no_success_are_ignored(self, target):
        (self.root / "sub").mkdir()
        client = self.client(listing=False)
        self.assertEqual(client(target, if_match='"x"').status, client(target).status)

    @params("/", "/sub", "/sub/?zip", "/sub/", "/a.txt")
    def test_is_closed_behind_every_answer(self, target):
        self.write("sub/b.txt")
        self.write("a.txt")
        before = open_descriptors()
        for method in ("GET", "HEAD"):
            self.get(target, method=method)
        self.assertEqual(open_descriptors(), before)


class MissingRootTest(FilesTest):
    def test_is_told_once_and_to_no_client(self):
        client = MockClient(HTTPServer(handler=FileHandler, root=str(self.root / "nowhere")))
        with self.assertLogs("ownhands", "WARNING") as logs:
            statuses = [client(target).status for target in ("/", "/a.txt", "/a.txt")]
        self.assertEqual(statuses, [404] * 3)
        (line,) = logs.output
        self.assertIn(str(self.root / "nowhere"), line)


class ApplicationTest(FilesTest):
    @params(("/", {}, 200), ("/users/7", {}, 200), ("/users/j.doe", {}, 200), ("/missing.js", {}, 404),
            ("/missing.js", {"accept": "text/html,*/*"}, 200), ("/.env", {}, 404), ("/a.txt/b", {}, 200),
            ("/../secret.txt", {}, 404))
    def test_answers_for_paths_that_do_not_exist(self, target, fields, status):
        self.write("index.html", b"app")
        self.write("a.txt")
        self.write(".env")
        reply = self.client(spa=True)(target, **fields)
        self.assertEqual((reply.status, reply.content == b"app"), (status, status == 200))

    def test_is_not_there(self):
        self.assertEqual(self.client(spa=True)("/users").status, 404)

    @params(("/missing.js", "Accept"), ("/.env", None), ("/a.txt/", None))
    def test_what_there_is_for_other_clients_depends_on_what_is_accepted(self, target, vary):
        self.write("index.html", b"app")
        self.write("a.txt")
        reply = self.client(spa=True)(target, accept="*/*")
        self.assertEqual((reply.status, reply.fields.get("Vary")), (404, vary))
        self.assertEqual(self.get("/missing.js").fields.get("Vary"), None)

    def test_an_applications_page_for_a_path_depends_on_what_is_accepted(self):
        self.write("index.html", TEXT)
        self.assertEqual(self.client(spa=True)("/a.js", accept="text/html").fields["Vary"], "Accept, Accept-Encoding")


class CorsTest(FilesTest):
    @params((True, "*"), ("https://example.org", "https://example.org"), (False, None))
    def test_others_may_read(self, cors, origin):
        self.write("sub/a.txt")
        client = self.client(cors=cors)
        for target in ("/sub/a.txt", "/sub/", "/sub", "/nothing", "/sub/?zip"):
            fields = client(target, origin="https://example.org").fields
            self.assertEqual(fields.get("Access-Control-Allow-Origin"), origin)

    def test_others_may_ask_before_they_ask_with_a_password(self):
        client = self.client(cors=True, auth="a:b")
        reply = client("/a.txt", method="OPTIONS", origin="https://example.org", access_control_request_method="GET")
        self.assertEqual((reply.status, reply.fields["Access-Control-Allow-Methods"]), (204, "GET, HEAD"))
        self.assertEqual(client("/a.txt", method="OPTIONS").status, 401)
        self.assertEqual(client("/a.txt").fields["Access-Control-Allow-Origin"], "*")

    def test_options_without(self):
        reply = self.get("/", method="OPTIONS")
        self.assertEqual((reply.status, reply.fields["Allow"]), (204, "GET, HEAD, OPTIONS"))
        self.assertNotIn("Access-Control-Allow-Origin", reply.fields)


class UploadTest(FilesTest):
    handler = UploadHandler

    def put(self, target, body=b"new", /, client=None, **fields):
        return (client or self.client())(target, method="PUT", body=body, **fields)

    def test_stores_a_file(self):
        (self.root / "sub").mkdir()
        reply = self.put("/sub/a%20b.txt", b"x" * 200_000)
        self.assertEqual((reply.status, reply.fields["Location"]), (201, "/sub/a%20b.txt"))
        self.assertEqual((self.root / "sub" / "a b.txt").read_bytes(), b"x" * 200_000)

    def test_stores_a_form_and_shows_the_folder(self):
        body = (b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\nnew\r\n--b--\r\n')
        reply = self.client()("/", method="POST", body=body, content_type="multipart/form-data; boundary=b",
                              accept="text/html")
        self.assertEqual((reply.status, reply.fields["Location"]), (303, "/"))
        self.assertEqual((self.root / "a.txt").read_bytes(), b"new")
        self.assertIn("<form", self.get("/").text)

    def test_of_any_name(self):
        self.put("/%ff%FE", b"new")
        self.assertEqual(self.get("/%ff%fe").content, b"new")

    @params("/../a.txt", "/%2e%2e/a.txt", "/..%2fa.txt", "/out/a.txt", "/.env", "/nothing/a.txt", "/", "/a%00")
    def test_stores_nothing_there(self, target):
        self.link("out", "..")
        before = sorted(os.walk(self.outside))
        self.assertIn(self.put(target).status, (400, 403, 404, 409))
        self.assertEqual(sorted(os.walk(self.outside)), before)

    @params((False, 409, b"content"), (True, 204, b"new"))
    def test_takes_the_place_of_a_file_only_if_that_is_wanted(self, overwrite, status, content):
        self.write("a.txt")
        reply = self.put("/a.txt", client=self.client(overwrite=overwrite))
        self.assertEqual((reply.status, (self.root / "a.txt").read_bytes()), (status, content))

    def test_takes_no_more_than_is_allowed(self):
        client = self.client(max_upload=10)
        self.assertEqual(self.put("/a", b"x" * 11, client=client).status, 413)
        self.assertEqual(self.put("/a", b"x" * 10, client=client).status, 201)

    def test_is_refused_before_the_content_is_read(self):
        """The client waits for 100 (Continue), and has not sent a single octet of the content."""
        self.write("a.txt")
        for knobs, status in (({"auth": "a:b"}, 401), ({}, 409)):
            server = HTTPServer(handler=UploadHandler, root=str(self.root), **knobs)
            connection = MockConnection(encode_request("/a.txt", "PUT", content_length=1000, expect="100-continue"))
            server.on_connect(connection)
            self.assertEqual([reply.status for reply in parse_replies(connection.sent)], [status])
            self.assertNotIn(b"100 Continue", connection.sent)

    def test_of_another_site_is_refused(self):
        self.assertEqual(self.put("/a.txt", sec_fetch_site="cross-site").status, 403)

    def test_the_other_methods_are_named(self):
        self.assertEqual(self.get("/", method="OPTIONS").fields["Allow"], "GET, HEAD, OPTIONS, POST")
