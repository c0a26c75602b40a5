"""What the two sides say to each other: requests made of octets, responses made of what a handler answers."""
import io
import re
import unittest
from functools import partial
from http import HTTPStatus
from unittest.mock import patch

from nose2.tools import params

from ownhands.content import ChunkedDecoder
from ownhands import RequestHandler
from ownhands.fields import Fields, Values, field_name
from ownhands.messages import MAX_FORM_FIELDS, MAX_FORM_SIZE, HTTPError, Request, Response, as_response, parse_cookies
from ownhands.parser import parse_request_head
from ownhands.testing import encode_request


def request(target: str = "/", *lines: str, method: str = "GET", host: str | None = "a.example:80",
            version: str = "1.1",
            content: bytes = b"", connection: object = None) -> Request:
    given = [f"{method} {target} HTTP/{version}", *([] if host is None else [f"Host: {host}"]), *lines, "", ""]
    made = Request(parse_request_head("\r\n".join(given).encode("latin-1")), ("192.0.2.1", 5), connection)
    made.set_content(content, ChunkedDecoder(64, 64, 128))
    return made


def trailers(section: bytes) -> Request:
    """A request whose chunked content ends with this trailer section."""
    decoder = ChunkedDecoder(64, 4096, 128)
    decoder.decode(b"0\r\n" + section + b"\r\n")
    made = request()
    made.set_content(b"", decoder)
    return made


