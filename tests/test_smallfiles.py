"""smallfiles.py: what was kept of a file is given only while the file is the same."""
import os
import threading
from unittest import mock

from nose2.tools import params

from ownhands import FileHandler, HTTPServer, files
from ownhands.smallfiles import SETTLED, SmallFiles
from ownhands.testing import MockClient

from .folders import FolderTest


class SmallFilesTest(FolderTest):
    def setUp(self):
        super().setUp()
        self.path = self.write("a.txt", b"before")
        self.now = os.stat(self.path).st_ctime + SETTLED + 60  # files that a test makes are settled as well
        self.kept = SmallFiles(clock=lambda: self.now)

    def put(self, path=None):
        path = path or self.path
        with open(path, "rb") as file:
            self.kept.put((path, os.fsencode(self.root), False, False), os.stat(path), file.read())

    def get(self, path=None, follow_symlinks=False):
        found = self.kept.get((path or self.path, os.fsencode(self.root), follow_symlinks, False))
        return None if found is None else found[0]

    def test_a_file_that_is_the_same(self):
        self.put()
        self.assertEqual(self.get(), b"before")

    def test_a_file_that_is_not_known(self):
        self.assertIsNone(self.get())

    def test_a_file_that_was_opened_by_other_rules(self):
        self.put()
        self.assertIsNone(self.get(follow_symlinks=True))

    def rewrite(self):
        self.write("a.txt", b"behind", age=1)

    def replace(self):
        os.replace(self.write("b.txt", b"behind"), self.path)

    def grow(self):
        self.write("a.txt", b"before and behind")

    def remove(self):
        os.remove(self.path)

    def make_a_link(self):
        os.rename(self.path, self.path + b"2")
        os.symlink(self.path + b"2", self.path)

    @params(rewrite, replace, grow, remove, make_a_link)
    def test_a_file_after(self, change):
        self.put()
        change(self)
        self.assertIsNone(self.get())

    @params("../other", "../moved")  # another folder, or the same elsewhere
    def test_a_file_in_a_folder_that_is_a_link_now(self, target):
        path = self.write("sub/deep/a.txt", b"inside")
        self.write("../other/deep/a.txt", b"outside")
        self.put(path)
        (self.root / "sub").rename(self.outside / "moved")
        self.link("sub", target)
        self.assertIsNone(self.get(path))

    def test_a_file_that_was_opened_below_another_root(self):
        path = self.write("sub/a.txt", b"of the folder")
        self.put(path)
        self.root = self.root / "sub"
        self.assertIsNone(self.get(path))

    @params((SETTLED, True), (SETTLED - 0.1, False), (0, False), (-1, False))
    def test_a_file_that_may_still_be_being_written(self, age, is_kept):
        self.now = os.stat(self.path).st_ctime + age
        self.put()
        self.assertEqual(self.get() is not None, is_kept)

    def put_link(self, follow_symlinks):
        self.link("link", "a.txt")
        path = os.fsencode(self.root / "link")
        self.kept.put((path, os.fsencode(self.root), follow_symlinks, False), os.stat(path), b"before")
        return path

    @params((False, None), (True, b"before"))
    def test_a_file_behind_a_link_only_where_links_are_followed_anywhere(self, follow_symlinks, octets):
        path = self.put_link(follow_symlinks)
        self.assertEqual((self.get(path, follow_symlinks), len(self.kept._entries)), (octets, octets is not None))

    def lead_elsewhere(self):
        self.write("b.txt", b"behind")
        self.link("link2", "b.txt")
        (self.root / "link2").replace(self.root / "link")

    @params(rewrite, replace, grow, remove, make_a_link, lead_elsewhere)
    def test_a_file_behind_a_link_after(self, change):
        path = self.put_link(follow_symlinks=True)
        change(self)
        self.assertIsNone(self.get(path, follow_symlinks=True))

    def test_no_more_than_a_bound(self):
        self.kept.max_size = 3000
        paths = [self.write(name, b"x" * 100) for name in "bcdefg"]
        self.now += 1
        for path in paths:
            self.put(path)
        self.assertEqual([self.get(path) is not None for path in paths], [False] * 3 + [True] * 3)
        self.assertLessEqual(self.kept.size, 3000)

    def test_the_same_file_put_twice_counts_once(self):
        self.put()
        size = self.kept.size
        self.put()
        self.assertEqual(self.kept.size, size)

    def test_from_several_threads(self):
        self.kept.max_size = 2000
        paths = [self.write(name, name.encode()) for name in "bcdef"]
        self.now += 1
        found = set()

        def work():
            for _ in range(100):
                for path in paths:
                    self.put(path)
                    found.add((path[-1:], self.get(path)))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(all(octets in (name, None) for name, octets in found))
        self.assertEqual(self.kept.size, sum(
            len(key[0]) + len(octets) + 800 for key, (_, octets) in self.kept._entries.items()))


class HandlerTest(FolderTest):
    def client(self, path, **knobs):
        """Of a server that takes the file at `path`, just written, for one that has not changed lately."""
        kept = SmallFiles(clock=lambda: os.stat(path).st_ctime + SETTLED)
        self.enterContext(mock.patch.object(files, "small_files", kept))
        return MockClient(HTTPServer(handler=FileHandler, root=str(self.root), **knobs))

    def test_answers_are_the_same_whether_it_is_kept_or_not(self):
        client = self.client(self.write("a.txt", b"before"))
        requests = [{}, {"method": "HEAD"}, {"range": "bytes=1-2"}, {"if_none_match": "*"}, {"accept_encoding": "gzip"}]

        def answers():
            replies = [client("/a.txt", **fields) for fields in requests]
            return [(reply.status, reply.content, reply.fields["ETag"]) for reply in replies]

        first = answers()
        self.assertEqual(len(files.small_files._entries), 1)
        self.assertEqual(answers(), first)
        self.assertEqual(client("/a.txt/").status, 404)
        self.write("a.txt", b"behind", age=5)
        self.assertEqual(client("/a.txt").content, b"behind")

    @params("/members/", "/members/index.html", "/members")
    def test_what_another_handler_keeps_is_not_to_be_had_by_a_link(self, target):
        client = self.client(self.write("../elsewhere/index.html", b"for members only"))
        self.link("members", "../elsewhere")
        members = MockClient(HTTPServer(handler=FileHandler, root=str(self.root / "members")))
        self.assertEqual(members("/").content, b"for members only")
        self.assertEqual(client(target).status, 404)

    @params(("/index.html", []), ("/", []), ("/?sort=size", []), ("/users/7", [(b"users", b"7")]))
    def test_what_is_kept_is_not_opened_again(self, target, names):
        client = self.client(self.write("index.html", b"page"), spa=True)
        first = client(target)
        with mock.patch.object(files, "open_beneath", side_effect=FileNotFoundError(2, "not asked")) as opening:
            again = client(target)
        self.assertEqual((again.status, again.content, again.fields["Vary"]), (200, b"page", first.fields["Vary"]))
        self.assertEqual([call.args[1] for call in opening.call_args_list], names)

    def test_a_folder_whose_page_is_kept_comes_as_a_zip(self):
        client = self.client(self.write("index.html", b"page"))
        self.assertEqual([client(target).fields["Content-Type"] for target in ("/", "/?zip")],
                         ["text/html; charset=utf-8", "application/zip"])
