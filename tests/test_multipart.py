"""Forms as browsers and curl send them, read as they come: every split gives the same parts."""
import functools
import io
import unittest
from itertools import repeat

from nose2.tools import params

from ownhands.multipart import (
    MAX_PARAMETERS,
    MAX_PART_HEAD_SIZE,
    MAX_PARTS,
    parse_boundary,
    parse_part_head,
    read_parts,
)
from ownhands.parser import ProtocolError

from .forms import CHROMIUM, CURL, FIREFOX, TRICKY


def read_all(boundary, octets, size=None):
    """Name, filename and content of each part, the form coming in pieces of `size` octets."""
    size = size or max(len(octets), 1)
    source = iter([octets[start:start + size] for start in range(0, len(octets), size)])
    return [(part.name, part.filename, b"".join(part)) for part in read_parts(boundary, lambda: next(source, b""))]


def form(*parts, boundary=b"B", end=b"--\r\n"):
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--" + boundary + end


def part(disposition=b'form-data; name="f"; filename="x"', content=b"content"):
    return b"Content-Disposition: " + disposition + b"\r\n\r\n" + content


class RealForms(unittest.TestCase):
    @params(CHROMIUM, CURL, FIREFOX, TRICKY)
    def test_is_read(self, boundary, octets, expected):
        self.assertEqual(read_all(boundary, octets), expected)

    @params(*[(form, size) for form in (CHROMIUM, CURL, FIREFOX, TRICKY) for size in (1, 2, 3, 7, 61, 64)])
    def test_pieces_of_any_size_give_the_same(self, real, size):
        boundary, octets, expected = real
        self.assertEqual(read_all(boundary, octets, size), expected)

    def test_every_split_in_two_gives_the_same(self):
        boundary, octets, expected = TRICKY
        for at in range(1, len(octets)):
            source = iter((octets[:at], octets[at:]))
            found = [(each.name, each.filename, b"".join(each))
                     for each in read_parts(boundary, lambda source=source: next(source, b""))]
            self.assertEqual(found, expected, at)

    def test_every_early_end_is_noticed(self):
        boundary, octets, _ = TRICKY
        for at in range(octets.rindex(b"--")):
            with self.assertRaises(ProtocolError, msg=at):
                read_all(boundary, octets[:at])


