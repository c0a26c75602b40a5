"""A folder's page: order, links and escapes that lead to every name, sizes as people say them; and its JSON."""
import base64
import hashlib
import json
import os
import re
import tempfile
import unittest
from html.parser import HTMLParser
from urllib.parse import urljoin

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.files import FileHandler, UploadHandler
from ownhands.listing import CONTENT_SECURITY_POLICY, Entry, as_json, human_size, render, sort_entries
from ownhands.testing import MockClient

ENTRIES = [Entry("b.txt", False, 2000, 1e9), Entry("A.txt", False, 5, 3e9), Entry("a10.jpg", False, 1_500_000, 2e9),
           Entry("a2.mp4", False, 0, 0), Entry("sub", True, 4096, 1.5e9)]
NAMES = ["plain", "a b", "<b>&\"'", "100%", "a?b#c", "a:b", "..a", "\u00fc\u6587\U0001f600",
         "\udcff\udcfe", "a\nb\t\x01", "\u202etxt.exe", "{{title}}", "javascript:alert(1)", "a\\b"]


class Page(HTMLParser):
    """The links of a page, as (URL, text), and the tags that it has."""

    def __init__(self, page):
        super().__init__()
        self.links, self.tags, self.attributes = [], set(), set()
        self.is_link = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag == "a":
            self.is_link = True
            self.links.append([dict(attrs)["href"], ""])

    def handle_endtag(self, tag):
        self.is_link = self.is_link and tag != "a"

    def handle_data(self, data):
        if self.is_link:
            self.links[-1][1] += data


def names_in(page):
    return re.findall(r'<li class="[^u]"><a href="[^"]*">([^<]*)', page)


class Order(unittest.TestCase):
    @params(
        ("name", "asc", ["sub", "A.txt", "a2.mp4", "a10.jpg", "b.txt"]),
        ("name", "desc", ["sub", "b.txt", "a10.jpg", "a2.mp4", "A.txt"]),
        ("size", "asc", ["sub", "a2.mp4", "A.txt", "b.txt", "a10.jpg"]),
        ("size", "desc", ["sub", "a10.jpg", "b.txt", "A.txt", "a2.mp4"]),
        ("time", "asc", ["sub", "a2.mp4", "b.txt", "a10.jpg", "A.txt"]),
        ("time", "desc", ["sub", "A.txt", "a10.jpg", "b.txt", "a2.mp4"]),
        ("time", "", ["sub", "A.txt", "a10.jpg", "b.txt", "a2.mp4"]),  # as the column's link has it
        ("nonsense", "<b>", ["sub", "A.txt", "a2.mp4", "a10.jpg", "b.txt"]),
    )
    def test_order(self, sort, order, expected):
        self.assertEqual(names_in(render("/", ENTRIES, sort, order)), expected)

    @params("asc", "desc")
    def test_equals_are_in_order_of_their_names(self, order):
        entries = [Entry(name, False, 1, 1) for name in ("c", "a", "b")]
        for sort in ("size", "time"):
            self.assertEqual([entry.name for entry in sort_entries(entries, sort, order)], ["a", "b", "c"])

    @params(
        ("name", "asc", {"name": "desc", "size": "desc", "time": "desc"}),
        ("name", "desc", {"name": "asc", "size": "desc", "time": "desc"}),
        ("size", "desc", {"name": "asc", "size": "asc", "time": "desc"}),
        ("time", "asc", {"name": "asc", "size": "desc", "time": "desc"}),
    )
    def test_links_sort_the_other_way(self, sort, order, expected):
        links = re.findall(r'href="\?sort=(\w+)&amp;order=(\w+)"', render("/", ENTRIES, sort, order))
        self.assertEqual(dict(links), expected)


class Names(unittest.TestCase):
    @params(*NAMES)
    def test_a_link_leads_to_a_file_of_any_name(self, name):
        root = self.enterContext(tempfile.TemporaryDirectory())
        with open(os.path.join(root, name), "w") as file:
            file.write("found")
        client = MockClient(HTTPServer(handler=FileHandler, root=root, hidden=True))
        link = next(link for link, _ in Page(client("/").text).links if not link.startswith("?"))
        url = urljoin("http://example.com/", link)
        self.assertTrue(url.startswith("http://example.com/"), url)
        self.assertEqual(client(url.removeprefix("http://example.com")).content, b"found")

    @params(*NAMES)
    def test_a_name_is_text(self, name):
        page, plain = (Page(render("/", [Entry(each, False, 1, 1), Entry(each, True, 1, 1)])) for each in (name, "x"))
        self.assertEqual((page.tags, page.attributes), (plain.tags, plain.attributes))
        self.assertEqual(len(page.links), len(plain.links))

    @params(("a<b>", "a<b>"), ("\udcff", "\ufffd"), ("a\nb\x7f", "a\u240ab\u2421"), ("{{title}}", "{{title}}"))
    def test_what_is_seen_of_a_name(self, name, expected):
        page = Page(render("/", [Entry(name, False, 1, 1)]))
        self.assertIn(expected, [text for _, text in page.links])

    @params(*NAMES)
    def test_a_page_is_utf_8(self, name):
        render(f"/{name}/", [Entry(name, True, 0, 0)], home=name).encode()

    @params(*NAMES)
    def test_a_path_is_text(self, name):
        page, plain = Page(render(f"/{name}/", ENTRIES)), Page(render("/x/" + "y/" * name.count("/"), ENTRIES))
        self.assertEqual(page.tags, plain.tags)