class FieldsOfAMessage(unittest.TestCase):
    fields = Fields([("Accept", "a"), ("X-Y", "1"), ("accept", "b")])

    @params(("Accept", "a, b"), ("ACCEPT", "a, b"), ("x-y", "1"))
    def test_names_have_no_case_and_repeats_are_joined(self, name, value):
        self.assertEqual(self.fields[name], value)

    def test_all_values(self):
        self.assertEqual(self.fields.get_all("accept"), ["a", "b"])

    def test_missing(self):
        self.assertEqual((self.fields.get("Host"), self.fields.get_all("Host"), "Host" in self.fields),
            (None, [], False))
        with self.assertRaises(KeyError):
            self.fields["Host"]

    def test_is_a_mapping(self):
        self.assertEqual((list(self.fields), len(self.fields), "x-Y" in self.fields, 5 in self.fields),
                         (["accept", "x-y"], 2, True, False))

    def test_order_and_case_are_kept_in_pairs(self):
        self.assertEqual(self.fields.pairs, (("Accept", "a"), ("X-Y", "1"), ("accept", "b")))

    def test_octets(self):
        self.assertEqual(self.fields.octets, b"Accept: a\r\nX-Y: 1\r\naccept: b\r\n")

    def test_without(self):
        self.assertEqual(self.fields.without("accept").pairs, (("X-Y", "1"),))

    @params(("Date", False), ("connection", False), ("Content-LENGTH", False), ("Server", False), ("Dates", True))
    def test_plain_are_those_that_the_server_need_not_read(self, name, is_plain):
        self.assertEqual(Fields([(name, "1")]).is_plain, is_plain)

    def test_no_other_attribute(self):
        with self.assertRaises(AttributeError):
            self.fields.nothing  # noqa: B018

    @params(("user_agent", "User-Agent"), ("from_", "From"), ("etag", "Etag"), ("x_y_z", "X-Y-Z"), ("Host", "Host"))
    def test_names_from_keywords(self, keyword, name):
        self.assertEqual(field_name(keyword), name)

    def test_values_from_keywords(self):
        made = Fields.from_keywords({"age": 5, "set_cookie": ["a=b", "c=d"], "vary": ("x", "y"), "x": " z "})
        self.assertEqual(made.pairs, (("Age", "5"), ("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("Vary", "x"),
                                      ("Vary", "y"), ("X", "z")))


class Targets(unittest.TestCase):
    @params(
        ("/", "a.example:80", "/", "http://a.example:80/"),
        ("/a%20b/%C3%A9?c=%20", "a.example:80", "/a b/\u00e9", "http://a.example:80/a%20b/%C3%A9?c=%20"),
        ("/%ff%00", "a.example:80", "/\ufffd\0", "http://a.example:80/%ff%00"),
        ("//b.example/%2e%2e/", "a.example:80", "//b.example/../", "http://a.example:80//b.example/%2e%2e/"),
        ("http://b.example", "b.example", "/", "http://b.example/"),
        ("HTTP://B.example:81?c", "B.example:81", "/", "http://B.example:81/?c"),
        ("https://b.example/d", "b.example", "/d", "http://b.example/d"),
    )
    def test_parts(self, target, host, path, url):
        made = request(target)
        self.assertEqual((made.host, made.path, made.url, made.target), (host, path, url, target))

    def test_asterisk(self):
        made = request("*", method="OPTIONS")
        self.assertEqual((made.path, made.url), ("*", "http://a.example:80"))

    def test_authority(self):
        made = request("b.example:443", method="CONNECT")
        self.assertEqual((made.host, made.path), ("b.example:443", ""))

    @params((None, "1.0"), ("", "1.1"))
    def test_no_host(self, host, version):
        made = request("/a", host=host, version=version)
        self.assertEqual((made.host, made.url), ("", "http://localhost/a"))

    @params(("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("1.7", "HTTP/1.1"))
    def test_version(self, version, spoken):
        self.assertEqual(request(version=version).version, spoken)

    @params(("", ()), ("?", ()), ("?a=b&c", (("a", "b"), ("c", ""))), ("?a=1&a=2", (("a", "1"), ("a", "2"))),
            ("?a%26=%3D+x", (("a&", "= x"),)), ("?a=%ff", (("a", "\ufffd"),)), ("?a;b=c", (("a;b", "c"),)),
            ("?a=100%", (("a", "100%"),)))
    def test_query(self, query, pairs):
        self.assertEqual(request("/" + query).query.pairs, pairs)

    def test_a_query_of_too_many_names(self):
        with self.assertRaises(HTTPError) as caught:
            request("/?" + "&" * MAX_FORM_FIELDS).query  # noqa: B018
        self.assertEqual(caught.exception.status, 400)

    def test_names_of_a_query_have_case(self):
        query = request("/?a=1&A=2&a=3").query
        self.assertEqual((query["a"], query["A"], query.get_all("a"), "b" in query), ("1", "2", ["1", "3"], False))

    def test_scheme_over_tls(self):
        class Connection:
            def getpeercert(self):
                return {"subject": ()}

        made = request(connection=Connection())
        self.assertEqual((made.scheme, made.url, made.peer_certificate),
                         ("https", "https://a.example:80/", {"subject": ()}))

    def test_no_certificate(self):
        self.assertIsNone(request().peer_certificate)

    def test_client_address(self):
        self.assertEqual(request().client_address, ("192.0.2.1", 5))

    def test_repr(self):
        self.assertEqual(repr(request("/a")), "<Request GET /a HTTP/1.1>")


class Cookies(unittest.TestCase):
    @params(
        ((), {}), (("Cookie: a=b",), {"a": "b"}), (("Cookie: a=b; c=d",), {"a": "b", "c": "d"}),
        (("Cookie: a=b;c=d;",), {"a": "b", "c": "d"}), (("Cookie: a=b", "Cookie: c=d"), {"a": "b", "c": "d"}),
        (("Cookie: a=1; a=2",), {"a": "1"}), (('Cookie: a="b"',), {"a": "b"}), (('Cookie: a="',), {"a": '"'}),
        (('Cookie: a=""b"',), {"a": '"b'}), (("Cookie: a=b=c",), {"a": "b=c"}),
        (("Cookie: a; =; ;b=",), {"": "", "b": ""}),
        (("Cookie: a=caf\xe9",), {"a": "caf\xe9"}),
    )
    def test_cookies(self, lines, cookies):
        self.assertEqual(request("/", *lines).cookies, cookies)

    def test_a_change_of_what_was_given_is_not_seen_by_others(self):
        made = request("/", "Cookie: a=b")
        made.cookies.clear()
        self.assertEqual(made.cookies, {"a": "b"})

    def test_are_split_once(self):
        made = request("/%20", "Cookie: a=b")
        with patch("ownhands.messages.parse_cookies", wraps=parse_cookies) as parse:
            self.assertEqual((made.cookies, made.cookies), ({"a": "b"}, {"a": "b"}))
        self.assertEqual(parse.call_count, 1)

    @params((";".join(["a=b"] * MAX_FORM_FIELDS), None), (";".join(["a=b"] * (MAX_FORM_FIELDS + 1)), 400),
            (";" * MAX_FORM_FIELDS, 400))
    def test_as_many_as_are_taken(self, line, status):
        made = request("/", f"Cookie: {line}")
        if status is None:
            self.assertEqual(made.cookies, {"a": "b"})
        else:
            with self.assertRaises(HTTPError) as caught:
                made.cookies  # noqa: B018
            self.assertEqual(caught.exception.status, status)


class Contents(unittest.TestCase):
    def test_octets(self):
        made = request(content=b"hello")
        self.assertEqual((made.content, made.stream.read(), made.content), (b"hello", b"hello", b"hello"))

    def test_a_file_is_read_when_asked_for_and_closed_afterwards(self):
        made, file = request(), io.BytesIO(b"hello")
        made.set_content(file, ChunkedDecoder(64, 64, 128))
        self.assertIs(made.stream, file)
        self.assertEqual((made.content, made.content), (b"hello", b"hello"))
        made.close()
        self.assertTrue(file.closed)

    @params(bytes, io.BytesIO)
    def test_the_content_and_the_stream_do_not_disturb_each_other(self, make):
        made = request()
        made.set_content(make(b"hello"))
        self.addCleanup(made.close)
        self.assertEqual((made.stream.read(2), made.content, made.stream.read()), (b"he", b"hello", b"llo"))

    def test_no_content(self):
        made = Request(parse_request_head(b"GET / HTTP/1.0\r\n\r\n"))
        self.assertEqual((made.content, made.stream.read(), made.trailers.pairs), (b"", b"", ()))

    @params((b'{"a": [1]}', {"a": [1]}), (b"\xef\xbb\xbf1", 1), (b"1.5", 1.5), ('"\u00e9"'.encode("utf-16"), "\u00e9"))
    def test_json(self, content, value):
        self.assertEqual(request(content=content).json(), value)

    @params(b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000, b"NaN", b"[-Infinity]", b"1e999")
    def test_no_json(self, content):
        with self.assertRaises(HTTPError) as caught:
            request(content=content).json()
        self.assertEqual(caught.exception.status, 400)

    @params("application/x-www-form-urlencoded", "Application/X-WWW-form-urlencoded ; charset=utf-8")
    def test_form(self, media_type):
        made = request("/", f"Content-Type: {media_type}", content=b"a=b+c&d=%C3%A9&a=")
        self.assertEqual(made.form.pairs, (("a", "b c"), ("d", "\u00e9"), ("a", "")))

    @params(("text/plain", b"a=b", 415), ("", b"a=b", 415), ("application/x-www-form-urlencoded", b"a=\xff", 400),
            ("application/x-www-form-urlencoded", b"&" * MAX_FORM_FIELDS, 400),
            ("application/x-www-form-urlencoded", b"a" * (MAX_FORM_SIZE + 1), 413))
    def test_no_form(self, media_type, content, status):
        with self.assertRaises(HTTPError) as caught:
            request("/", f"Content-Type: {media_type}", content=content).form  # noqa: B018
        self.assertEqual(caught.exception.status, status)

    def test_parts(self):
        made = request("/", "Content-Type: multipart/form-data; boundary=B", content=(
            b'--B\r\nContent-Disposition: form-data; name=f; filename="x"\r\n\r\ncontent\r\n--B--\r\n'))
        self.assertEqual([(part.name, part.filename, b"".join(part)) for part in made.parts()],
                         [("f", "x", b"content")])

    def test_no_parts(self):
        with self.assertRaises(HTTPError) as caught:
            request().parts()
        self.assertEqual(caught.exception.status, 415)

    @params(("headers", ": write request.fields"), ("body", ": write request.content"), ("who", "'who'"))
    def test_names_that_other_libraries_have(self, name, hint):
        with self.assertRaisesRegex(AttributeError, hint + r"\Z"):
            getattr(request(), name)

    def test_names_that_other_libraries_have_can_be_used_all_the_same(self):
        made = request()
        made.user, made.data = "me", 1
        self.assertEqual((made.user, made.data, hasattr(made, "body")), ("me", 1, False))

    @params((Request, "body"), (Response, "status_code"), (RequestHandler, "send_error"))
    def test_names_that_a_class_behind_has_are_its_own(self, base, name):
        mixin = type("Mixin", (), {name: property(lambda self: type(self).__name__)})
        both = type("Both", (base, mixin), {})
        self.assertEqual(getattr(both.__new__(both), name), "Both")

    def test_an_error_inside_of_a_property_is_told_as_it_is(self):
        made = request()
        made.set_content(object())
        with self.assertRaisesRegex(AttributeError, "'object' object has no attribute 'seekable'"):
            made.content

    def test_trailers(self):
        self.assertEqual(trailers(b"X-Sum: 1\r\nx-sum: 2\r\n").trailers["X-SUM"], "1, 2")

    @params(b"Content-Length", b"transfer-encoding", b"Host", b"Authorization", b"Cookie", b"Content-Type", b"Trailer",
            b"Connection", b"TE", b"Content-Encoding", b"content-range", b"Set-Cookie", b"Expect", b"Upgrade",
            b"If-Match")
    def test_forbidden_trailers_are_dropped(self, name):  # RFC 9110 6.5.1
        self.assertEqual(trailers(name + b": 1\r\nX: y\r\n").trailers.pairs, (("X", "y"),))

    def test_trailers_are_no_header_fields(self):
        self.assertNotIn("X", trailers(b"X: y\r\n").fields)


class Responses(unittest.TestCase):
    class Text(str):
        __slots__ = ()

    @params(
        ((), b"", ()),
        (("caf\u00e9",), "caf\u00e9".encode(), (("Content-Type", "text/plain; charset=utf-8"),)),
        ((Text("a"),), b"a", (("Content-Type", "text/plain; charset=utf-8"),)),
        ((b"a", 404), b"a", ()),
        ((bytearray(b"a"), HTTPStatus.CREATED), b"a", ()),
        ((memoryview(b"abc")[1:],), b"bc", ()),
    )
    def test_octets(self, arguments, content, pairs):
        made = Response(*arguments)
        self.assertEqual((made.content, made.fields.pairs, type(made.content)), (content, pairs, bytes))

    @params(["a"], (b"a",), iter([b"a"]), io.BytesIO(b"a"), {b"a"})
    def test_other_content_is_left_as_it_is(self, content):
        self.assertIs(Response(content).content, content)

    @params(5, None, {"a": 1}, io.StringIO("a"), object())
    def test_no_content(self, content):
        with self.assertRaises(TypeError):
            Response(content)

    @params(100, 199, 600, 0, -1, 99, "200", None, 404.0)
    def test_no_status(self, status):
        with self.assertRaises(ValueError):
            Response("", status)

    @params(
        ("K\u00e4se", "text/html", "text/html; charset=utf-8"), ("cheese", "text/html", "text/html"),
        ("K\u00e4se", "TEXT/csv", "TEXT/csv; charset=utf-8"), ("K\u00e4se", "application/xml", "application/xml"),
        ("K\u00e4se", "text/html; charset=UTF-8", "text/html; charset=UTF-8"), (b"K\xe4se", "text/html", "text/html"))
    def test_text_beyond_ascii_says_how_it_is_encoded(self, content, content_type, expected):
        self.assertEqual(Response(content, content_type=content_type).fields["Content-Type"], expected)

    def test_fields(self):
        made = Response("a", content_type="text/html", x_y=["1", "2"])
        self.assertEqual(made.fields.pairs, (("Content-Type", "text/html"), ("X-Y", "1"), ("X-Y", "2")))

    def test_none_leaves_a_field_out(self):
        self.assertEqual(Response(b"a", etag=None, x="1").fields.pairs, (("X", "1"),))
        self.assertEqual(Response(b"a", etag="1", x="1").with_fields(etag=None).fields.pairs, (("X", "1"),))

    @params("a\r\nX: y", "a\n", "\r", "\0", "\u20ac", "\x7f")
    def test_values_that_could_not_be_sent(self, value):
        for make in (Response, HTTPError):
            with self.assertRaises(ValueError):
                make(*(() if make is Response else (404,)), location=value)
        with self.assertRaises(ValueError):
            Response().with_fields(location=value)

    @params(b"a", 1.5, {"a": "b"}, [b"a"], object())
    def test_values_of_other_types(self, value):
        with self.assertRaises(TypeError):
            Response(etag=value)

    @params(("status_code", "write response.status"), ("set_cookie", "write response.with_fields(set_cookie="))
    def test_names_that_other_libraries_have(self, name, hint):
        with self.assertRaisesRegex(AttributeError, re.escape(f"Response has no attribute {name!r}: {hint}")):
            getattr(Response(), name)

    @params("content", "body")
    def test_the_content_is_no_field(self, name):
        with self.assertRaises(TypeError):
            Response(**{name: "a"})

    @params("status", "status_code", "code", "headers", "detail", "media_type", "mimetype", "json", "data", "params",
            "cookies")
    def test_keywords_that_mean_no_field(self, name):
        for make in (Response, Response().with_fields, partial(HTTPError, 404), partial(encode_request, "/")):
            with self.assertRaises(TypeError):
                make(**{name: "a"})

    @params("x y", "x:", "", "x\r\n", "\xe9")
    def test_names_that_could_not_be_sent(self, name):
        with self.assertRaises(ValueError):
            Response(**{name: "a"})

    def test_transfer_encoding_is_the_servers(self):
        with self.assertRaises(ValueError):
            Response(transfer_encoding="chunked")
        with self.assertRaises(ValueError):
            Response().with_fields(transfer_encoding="chunked")

    def test_with_fields_replaces(self):
        old = Response("a", 201, x="1", y="2")
        new = old.with_fields(x="3", z="4")
        self.assertEqual((new.status, new.content, new.fields.pairs[1:]),
            (201, b"a", (("Y", "2"), ("X", "3"), ("Z", "4"))))
        self.assertEqual(old.fields["X"], "1")

    @params((Response.html("<p>\u00e9"), "<p>\u00e9".encode(), "text/html; charset=utf-8"),
            (Response.html("", content_type="application/xhtml+xml"), b"", "application/xhtml+xml"),
            (Response.json({"a": "\u00e9"}), '{"a": "\u00e9"}'.encode(), "application/json"),
            (Response.json("\u00e9\ud800"), b'"\\u00e9\\ud800"', "application/json"))
    def test_kinds(self, made, content, media_type):
        self.assertEqual((made.content, made.fields.get_all("Content-Type")), (content, [media_type]))

    @params(float("nan"), float("inf"), object())
    def test_what_json_has_not(self, value):
        with self.assertRaises((TypeError, ValueError)):
            Response.json(value)

    @params(((), 303), ((308,), 308), ((301,), 301))
    def test_redirect(self, arguments, status):
        made = Response.redirect("/a", *arguments)
        self.assertEqual((made.status, made.fields["Location"], made.content), (status, "/a", b""))

    @params(("/a?b=%20c#d", "/a?b=%20c#d"), ("/\u65e5?\u00e4", "/%E6%97%A5?%C3%A4"),
            ("/a b", "/a%20b"),
            ('/"<>\\^`{|}\t', "/%22%3C%3E%5C%5E%60%7B%7C%7D%09"), ("/%zz%4%%41%", "/%25zz%254%25%41%25"),
            ("//u@[::1]:80/-._~!$&'()*+,;=:@?a[]=/?#?", "//u@[::1]:80/-._~!$&'()*+,;=:@?a[]=/?#?"),
            ("http://\u00e9.example/", "http://%C3%A9.example/"), ("", ""))
    def test_redirects_to_other_than_ascii(self, location, sent):
        self.assertEqual(Response.redirect(location).fields["Location"], sent)

    @params(200, 404, "301", None)
    def test_no_redirect(self, status):
        with self.assertRaisesRegex(ValueError, "a redirect has a status from 300 to 399"):
            Response.redirect("/a", status)

    def test_a_redirect_to_nowhere(self):
        with self.assertRaisesRegex(TypeError, "a redirect leads to a URL"):
            Response.redirect(None)

    @params("/a\r\nSet-Cookie: b=c", "/\0", "/\x7f")
    def test_an_injected_redirect(self, location):
        with self.assertRaises(ValueError):
            Response.redirect(location)

    @params("a", b"a", Response(b"a"))
    def test_answers(self, answer):
        self.assertEqual(as_response(answer).content, b"a")

    @params(None, 5, ["a"], [200, "a"], {"a": 1})
    def test_no_answers(self, answer):
        with self.assertRaises(TypeError):
            as_response(answer)

    @params(200, 399, 600, 0)
    def test_no_error(self, status):
        with self.assertRaisesRegex(ValueError, "HTTPError takes a status from 400 to 599"):
            HTTPError(status)

    @params("404", 404.0, None)
    def test_a_status_is_a_number(self, status):
        with self.assertRaisesRegex(TypeError, "the status is a number"):
            HTTPError(status)

    def test_error(self):
        error = HTTPError(401, "who are you?", www_authenticate="Basic")
        self.assertEqual((error.status, error.detail, error.fields.pairs),
                         (401, "who are you?", (("Www-Authenticate", "Basic"),)))

    def test_values_repr(self):
        self.assertEqual(repr(Values([("a", "b")])), "Values([('a', 'b')])")


if __name__ == "__main__":
    unittest.main()
