"""The grammar of requests, row by row: octets in, a value, None, or a ProtocolError with its status out."""
import unittest

from nose2.tools import params

from ownhands.parser import (
    ProtocolError,
    check_field,
    encode_field_lines,
    parse_chunk_line,
    parse_field_lines,
    parse_request_head,
    parse_trailer_section,
)
from ownhands.targets import is_authority, split_absolute_form

from .turns import limited

LIMITS = limited(max_target_size=32, max_head_size=200, max_fields=4)
SECRET = b"s3cr3t"  # stands in octets that no error may quote


def head_with(*lines: bytes, start: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: a", *lines, b"", b""])


def as_values(head):
    return vars(head) | {"control": vars(head.control)}


def status_of(function, *arguments) -> int:
    """The status of the ProtocolError that the function raises."""
    try:
        value = function(*arguments)
    except ProtocolError as error:
        return error.status
    raise AssertionError(f"no ProtocolError but {value!r}")


class RequestLine(unittest.TestCase):
    @params(
        (b"GET / HTTP/1.1", "GET", "/"),
        (b"get / HTTP/1.1", "get", "/"),  # RFC 9110 9.1: methods are case-sensitive, so this is another one
        (b"!#$%&'*+-.^_`|~09Az / HTTP/1.1", "!#$%&'*+-.^_`|~09Az", "/"),
        (b"M" * 64 + b" / HTTP/1.1", "M" * 64, "/"),
        (b"GET /a/b;c=d,e/%7E?f=g&h=i/j?k HTTP/1.1", "GET", "/a/b;c=d,e/%7E?f=g&h=i/j?k"),
        (b"GET /-._~!$&'()*+,;=:@ HTTP/1.1", "GET", "/-._~!$&'()*+,;=:@"),
        (b"GET /? HTTP/1.1", "GET", "/?"),
        (b"GET //a.example/%2f.. HTTP/1.1", "GET", "//a.example/%2f.."),
        (b"GET /[]^`{|} HTTP/1.1", "GET", "/[]^`{|}"),  # not in the grammar, but browsers and curl send it
        (b"GET /?a=100%&b=\\[]^`{|} HTTP/1.1", "GET", "/?a=100%&b=\\[]^`{|}"),
        (b"GET http://a HTTP/1.1", "GET", "http://a"),
        (b"GET http://a?b HTTP/1.1", "GET", "http://a?b"),
        (b"GET HTTPS://a.example:443/b?c HTTP/1.1", "GET", "HTTPS://a.example:443/b?c"),
        (b"GET http://[::1]:80/ HTTP/1.1", "GET", "http://[::1]:80/"),
        (b"OPTIONS * HTTP/1.1", "OPTIONS", "*"),
        (b"OPTIONS http://a HTTP/1.1", "OPTIONS", "http://a"),
        (b"CONNECT a:443 HTTP/1.1", "CONNECT", "a:443"),
        (b"CONNECT [::1]:443 HTTP/1.1", "CONNECT", "[::1]:443"),
        (b"CONNECT a:00443 HTTP/1.1", "CONNECT", "a:00443"),
        (b"CONNECTS / HTTP/1.1", "CONNECTS", "/"),
        (b"\r\nGET / HTTP/1.1", "GET", "/"),  # RFC 9112 2.2
        (b"\r\n\r\n\r\nOPTIONS * HTTP/1.1", "OPTIONS", "*"),
    )
    def test_valid(self, line, method, target):
        octets = head_with(start=line)
        head = parse_request_head(octets + b"rest")
        self.assertEqual((head.method, head.target, head.end), (method, target, len(octets)))

    @params(
        (b"GET / HTTP/1.0", b"0"),
        (b"GET / HTTP/1.1", b"1"),
        (b"GET / HTTP/1.9", b"9"),
        (b"GET http://a/ HTTP/1.2", b"2"),
    )
    def test_minor_version(self, line, minor):
        self.assertEqual(parse_request_head(head_with(start=line)).control.minor, minor)

    @params(
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/1", 400),
        (b"GET / HTTP/1.", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/01.1", 400),
        (b"GET / HTTP/1,1", 400),
        (b"GET / HTTP/ 1.1", 400),
        (b"GET / HTTP/-1.1", 400),
        (b"GET / HTTP/\xb2.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / FTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET /", 400),
        (b"GET", 400),
        (b"GET HTTP/1.1", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET /\tHTTP/1.1", 400),
        (b"GET\r/ HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r", 400),
        (b"GET\x0b/ HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"\tGET / HTTP/1.1", 400),
        (b"\nGET / HTTP/1.1", 400),
        (b"\r\n GET / HTTP/1.1", 400),
        (b"GET\0 / HTTP/1.1", 400),
        (b"GET: / HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"G\xc9T / HTTP/1.1", 400),
        (b"HTTP/1.1 200 OK", 400),
        (b"\xef\xbb\xbfGET / HTTP/1.1", 400),
        (b"M" * 65 + b" / HTTP/1.1", 501),
        (b"M" * 65 + b" * HTTP/1.1", 501),
    )
    def test_invalid(self, line, status):
        self.assertEqual(status_of(parse_request_head, head_with(start=line)), status)

    @params(
        b"a", b"a:80", b"*", b"?a", b"/#a", b"/a#b", b"/\0", b"/\x7f", b"/\xe9", b'/"', b"/<", b"/>", b"/\\", b"/%",
        b"/%4",
        b"/%zz", b"/?\xe9", b"/?#", b'/?"', b"/?<", b"http://", b"http:///", b"http:///a", b"http://:80/",
        b"http://u@a/", b"http://u:p@a/", b"http://a:b/", b"http://a#b", b"http://a/#b", b"http://[::1", b"http://[a]/",
        b"http://a\\b/", b"http://%zz/", b"http:/a", b"http:a", b"ftp://a/", b"urn:a", b"://a/", b"http://a/%zz",
    )
    def test_invalid_target(self, target):
        self.assertEqual(status_of(parse_request_head, head_with(start=b"GET " + target + b" HTTP/1.1")), 400)

    @params(
        b"/", b"/a", b"*", b"a", b"a:", b":80", b"a:0", b"a:65536", b"a:1a", b"a:+80", b"u@a:80", b"http://a:80",
        b"[::1]",
        b"[::1", b"a:80/", b"a:" + b"9" * 5000,
    )
    def test_invalid_target_of_connect(self, target):  # RFC 9112 3.2.3, RFC 9110 9.3.6
        self.assertEqual(status_of(parse_request_head, head_with(start=b"CONNECT " + target + b" HTTP/1.1")), 400)

    @params(
        ("http://a", ("a", "/")),
        ("http://a?b", ("a", "/?b")),
        ("HTTPS://A:443/b/c?d", ("A:443", "/b/c?d")),
        ("//a/b", None),
        ("/http://a/", None),
        ("*", None),
        ("a:443", None),
    )
    def test_split_absolute_form(self, target, parts):
        self.assertEqual(split_absolute_form(target), parts)


class FieldLines(unittest.TestCase):
    @params(
        (b"X:", ("X", "")),
        (b"X: ", ("X", "")),
        (b"X: \t a b \t ", ("X", "a b")),
        (b"X:a", ("X", "a")),
        (b"X: a:b", ("X", "a:b")),
        (b"X: caf\xe9\x80\xff", ("X", "caf\xe9\x80\xff")),
        (b"X: a\tb", ("X", "a\tb")),
        (b"X: \xa0a\xa0", ("X", "\xa0a\xa0")),  # NBSP is not optional white space
        (b"!#$%&'*+-.^_`|~0aZ: x", ("!#$%&'*+-.^_`|~0aZ", "x")),
    )
    def test_valid(self, line, pair):
        self.assertEqual(parse_request_head(head_with(line)).pairs, (("Host", "a"), pair))

    @params(
        b": a", b"X", b"X a", b"X : a", b"X\t: a", b"X\xa0: a", b" X: a", b"\tX: a", b"X: a\r\n b", b"X: a\r\n\tb",
        b"X: a\r\n ",
        b"X(y): a", b"X\0: a", b"X\xe9: a", b"X: \0", b"X: a\x01b", b"X: \x7f", b"X: \x0b", b"X: a\x1bb", b"X: a\rb",
        b"X: a\r", b"X: a\r\r", b"\rX: a", b"X: a\nY: b", b"X: a\n", b"\n", b"@: a", b'"X": a', b"X/Y: a",
    )
    def test_invalid(self, line):
        self.assertEqual(status_of(parse_request_head, head_with(line)), 400)

    def test_white_space_before_the_first_field_is_no_field(self):  # RFC 9112 2.2
        self.assertEqual(status_of(parse_request_head, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400)

    def test_repeats_and_order_are_kept(self):
        head = parse_request_head(head_with(b"b: 1", b"A: 2", b"B: 3"))
        self.assertEqual(head.pairs, (("Host", "a"), ("b", "1"), ("A", "2"), ("B", "3")))

    @params(("X", "a\r\nb"), ("X", "a\0"), ("X", "\n"), ("X", "\u20ac"), ("X", "\x7f"), ("", "a"), ("X Y", "a"),
            ("X:", "a"),
            ("X\n", "a"), ("\xe9", "a"))
    def test_check_field_refuses(self, name, value):
        with self.assertRaises(ValueError):
            check_field(name, value)

    @params(("X-Y", " a\tb ", ("X-Y", "a\tb")), ("x", "\xe9", ("x", "\xe9")), ("x", "", ("x", "")))
    def test_check_field_gives(self, name, value, pair):
        self.assertEqual(check_field(name, value), pair)

    def test_encode(self):
        self.assertEqual(encode_field_lines((("A", "b"), ("C", "\xe9"))), b"A: b\r\nC: \xe9\r\n")

    def test_parse(self):
        self.assertEqual(parse_field_lines(b"\r\nA: b\r\nC:\t\xe9 "), (("A", "b"), ("C", "\xe9")))


class Unfinished(unittest.TestCase):
    @params(b"", b"\r", b"\r\n", b"\r\n\r", b"\r\n\r\n", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r", b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 4, b"\r\n" * 50 + b"GET /")
    def test_needs_more(self, octets):
        self.assertIsNone(parse_request_head(octets, LIMITS))

    @params(b"\x16\x03\x01\x00\xc4", b"\n", b" ", b"\r\r", b"\rG", b"\r\n\n", b"\0", b"GET / HTTP/1.1\nHost: a", b"G\n",
            b"(")
    def test_never_valid(self, octets):
        self.assertEqual(status_of(parse_request_head, octets), 400)


class Limits(unittest.TestCase):
    TARGET = b"/" + b"a" * 31

    @params(
        b"GET " + TARGET + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"M" * 64 + b" " + TARGET + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/" + b"a" * 23 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nX:\r\nX:\r\n\r\n",
        b"\r\n" * 60 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 168 + b"\r\n\r\n",
    )
    def test_just_within_for_every_split(self, octets):
        self.assertEqual([parse_request_head(octets[:end], LIMITS) for end in range(len(octets))], [None] * len(octets))
        self.assertEqual(parse_request_head(octets, LIMITS).end, len(octets))

    @params(
        (b"GET " + TARGET + b"a HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET http://a/" + b"a" * 24 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 103, 414),
        (b"M" * 65, 501),
        (b"M" * 199, 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nX:\r\nX:\r\nX:\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX:\r\nX:\r\nX:\r\nX:\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 169 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 173, 431),
        (b"\r\n" * 100, 431),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\nX:\r\nX:\r\nX:\r\nX:\r\n\r\n", 431),
    )
    def test_past(self, octets, status):
        self.assertEqual(status_of(parse_request_head, octets, LIMITS), status)

    @params(b"GET /?" + b"a" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
            head_with(*[b"X-%d: %d" % (number, number) for number in range(127)]),
            head_with(b"X: " + b"a" * (60 << 10)))
    def test_ordinary_large_ones_pass(self, octets):
        self.assertEqual(parse_request_head(octets).end, len(octets))


class Host(unittest.TestCase):
    @params(b"a", b"a:80", b"a:", b"a.example.", b"a_b", b"127.0.0.1:8080", b"[::1]", b"[::1]:80", b"[::ffff:1.2.3.4]",
            b"[1:2:3:4:5:6:7::]", b"[v1.a:b]", b"%41.example", b"xn--bcher-kva.example", b"a,b", b"")
    def test_valid(self, value):
        head = parse_request_head(b"GET / HTTP/1.1\r\nhOsT:\t" + value + b" \r\n\r\n")
        self.assertEqual(head.control.host, value)

    @params(b"a b", b"a, b", b"a/", b"a?", b"a#", b"u@a", b"@a", b"a:b", b"a:80:80", b"a:+80", b"a:80a", b":80", b":",
            b"::1",
            b"[::1", b"::1]", b"[::1]a", b"[]", b"[a]", b"[1.2.3.4]", b"[::01.2.3.4]", b"[1:2:3]", b"[::1%25eth0]",
            b"[v.a]",
            b"[v1.]", b"[vg.a]", b"%", b"%4", b"%zz", b"\xe9", b"a\\b", b'"a"', b"<a>", b"http://a", b"a:\xb2")
    def test_invalid(self, value):  # RFC 9112 3.2
        for version in (b"1", b"0"):
            self.assertEqual(status_of(parse_request_head, b"GET / HTTP/1.%b\r\nHost: %b\r\n\r\n" % (version, value)),
                400)

    @params((b"GET / HTTP/1.1", ()), (b"GET / HTTP/1.2", ()), (b"GET http://a/ HTTP/1.1", ()),
            (b"GET / HTTP/1.1", (b"Host: a", b"Host: b")), (b"GET / HTTP/1.1", (b"Host: a", b"HOST: a")),
            (b"GET / HTTP/1.0", (b"Host: a", b"Host: a")), (b"GET / HTTP/1.1", (b"Host: a", b"Host:")),
            (b"GET / HTTP/1.1", (b"X-Host: a",)))
    def test_missing_or_repeated(self, line, lines):
        self.assertEqual(status_of(parse_request_head, b"\r\n".join([line, *lines, b"", b""])), 400)

    def test_http_1_0_need_not_say(self):
        self.assertIsNone(parse_request_head(b"GET / HTTP/1.0\r\n\r\n").control.host)

    @params((b"", False), (b"a", True), (b"a\r\n", False), (b"a\n", False), (b"[::1]\n", False))
    def test_is_authority(self, octets, is_one):
        self.assertEqual(is_authority(octets), is_one)


class Previous(unittest.TestCase):
    """The head before this one may save work, never change the outcome."""

    ROWS = (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"GET /b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nHost: a\r\n\r\nworld",
        b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /other?x=y HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /b HTTP/1.1\r\nX: y\r\nHost: a\r\n\r\n",
        b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /b HTTP/1.0\r\n\r\n",
        b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET https://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    )

    @params(*ROWS)
    def test_makes_no_difference(self, octets):
        before = [parse_request_head(each) for each in self.ROWS]
        self.assertEqual([as_values(parse_request_head(octets, previous=each)) for each in before],
                         [as_values(parse_request_head(octets))] * len(before))

    @params(
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET \x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 32), 414),
        (b"G%b / HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 64), 501),
    )
    def test_an_error_stays_one(self, octets, status):
        before = parse_request_head(self.ROWS[0])
        self.assertEqual(status_of(parse_request_head, octets, LIMITS, before), status)

    @params((limited(max_head_size=40), 431), (limited(max_target_size=7), 414), (limited(max_fields=2), 431))
    def test_a_head_that_other_limits_allowed_is_refused(self, limits, status):
        octets = head_with(b"X: y", b"Z:", start=b"GET /a/b/c/d HTTP/1.1")
        self.assertEqual(status_of(parse_request_head, octets, limits, parse_request_head(octets)), status)

    def test_a_long_head_is_too_long_behind_a_short_one(self):
        limits = limited(max_head_size=len(self.ROWS[0]) + 1)
        before = parse_request_head(self.ROWS[0], limits)
        self.assertEqual(parse_request_head(self.ROWS[0].replace(b"/ ", b"/x "), limits, before).target, "/x")
        self.assertEqual(status_of(parse_request_head, self.ROWS[0].replace(b"/ ", b"/xx "), limits, before), 431)


class Control(unittest.TestCase):
    def test_what_a_client_has_said_does_not_change(self):
        control = parse_request_head(head_with()).control
        with self.assertRaises(AttributeError):
            control.persistent = False
        self.assertTrue(control.persistent)


class Errors(unittest.TestCase):
    """Details go to the client and to logs: a line for a person, without a single octet of what was sent."""

    @params(
        SECRET + b"(\r\n\r\n", b"GET " + SECRET + b" HTTP/1.1\r\n\r\n", b"GET / " + SECRET + b"\r\n\r\n",
        SECRET * 11 + b" / HTTP/1.1\r\n\r\n",
        b"GET " + SECRET * 2000, b"GET / HTTP/1.1\r\n" + SECRET + b"\r\n\r\n", head_with(SECRET + b" : a"),
        head_with(b"X: \0" + SECRET),
        head_with(b"Content-Length: " + SECRET), head_with(b"Transfer-Encoding: " + SECRET),
        head_with(b"Expect: " + SECRET),
        head_with(b"Host: " + SECRET), b"GET / HTTP/1.1\r\nHost: @" + SECRET + b"\r\n\r\n",
        b"GET / HTTP/1.1\n" + SECRET,
    )
    def test_never_quote(self, octets):
        with self.assertRaises(ProtocolError) as caught:
            parse_request_head(octets)
        self.assertNotIn(SECRET.decode(), str(caught.exception))
        self.assertRegex(caught.exception.detail, r"\A[\x20-\x7e]{10,80}\Z")

    @params((parse_chunk_line, b"5 " + SECRET + b"\r\n", 64), (parse_chunk_line, SECRET * 99, 64),
            (parse_trailer_section, SECRET + b"\r\n\r\n", 64, 128), (parse_trailer_section, SECRET * 99, 64, 128))
    def test_never_quote_content(self, function, octets, *limits):
        with self.assertRaises(ProtocolError) as caught:
            function(octets, 0, *limits)
        self.assertNotIn(SECRET.decode(), str(caught.exception))


if __name__ == "__main__":
    unittest.main()
