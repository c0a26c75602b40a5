"""folder.py: which names a path has, and that nothing outside of the root is opened, whatever they are."""
import os
import socket
import threading
import unittest
from unittest import mock, skipIf, skipUnless

from nose2.tools import params

from ownhands import folder
from ownhands.fileslice import FileSlice
from ownhands.folder import list_entries, open_beneath, split_path

from .folders import FolderTest, open_descriptors


class PathTest(unittest.TestCase):
    @params(
        ("/", ()), ("//", ()), ("/a", (b"a",)), ("/a/b.txt", (b"a", b"b.txt")), ("/a/", (b"a",)),
        ("//a///b", (b"a", b"b")), ("/%61", (b"a",)), ("/a%20b", (b"a b",)),
        ("/%ff%FE", (b"\xff\xfe",)), ("/a%5Cb", (b"a\\b",)),
        ("/%2561", (b"%61",)), ("/...", (b"...",)), ("/a+b", (b"a+b",)), ("/%", (b"%",)), ("/%/2f", (b"%", b"2f")),
        ("/%25%32%66", (b"%2f",)), ("/C:", (b"C:",)))
    def test_has_names(self, path, names):
        self.assertEqual(split_path(path, on_windows=False), names)

    @params("/..", "/../a", "/a/..", "/a/../b", "/%2e%2e/a", "/.%2E/a", "/.", "/a/./b", "/%2e", "/%2Fetc", "/a%2fb",
            "/a%00", "/%00", "/..%2f..%2fetc", "/a/%2f", "/%%2f")
    def test_has_none_that_lead_elsewhere(self, path):
        self.assertIsNone(split_path(path, on_windows=False))

    @params("/con%20.txt", "/COM%C2%B9", "/lpt%C2%B2.log", "/conin$", "/CONOUT$.txt", "/nul%20%20.tar.gz",
            "/..%5Ca", "/a%5cb", "/C:", "/c:%5Cwindows", "/a.txt:stream", "/a.txt.", "/a.txt%20", "/NUL", "/con.txt",
            "/com1", "/a%1f", "/a*", "/..")
    def test_has_none_that_windows_reads_differently(self, path):
        self.assertIsNone(split_path(path, on_windows=True))

    @params("/console", "/a.con", "/a b", "/a.b.c")
    def test_has_others_on_windows_too(self, path):
        self.assertIsNotNone(split_path(path, on_windows=True))


