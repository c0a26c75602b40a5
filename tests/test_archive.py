"""A folder as a zip that is made while it is sent: what is in it, what is left out, and how little is held."""
import io
import os
import subprocess
import tempfile
import tracemalloc
import unittest
import zipfile
from pathlib import Path
from shutil import which
from unittest.mock import patch

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.archive import PIECE_SIZE, describe, zip_pieces
from ownhands.files import FileHandler
from ownhands.testing import MockClient


class Archive(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory())) / "top"
        self.folder.mkdir()

    def write(self, name, content=b"content"):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def octets(self, **arguments):
        return b"".join(zip_pieces(self.folder, **arguments))

    def names(self, **arguments):
        return zipfile.ZipFile(io.BytesIO(self.octets(**arguments))).namelist()

    def test_holds_the_folder_in_order(self):
        for name in ("b.txt", "a/2", "a/1", "c/d/e"):
            self.write(name)
        (self.folder / "empty").mkdir()
        self.assertEqual(self.names(), ["top/", "top/a/", "top/a/1", "top/a/2", "top/b.txt", "top/c/", "top/c/d/",
                                        "top/c/d/e", "top/empty/"])

    @params(b"", b"x", b"text\n" * 10_000, bytes(range(256)) * 1000)
    def test_content(self, content):
        self.write("a.txt", content)
        self.write("a.bin", content)
        archive = zipfile.ZipFile(io.BytesIO(self.octets()))
        self.assertEqual((archive.read("top/a.txt"), archive.read("top/a.bin"), archive.testzip()),
                         (content, content, None))

    @params(("a.txt", True), ("a.json", True), ("a.jpg", False), ("a.csv.gz", False), ("a.toml", True),
            ("README", True))
    def test_only_text_is_compressed(self, name, expected):
        self.write(name, b"text\n" * 10_000)
        self.assertEqual(len(self.octets()) < 5000, expected)

    @unittest.skipUnless(which("unzip"), "there is no unzip")
    def test_unzip_finds_nothing_wrong(self):
        for name in ("\u00fc b.txt", "sub/a.bin", "empty"):
            self.write(name, b"" if name == "empty" else b"content" * 50_000)
        path = self.folder.parent / "x.zip"
        path.write_bytes(self.octets())
        done = subprocess.run(["unzip", "-t", path], capture_output=True, text=True, timeout=20)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    @params(({}, []), ({"hidden": True}, ["top/.git/", "top/.git/config", "top/.hidden"]))
    def test_hidden_names(self, arguments, expected):
        self.write(".hidden")
        self.write(".git/config")
        self.assertEqual(self.names(**arguments)[1:], expected)

    def test_what_is_not_accepted_is_left_out_with_all_in_it(self):
        for name in ("a/b/c", "d"):
            self.write(name)
        self.assertEqual(self.names(accepts=lambda path: path.name != "b"), ["top/", "top/a/", "top/d"])

    def test_links_and_pipes_are_left_out(self):
        outside = self.folder.parent / "outside"
        outside.mkdir()
        (outside / "secret").touch()
        (self.folder / "folder").symlink_to(outside)
        (self.folder / "file").symlink_to(outside / "secret")
        (self.folder / "loop").symlink_to(self.folder)
        os.mkfifo(self.folder / "pipe")
        self.assertEqual(self.names(), ["top/"])

    def test_a_folder_that_is_itself_a_link(self):
        self.write("a")
        link = self.folder.parent / "link"
        link.symlink_to(self.folder)
        self.assertIn(b"top/a", b"".join(zip_pieces(link)))

    def test_what_cannot_be_opened_is_left_out(self):
        for name in "ab":
            self.write(name)
        real = os.open

        def refusing(path, *arguments, **keywords):
            if os.path.basename(os.fsdecode(path)) == "a":
                raise PermissionError
            return real(path, *arguments, **keywords)

        with patch("os.open", refusing):
            self.assertEqual(self.names(), ["top/", "top/b"])

    def test_a_link_that_takes_the_place_of_a_file(self):
        for name in "ab":
            self.write(name)
        (self.folder.parent / "secret").write_text("secret")
        pieces = zip_pieces(self.folder)
        found = next(pieces)
        (self.folder / "b").unlink()
        (self.folder / "b").symlink_to(self.folder.parent / "secret")
        archive = zipfile.ZipFile(io.BytesIO(found + b"".join(pieces)))
        self.assertEqual(archive.namelist(), ["top/", "top/a"])

    @params("sub", "sub/below")
    def test_a_link_that_takes_the_place_of_a_folder(self, name):
        outside = self.folder.parent / "outside"
        (outside / "below").mkdir(parents=True)
        (outside / "secret").touch()
        (outside / "below" / "secret").touch()
        for each in ("sub/below/secret", "sub/secret", "z"):
            self.write(each)

        def accepts(path):
            """Asked for each name in a folder before any of them is looked at."""
            if path == self.folder / name / "secret":
                (self.folder / name).rename(self.folder.parent / "moved")
                (self.folder / name).symlink_to(outside)
            return True

        self.assertFalse({f"top/{name}/secret", f"top/{name}/below/"} & set(self.names(accepts=accepts)))
        self.assertIn("top/z", self.names())

    @params((b"content and more", b"content"), (b"short", b"short"), (b"", b""))
    def test_a_file_that_changes_its_size_meanwhile(self, content, expected):
        self.write("a", b"content")
        real = describe

        def changing(inside, status):
            if inside == "top/a":
                self.write("a", content)
            return real(inside, status)

        with patch("ownhands.archive.describe", changing):
            archive = zipfile.ZipFile(io.BytesIO(self.octets()))
        self.assertEqual((archive.testzip(), archive.read("top/a")), (None, expected))

    @params((b"\xc3\xbc.txt", "top/\u00fc.txt"), (b"\xff.txt", "top/%FF.txt"), (b"..\\..\\evil", "top/..%5C..%5Cevil"),
            (b"a%5Cb", "top/a%255Cb"), (b"%FF%255C%20%", "top/%25FF%25255C%20%"),
            (b"a\nb", "top/a\nb"))
    def test_names_of_any_octets(self, name, expected):
        with open(os.path.join(os.fsencode(self.folder), name), "wb"):
            pass
        self.assertEqual(self.names(hidden=True)[1:], [expected])

    @params((b"Gr\xf6\xdfe.txt", b"Gr\xe4\xdfe.txt"), (b"a\\b", b"a_b"), (b"\xff/a", b"\xfe/a"))
    def test_names_that_differ_go_on_differing(self, *names):
        for name in names:
            self.write(os.fsdecode(name), name)
        archive = zipfile.ZipFile(io.BytesIO(self.octets()))
        files = {each for each in archive.namelist() if not each.endswith("/")}
        self.assertEqual({archive.read(each) for each in files}, set(names))

    @params((0, 1980), (-10**9, 1980), (10**10, 2107), (1_700_000_000, 2023))
    def test_times_of_any_age(self, mtime, year):
        self.write("a")
        os.utime(self.folder / "a", (mtime, mtime))
        self.assertEqual(zipfile.ZipFile(io.BytesIO(self.octets())).getinfo("top/a").date_time[0], year)

    def test_times_that_no_calendar_has(self):
        status = os.stat_result((0o100644, 0, 0, 1, 0, 0, 5, 0, 1 << 57, 0))
        self.assertEqual(describe("top/a", status).date_time[0], 2107)

    def test_deep_folders(self):
        self.write("d/" * 500 + "a")
        self.assertEqual(len(self.names()), 502)

    def test_memory_does_not_grow_with_a_file(self):
        with (self.folder / "big").open("wb") as file:
            file.truncate(64 << 20)
        tracemalloc.start()
        try:
            sizes = [len(piece) for piece in zip_pieces(self.folder)]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertGreater(sum(sizes), 64 << 20)
        self.assertLess(max(sizes), 2 * PIECE_SIZE)
        self.assertLess(peak, 4 << 20)

    def test_a_file_beyond_four_gigabytes_is_declared_as_one(self):
        with (self.folder / "big").open("wb") as file:
            file.truncate(5 << 30)
        pieces = zip_pieces(self.folder)
        self.addCleanup(pieces.close)
        head = next(pieces) + next(pieces)
        start = head.index(b"top/big") - 30
        self.assertEqual((head[start:start + 4], head[start + 4:start + 6]), (b"PK\3\4", b"\x2d\0"))  # Zip64 needs 4.5

    def test_a_client_that_goes_away_leaves_nothing_open(self):
        self.write("a", b"x" * 10 * PIECE_SIZE)
        pieces = zip_pieces(self.folder)
        next(pieces)
        with self.assertNoLogs():
            pieces.close()
        self.assertEqual([path for path in Path("/proc/self/fd").glob("*") if path.exists() and
                          path.resolve() == self.folder / "a"], [])

    def test_download(self):
        self.write("sub/\u00fc.txt")
        reply = MockClient(HTTPServer(handler=FileHandler, root=self.folder))("/sub/?zip")
        self.assertEqual((reply.status, reply.fields["Content-Type"]), (200, "application/zip"))
        self.assertIn('filename="sub.zip"', reply.fields["Content-Disposition"])
        self.assertEqual(zipfile.ZipFile(io.BytesIO(reply.content)).namelist(), ["sub/", "sub/\u00fc.txt"])