class Parts(unittest.TestCase):
    def test_crumbs(self):
        page = Page(render("/a/b & c/d/", ENTRIES, home="Pictures"))
        self.assertEqual(page.links[:3], [["../../../", "Pictures"], ["../../", "a"], ["../", "b & c"]])

    @params(("/", False), ("/a/", True))
    def test_parent(self, path, expected):
        self.assertEqual(["../", "Parent folder"] in Page(render(path, ENTRIES)).links, expected)

    @params(("/", "Files"), ("/a/b/", "b"))
    def test_title(self, path, expected):
        self.assertIn(f"<title>{expected}</title>", render(path, []))

    def test_zip(self):
        links = [link for link, _ in Page(render("/", ENTRIES)).links if link.endswith("?zip")]
        self.assertEqual(links, ["?zip", "sub/?zip"])

    @params((True, True), (False, False))
    def test_upload(self, can_upload, expected):
        self.assertEqual('type="file"' in render("/", ENTRIES, can_upload=can_upload), expected)

    @params((False, "This folder is empty.<"), (True, "This folder is empty. Drop files here to upload them.<"))
    def test_empty(self, can_upload, expected):
        self.assertIn(expected, render("/", [], can_upload=can_upload))

    @params(
        (ENTRIES, "1 folder, 4 files, 1.5 MB"), (ENTRIES[:1], "1 file, 2.0 kB"), (ENTRIES[4:], "1 folder"),
        ([], ""), ([ENTRIES[4]] * 1200, "1,200 folders"),
    )
    def test_summary(self, entries, expected):
        self.assertIn(f"<footer>{expected}</footer>", render("/", entries))

    @params(("a.jpg", "i"), ("a.JPG", "i"), ("a.mp4", "v"), ("a.mp3", "a"), ("a.tar.gz", "z"), ("a.txt", "f"),
            ("jpg.", "f"))
    def test_kind(self, name, kind):
        self.assertIn(f'<li class="{kind}">', render("/", [Entry(name, False, 1, 1)]))

    @params(0, -1e9, 4e9, 1e18, 1e30, float("inf"))
    def test_times_of_any_age(self, mtime):
        entries = [Entry("a", False, 1, mtime)]
        self.assertIn(">a</a>", render("/", entries))
        self.assertEqual(json.loads(as_json("/", entries))["entries"][0]["name"], "a")

    @params((0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9949, "9.9 kB"), (9950, "10 kB"), (999_499, "999 kB"),
            (999_500, "1.0 MB"), (35_000_000, "35 MB"), (10**12, "1.0 TB"), (10**24, "1000000 EB"))
    def test_sizes(self, size, expected):
        self.assertEqual(human_size(size), expected)


class Policy(unittest.TestCase):
    """The page holds all it needs, and its policy allows that and nothing else."""

    @params("style", "script")
    def test_hashes(self, tag):
        content, = re.findall(f"<{tag}>(.*?)</{tag}>", render("/", ENTRIES, can_upload=True), re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        self.assertIn(f"{tag}-src 'sha256-{digest}'", CONTENT_SECURITY_POLICY)

    def test_nothing_that_it_forbids(self):
        page = Page(render("/a/", ENTRIES, can_upload=True))
        self.assertEqual([name for name in page.attributes if name.startswith("on") or name in ("style", "src")], [])

    def test_nothing_from_elsewhere(self):
        page = render("/a/", ENTRIES, can_upload=True).replace("http://www.w3.org/2000/svg", "")
        self.assertNotRegex(page, r"https?:|@import|[\"'(]//")

    @params(FileHandler, UploadHandler)
    def test_is_sent(self, handler):
        root = self.enterContext(tempfile.TemporaryDirectory())
        reply = MockClient(HTTPServer(handler=handler, root=root))("/")
        self.assertEqual(reply.fields["Content-Security-Policy"], CONTENT_SECURITY_POLICY)


class ForPrograms(unittest.TestCase):
    def test_json(self):
        found = json.loads(as_json("/a/", [Entry("b \u00fc.txt", False, 5, 1e9), Entry("sub", True, 4096, 0)]))
        self.assertEqual(found, {"path": "/a/", "entries": [
            {"name": "sub", "type": "folder", "href": "sub/", "size": None, "modified": "1970-01-01T00:00:00Z"},
            {"name": "b \u00fc.txt", "type": "file", "href": "b%20%C3%BC.txt", "size": 5,
             "modified": "2001-09-09T01:46:40Z"}]})

    @params(*NAMES)
    def test_names_of_any_octets(self, name):
        octets = as_json(f"/{name}/", [Entry(name, False, 1, 1)]).encode()
        self.assertEqual(json.loads(octets)["entries"][0]["name"], name)