class OpenTest(FolderTest):
    def open(self, *names, **options):
        """What the names lead to: the content of a file, None for a folder."""
        opened = open_beneath(str(self.root), [name.encode() for name in names], **options)
        content = FileSlice(opened.fd, 0, opened.status.st_size)
        self.addCleanup(content.close)
        return None if opened.is_folder else content.read_all()

    @params((), ("sub",), ("sub", "sub"))
    def test_a_folder(self, *names):
        (self.root / "sub" / "sub").mkdir(parents=True)
        self.assertIsNone(self.open(*names))

    @params(("a",), ("sub", "a"), ("sub", "sub", "a"))
    def test_a_file(self, *names):
        self.write("/".join(names))
        self.assertEqual(self.open(*names), b"content")

    @params(("b",), ("sub", "b"), ("a", "b"), ("a", "b", "c"), ("b", "a"), ("x" * 300,))
    def test_what_is_not_there(self, *names):
        self.write("a")
        self.write("sub/a")
        with self.assertRaises(OSError):
            self.open(*names)

    @params("../secret.txt", "{outside}/secret.txt", "sub/../../secret.txt", "out/secret.txt", "loop", "/etc/passwd",
            "nowhere", "/dev/null", "other")
    def test_a_link_that_leads_out(self, target):
        self.write("sub/a")
        self.link("out", "..")
        self.link("loop", "loop")
        self.link("other", "../secret.txt")
        self.link("link", target.format(outside=self.outside))
        with self.assertRaises(OSError):
            self.open("link")

    @params(("out",), ("out", "secret.txt"), ("sub", "out"), ("sub", "out", "secret.txt"), ("out", "other", "a"))
    def test_through_a_link_that_leads_out(self, *names):
        self.write("sub/a")
        self.write("../other/a")
        self.link("out", "..")
        self.link("sub/out", "../..")
        with self.assertRaises(OSError):
            self.open(*names)

    @params(("link",), ("sub", "link"), ("folder", "a"), ("absolute",), ("chain",), ("round",))
    def test_a_link_that_stays_inside(self, *names):
        self.write("sub/a")
        self.link("link", "sub/a")
        self.link("sub/link", "a")
        self.link("folder", "sub")
        self.link("absolute", str(self.root / "sub" / "a"))
        self.link("chain", "link")
        self.link("round", "../root/sub/a")
        self.assertEqual(self.open(*names), b"content")

    def test_a_link_to_what_is_hidden(self):
        self.write(".env")
        self.link("env", ".env")
        with self.assertRaises(FileNotFoundError):
            self.open("env")
        self.assertEqual(self.open("env", hidden=True), b"content")

    def test_a_name_that_begins_like_the_roots(self):
        self.write("../root-2/a")
        self.link("sibling", "../root-2/a")
        with self.assertRaises(FileNotFoundError):
            self.open("sibling")

    def test_links_are_followed_if_that_is_wanted(self):
        self.link("out", "..")
        self.link("out.txt", "../secret.txt")
        for names in (("out", "secret.txt"), ("out.txt",)):
            self.assertEqual(self.open(*names, follow_symlinks=True), b"secret")

    def test_a_root_that_is_a_link(self):
        self.write("sub/a")
        self.link("sub/inner", "a")
        (self.outside / "current").symlink_to("root")
        for name in (b"a", b"inner"):
            opened = open_beneath(str(self.outside / "current"), [b"sub", name])
            os.close(opened.fd)

    @params(False, True)
    def test_a_pipe_is_not_opened(self, follow_symlinks):
        os.mkfifo(self.root / "pipe")
        with self.assertRaises(FileNotFoundError), mock.patch("os.open", side_effect=AssertionError):
            self.open("pipe", follow_symlinks=follow_symlinks)

    def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(self):
        os.mkfifo(self.root / "pipe")
        self.write("file")
        file = os.stat(self.root / "file")
        before = open_descriptors()
        with self.assertRaises(FileNotFoundError), mock.patch("os.stat", return_value=file):
            self.open("pipe")
        self.assertEqual(open_descriptors(), before)

    def test_a_link_that_takes_the_place_of_a_file_is_not_followed(self):
        self.link("link", "../secret.txt")
        self.write("file")
        file = os.stat(self.root / "file")
        with self.assertRaises(OSError), mock.patch("os.stat", return_value=file):
            folder.open_steps(os.fsencode(self.root), [b"link"])

    def test_a_socket(self):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.root / "s"))
            self.assertRaises(FileNotFoundError, self.open, "s")

    @params(False, True)
    def test_a_device(self, follow_symlinks):
        self.link("null", "/dev/null")
        self.assertRaises(OSError, self.open, "null", follow_symlinks=follow_symlinks)
        self.assertRaises(FileNotFoundError, open_beneath, "/dev", [b"null"], follow_symlinks)

    def test_holds_no_descriptor_but_the_one_it_gives(self):
        self.write("a/b/c")
        self.link("a/out", "../..")
        before = open_descriptors()
        for names in ([b"a", b"x"], [b"a", b"b", b"x"], [b"a", b"out"], [b"x"], [b"a", b"b", b"c", b"d"]):
            self.assertRaises(OSError, open_beneath, str(self.root), names)
        os.close(open_beneath(str(self.root), [b"a", b"b", b"c"]).fd)
        self.assertEqual(open_descriptors(), before)

    @skipIf(os.geteuid() == 0, "root can read everything")
    def test_what_may_not_be_read(self):
        os.chmod(self.write("a"), 0)
        self.assertRaises(PermissionError, self.open, "a")

    def test_where_nothing_can_be_opened_relative_to_a_folder(self):
        self.write("sub/a")
        self.link("link", "sub/a")
        self.link("out", "../secret.txt")
        with mock.patch.object(folder, "_HAS_DIR_FD", False):
            self.assertEqual((self.open("sub", "a"), self.open("link")), (b"content", b"content"))
            self.assertRaises(OSError, self.open, "out")
            self.assertEqual(open_beneath(str(self.root), [b"sub"]).fd, -1)
            self.assertEqual([each.name for each in list_entries(-1, str(self.root), [b"sub"])], ["a"])

    @skipUnless(hasattr(os, "O_PATH"), "only there are links exchanged without a moment in between")
    def test_names_exchanged_all_the_time_never_lead_out(self):
        self.write("sub/a", b"inside")
        self.write("../other/a", b"outside")
        self.link("link", "../other")
        stop = threading.Event()

        def exchange():
            while not stop.is_set():
                (self.root / "sub").rename(self.root / "spare")
                (self.root / "link").rename(self.root / "sub")
                (self.root / "sub").rename(self.root / "link")
                (self.root / "spare").rename(self.root / "sub")

        thread = threading.Thread(target=exchange)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        found = set()
        for _ in range(2000):
            try:
                found.add(self.open("sub", "a"))
            except OSError:
                pass
        self.assertTrue(found <= {b"inside"})


