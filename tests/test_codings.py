"""codings.py and mediatypes.py: what a client takes, what a name says."""
import gzip as standard
import unittest

from nose2.tools import params

from ownhands import mediatypes
from ownhands.codings import MAX_PREFERENCES, GzipCache, acceptable_codings, gzip, prefers_json

TEXT = b"the same again and again, " * 100


class CodingTest(unittest.TestCase):
    @params(
        (None, ["identity"]),
        ("", ["identity"]),
        ("gzip", ["gzip", "identity"]),
        ("gzip, br", ["br", "gzip", "identity"]),
        ("GZIP", ["gzip", "identity"]),
        ("x-gzip", ["gzip", "identity"]),
        ("gzip;q=1.0, br;q=0.5", ["gzip", "br", "identity"]),
        ("br;q=0.001, gzip; q=0.002", ["gzip", "br", "identity"]),
        ("gzip;q=0", ["identity"]),
        ("gzip;q=0.000, *", ["br", "identity"]),
        ("*", ["br", "gzip", "identity"]),
        ("identity", ["identity"]),
        ("identity, gzip;q=0.5", ["identity", "gzip"]),
        ("identity;q=0", []),
        ("identity;q=0, gzip", ["gzip"]),
        ("*;q=0", []),
        ("*;q=0, br", ["br"]),
        ("*;q=0, identity", ["identity"]),
        ("deflate, zstd", ["identity"]),
        ("gzip;q=2, br;q=x", ["identity"]),
        ("gzip;q =0, br; q= 0", ["identity"]),
        (" , gzip ;q=0.8,", ["gzip", "identity"]),
        ("gzip" + "," * MAX_PREFERENCES, ["identity"]),
        ("identity;q=0, gzip" + "," * MAX_PREFERENCES, ["identity"]))
    def test_what_is_taken_in_order(self, value, codings):
        self.assertEqual(list(acceptable_codings(value)), codings)

    @params(("application/json", True), ("application/json, */*", True), ("application/json, text/html", False),
            ("text/html, application/json;q=0.9", False), ("text/html;q=0.5, application/json", True),
            ("", False), ("*/*", False), ("application/json;q=0", False), ("APPLICATION/JSON ; Q=1", True),
            ("application/json;q=high", False), ("application/json" + "," * MAX_PREFERENCES, False))
    def test_json_rather_than_a_page(self, accept, prefers):
        self.assertEqual(prefers_json(accept), prefers)


class GzipTest(unittest.TestCase):
    def setUp(self):
        self.read = []

    def reader(self, octets):
        def read():
            self.read.append(octets)
            return octets
        return read

    def test_is_gzip_and_always_the_same(self):
        self.assertEqual((standard.decompress(gzip(TEXT)), gzip(TEXT)), (TEXT, gzip(TEXT)))

    def test_is_made_once(self):
        cache = GzipCache()
        first = cache.get("a", self.reader(TEXT))
        self.assertEqual((cache.get("a", self.reader(TEXT)), self.read), (first, [TEXT]))

    def test_is_left_out_where_it_saves_little_and_that_is_remembered(self):
        cache = GzipCache()
        noise = bytes(range(256))
        self.assertIsNone(cache.get("a", self.reader(noise)))
        self.assertIsNone(cache.get("a", self.reader(noise)))
        self.assertEqual(self.read, [noise])

    def test_is_neither_kept_nor_looked_up_where_that_may_be_of_another_content(self):
        cache = GzipCache()
        cache.get("a", self.reader(TEXT))
        for _ in range(2):
            self.assertEqual(standard.decompress(cache.get("a", self.reader(TEXT * 2), may_keep=False)), TEXT * 2)
        cache.get("a", self.reader(TEXT))
        self.assertEqual(self.read, [TEXT, TEXT * 2, TEXT * 2])

    def test_is_kept_within_bounds_the_oldest_going_first(self):
        cache = GzipCache(max_size=2000)
        for key in "abcabd":
            cache.get(key, self.reader(TEXT))
        self.assertEqual(len(self.read), 4)
        cache.get("a", self.reader(TEXT))
        self.assertEqual(len(self.read), 4)
        cache.get("c", self.reader(TEXT))
        self.assertEqual(len(self.read), 5)
        self.assertLessEqual(cache.size, 2000)


class MediaTypeTest(unittest.TestCase):
    @params(
        ("a.html", "text/html; charset=utf-8"), ("a.js", "text/javascript; charset=utf-8"),
        ("a.mjs", "text/javascript; charset=utf-8"), ("a.md", "text/markdown; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"), ("A.TXT", "text/plain; charset=utf-8"),
        ("a.py", "text/plain; charset=utf-8"), ("a.wasm", "application/wasm"), ("a.webp", "image/webp"),
        ("a.avif", "image/avif"), ("a.svg", "image/svg+xml"), ("a.json", "application/json"), ("a.mp4", "video/mp4"),
        ("a.tar.gz", "application/gzip"), ("a.woff2", "font/woff2"), ("a.pdf", "application/pdf"),
        ("README", "text/plain; charset=utf-8"), ("Makefile", "text/plain; charset=utf-8"),
        (".profile", "text/plain; charset=utf-8"), ("html", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"), ("a.", "application/octet-stream"), ("", "application/octet-stream"),
        ("\udcff.png", "image/png"))
    def test_of_a_name(self, name, media_type):
        self.assertEqual(mediatypes.guess(name), media_type)

    def test_of_text_without_a_charset(self):
        self.assertEqual(mediatypes.guess("a.txt", ""), "text/plain")

    @params(("text/plain; charset=utf-8", True), ("image/svg+xml", True), ("application/json", True),
            ("application/wasm", True), ("image/png", False), ("application/zip", False), ("video/mp4", False),
            ("application/octet-stream", False))
    def test_that_compresses(self, media_type, compresses):
        self.assertEqual(mediatypes.is_compressible(media_type), compresses)

    @params(("image/png", True), ("video/mp4", True), ("audio/mpeg", True), ("font/woff2", True), ("font/ttf", False),
            ("application/zip", True), ("application/gzip", True), ("image/svg+xml", False), ("image/bmp", False),
            ("text/html; charset=utf-8", False), ("application/octet-stream", False))
    def test_that_is_compressed_by_nature(self, media_type, is_packed):
        self.assertEqual(mediatypes.is_packed(media_type), is_packed)


class DispositionTest(unittest.TestCase):
    @params(
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ('a"b\\c.txt', "attachment; filename=\"a_b_c.txt\"; filename*=UTF-8''a%22b%5Cc.txt"),
        ("ü.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%BC.txt"),
        ("€ rates.txt", "attachment; filename=\"_ rates.txt\"; filename*=UTF-8''%E2%82%AC%20rates.txt"),
        ("50%41.txt", "attachment; filename=\"50_41.txt\"; filename*=UTF-8''50%2541.txt"),
        ("a\r\nSet-Cookie: b\x00", 'attachment; filename="a__Set-Cookie: b_"'),
        ("\udcff\udcfe.txt", 'attachment; filename="__.txt"'))
    def test_of_a_name(self, name, value):
        self.assertEqual(mediatypes.disposition(name), value)