class Reading(unittest.TestCase):
    @params(
        (form(), []),
        (form(part(content=b"")), [("f", "x", b"")]),
        (form(part(content=b"\r\n")), [("f", "x", b"\r\n")]),
        (form(part(content=b"\r\n--\r\n--b\r\r\n")), [("f", "x", b"\r\n--\r\n--b\r\r\n")]),
        (form(part(content=b"-\r\r\n--\r\n--")), [("f", "x", b"-\r\r\n--\r\n--")]),
        (form(part(content=b"x--B")), [("f", "x", b"x--B")]),  # not at the beginning of a line
        (b"--B\r\n" + part(content=b"") + b"--B--", [("f", "x", b"")]),  # RFC 2046 5.1.1: it ends with its head
        (b"--B\r\n" + part(content=b"") + form(part()), [("f", "x", b""), ("f", "x", b"content")]),
        (b"preamble --B\r\n" + form(part()), [("f", "x", b"content")]),
        (form(part()) + b"\r\n--B\r\nepilogue", [("f", "x", b"content")]),
        (form(part(), end=b"--"), [("f", "x", b"content")]),  # without a line end
        (b"--B \t\r\n" + part() + b"\r\n--B--", [("f", "x", b"content")]),  # padding
        (form(part(b"form-data; name=f" + b"; a=b" * (MAX_PARAMETERS - 1), b"1")), [("f", None, b"1")]),
        (form(b"content-DISPOSITION:form-data;name=f\r\nX: y\r\n\r\n1"), [("f", None, b"1")]),
        (form(b'X: y\r\n z\r\nContent-Disposition:\r\n form-data;\r\n\tname="f";\r\n filename="x\r\n y"\r\n\r\n 1'),
         [("f", "x y", b" 1")]),
    )
    def test_gives(self, octets, expected):
        self.assertEqual(read_all(b"B", octets), expected)

    @params(
        b"", b"nothing", b"--B", b"--B\r\n", b"--Bx\r\n" + part() + b"\r\n--B--", form(b"\r\n"),
        form(part(content=b"--B")), form(part(content=b"--Bx")),
        form(b"no colon\r\n\r\n"), form(b"Content-Disposition: form-data\r\n\r\n"), form(part(b"attachment; name=x")),
        form(part(b'form-data; filename="x"')), form(part(b'form-data; name="x')),
        form(b" X: y\r\n" + part()), form(b"X: y\n z\r\n" + part()), form(b"X: y\r\n \0\r\n" + part()),
        form(b"X: y\n\r\n" + part()), form(b"X: y\0\r\n" + part()),
        form(part(b"form-data; name=f" + b"; a=b" * MAX_PARAMETERS)),
        form(b"X: " + b"y" * MAX_PART_HEAD_SIZE + b"\r\n" + part()), form(*[part()] * (MAX_PARTS + 1)),
    )
    def test_refuses(self, octets):
        with self.assertRaises(ProtocolError) as caught:
            read_all(b"B", octets)
        self.assertEqual(caught.exception.status, 400)

    @params((b"--B\r\nX: ", b"a"), (b"--B\r\nno field\r\n\r\n", b"a"), (b"--Bx", b"a"), (b"--B", b" "))
    def test_what_can_be_no_form_is_not_gathered_to_its_end(self, begin, more):
        pieces = iter([begin, *repeat(more * 1000, 100)])
        with self.assertRaises(ProtocolError):
            list(read_parts(b"B", lambda: next(pieces, b"")))
        self.assertGreater(len(list(pieces)), 100 - 2 - MAX_PART_HEAD_SIZE // 1000)

    def test_as_many_parts_as_are_allowed(self):
        self.assertEqual(len(list(read_parts(b"B", iter([form(*[part()] * MAX_PARTS), b""]).__next__))), MAX_PARTS)

    @params(b"x", b"-x", b" x", b"\rx", b"\n", b" " * 1001 + b"\r\n")
    def test_a_content_in_which_the_boundary_is_found_never_ends(self, behind):
        octets = form(part(content=b"begun\r\n--B" + behind + b"more"), part())
        for size in (1, 2, 7, len(octets)):
            source = iter([octets[start:start + size] for start in range(0, len(octets), size)])
            first = next(read_parts(b"B", lambda source=source: next(source, b"")))
            with self.assertRaises(ProtocolError, msg=size):
                list(first)

    @params(1, 2, 64, 2000)
    def test_padding_of_a_delimiter(self, size):
        octets = b"--B\r\n" + part() + b"\r\n--B" + b" " * 1000 + b"\r\n" + part() + b"\r\n--B--"
        self.assertEqual(read_all(b"B", octets, size), [("f", "x", b"content")] * 2)

    def test_what_is_left_of_a_part_is_skipped(self):
        source = iter([form(part(b"form-data; name=a", b"x" * 100), part(b"form-data; name=b", b"2"))])
        parts = read_parts(b"B", lambda: next(source, b""))
        self.assertEqual([each.name for each in parts], ["a", "b"])

    def test_which_is_then_an_error_to_read(self):
        octets = form(part(b"form-data; name=a", b"x" * 100), part(b"form-data; name=b", b"2"))
        parts = list(read_parts(b"B", functools.partial(io.BytesIO(octets).read, 50)))
        for each in parts:
            with self.assertRaisesRegex(ValueError, "skipped"):
                list(each)

    def test_nor_goes_a_part_on_as_the_next_one(self):
        octets = form(part(b"form-data; name=a", b"x" * 100), part(b"form-data; name=b", b"2" * 100))
        parts = read_parts(b"B", functools.partial(io.BytesIO(octets).read, 50))
        pieces = iter(next(parts))
        next(pieces)
        next(parts)
        self.assertRaises(ValueError, next, pieces)

    def test_no_piece_is_larger_than_what_has_come(self):
        source = iter([b"--B\r\n" + part()] + [b"x" * 1000] * 50 + [b"\r\n--B--"])
        sizes = [len(piece) for each in read_parts(b"B", lambda: next(source, b"")) for piece in each]
        self.assertEqual((max(sizes), sum(sizes)), (1000, 50_007))


class Names(unittest.TestCase):
    @params(
        (b'"a.txt"', "a.txt"),
        (b"a.txt", "a.txt"),
        ('"\u00fc \u6587.txt"'.encode(), "\u00fc \u6587.txt"),
        (b'"a;b=c.txt"', "a;b=c.txt"),
        (b'"a%22b%0D%0a.txt"', 'a"b\r\n.txt'),  # browsers and curl from 7.81 on
        (b'"a\\"b.txt"', 'a"b.txt'),  # older curl
        (b'"100%25.txt"', "100%25.txt"),  # nothing else is encoded
        (b'"C:\\dir\\a.txt"', "C:\\dir\\a.txt"),
        (b'"ends with a backslash\\"', "ends with a backslash\\"),
        (b'"\xff.txt"', "\udcff.txt"),
        (b'""', ""),
    )
    def test_filename(self, sent, expected):
        head = b"Content-Disposition: form-data; name=f; filename=" + sent + b"\r\n\r\n"
        self.assertEqual(parse_part_head(head), ("f", expected))

    def test_parameters_are_named_in_any_case(self):
        head = b'Content-Disposition: form-data; NAME="a"; FileName="b"\r\n\r\n'
        self.assertEqual(parse_part_head(head), ("a", "b"))

    @params((b"UTF-8''%C3%BC%22.txt", '\u00fc".txt'), (b"utf-8'en'a.txt", "a.txt"), (b"UTF-8'de-AT'%27", "'"),
            (b"ISO-8859-1'en'%FC.txt", "x"), (b"UTF-8'a.txt", "x"))
    def test_extended_filename_wins_where_it_is_understood(self, sent, expected):
        head = b"Content-Disposition: form-data; name=f; filename=x; filename*=" + sent + b"\r\n\r\n"
        self.assertEqual(parse_part_head(head), ("f", expected))

    @params(
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data; charset=utf-8; boundary="a b:c" ; x=y', b"a b:c"),
        ("multipart/form-data;boundary=----WebKitFormBoundaryX", b"----WebKitFormBoundaryX"),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=" + "x" * 70, b"x" * 70),
        ("multipart/form-data; boundary=" + "x" * 71, None),
        (" multipart/form-data ;boundary=b", b"b"),
        ('multipart/form-data; x="; boundary=evil"; boundary=good', b"good"),
        ('multipart/form-data; x="\\"; boundary=evil; y="; boundary=good', b"good"),
        ('multipart/form-data; x="; boundary=evil', None),
        ("multipart/form-data; boundary=a; boundary=b", b"a"),
        ("multipart/form-data; boundary=; boundary=b", None),
        ("multipart/form-data; xboundary=a; BOUNDARY=b", b"b"),
        ('multipart/form-data; boundary="a\\-b"', b"a-b"),
        ("multipart/form-data;; boundary=abc;", b"abc"),
        ("multipart/form-data; boundary=abc; charset", b"abc"),
        ("multipart/form-data; boundary=abc, text/plain", None),
        ("multipart/form-data" + "; " * 5000 + "=", None),
        ("multipart/form-data" + ";" * (MAX_PARAMETERS - 1) + "; boundary=abc", b"abc"),
        ("multipart/form-data" + ";" * MAX_PARAMETERS + "; boundary=abc", None),
        ("multipart/mixed; boundary=abc", None),
        ("text/plain", None),
        ("", None),
    )
    def test_boundary(self, content_type, expected):
        self.assertEqual(parse_boundary(content_type), expected)