class ListTest(FolderTest):
    def names(self, *names, **options):
        opened = open_beneath(str(self.root), [name.encode() for name in names], **options)
        self.addCleanup(os.close, opened.fd)
        return sorted((entry.name, entry.is_dir, entry.size) for entry in list_entries(
            opened.fd, str(self.root), [name.encode() for name in names], **options))

    def test_files_and_folders(self):
        self.write("a")
        self.write("sub/b", b"")
        self.assertEqual([entry[:2] for entry in self.names()], [("a", False), ("sub", True)])
        self.assertEqual(self.names("sub"), [("b", False, 0)])

    def test_any_name(self):
        for name in (b"\xff", b"a\nb", b"<b>", "ü".encode()):
            self.write(name)
        self.assertEqual([entry[0] for entry in self.names()], sorted(["\udcff", "a\nb", "<b>", "ü"]))

    def test_hidden_ones_only_if_they_are_served(self):
        self.write(".a")
        self.assertEqual(self.names(), [])
        self.assertEqual(self.names(hidden=True), [(".a", False, 7)])

    def test_only_what_can_be_asked_for(self):
        self.write("sub/a", b"12345")
        self.link("sub/inside", "a")
        self.link("sub/out", "../../secret.txt")
        self.link("sub/broken", "nothing")
        self.link("sub/loop", "loop")
        os.mkfifo(self.root / "sub" / "pipe")
        self.assertEqual(self.names("sub"), [("a", False, 5), ("inside", False, 5)])
        self.assertEqual(self.names("sub", follow_symlinks=True), [
            ("a", False, 5), ("inside", False, 5), ("out", False, 6)])


class SliceTest(FolderTest):
    def slice(self, offset, length):
        content = FileSlice(os.open(self.write("a", b"0123456789"), os.O_RDONLY), offset, length)
        self.addCleanup(content.close)
        return content

    @params((0, 10, b"0123456789"), (3, 4, b"3456"), (0, 0, b""), (10, 0, b""))
    def test_gives_its_octets(self, offset, length, octets):
        content = self.slice(offset, length)
        self.assertEqual((b"".join(content), b"".join(content), content.read_all()), (octets, octets, octets))

    def test_fails_where_the_file_has_shrunk(self):
        content = self.slice(0, 11)
        self.assertRaises(EOFError, b"".join, content)
        self.assertRaises(EOFError, content.read_all)

    def test_is_closed_once(self):
        content = self.slice(0, 1)
        content.close()
        content.close()
        self.assertEqual(content.fd, -1)

    def test_is_closed_when_nobody_wants_it(self):
        before = open_descriptors()
        content = FileSlice(os.open(self.root, os.O_RDONLY), 0, 1)
        del content
        self.assertEqual(open_descriptors(), before)
