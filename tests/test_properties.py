"""What holds for any octets and any split: a value, None or ProtocolError, and the same one however they come."""
import unittest
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ownhands import HTTPServer, Request, RequestHandler, Response
from ownhands.content import ChunkedDecoder, LengthDecoder
from ownhands.parser import (
    LAST_CHUNK,
    ProtocolError,
    RequestHead,
    check_field,
    encode_chunk,
    encode_field_lines,
    parse_chunk_line,
    parse_field_lines,
    parse_request_head,
    parse_response_head,
    parse_trailer_section,
)
from ownhands.testing import MockConnection, in_pieces, parse_replies

from .turns import limited

settings.register_profile("suite", deadline=None, derandomize=True, database=None)  # the same examples in each run
settings.load_profile("suite")
LIMITS = limited(max_target_size=24, max_head_size=160, max_fields=4)
TCHAR = "!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz"
FRAGMENTS = [
    b"GET", b"HEAD", b"POST", b"CONNECT", b"OPTIONS", b" ", b"  ", b"/", b"*", b"/a?b", b"http://a", b"a:80",
    b"HTTP/1.1",
    b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"\0", b"\t", b":", b"Host: a", b"Host: a\r\n",
    b"Host: [::1]:8",
    b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b"X: y\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n", b"5", b"0", b"a", b";a=b", b';a="\\"',
    b'"', b"\xff",
    b"0\r\n", b"5\r\nhello\r\n", b"HTTP/1.1 200 OK\r\n"]
SHORTEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
octets = st.one_of(st.binary(max_size=80), st.binary(max_size=40).map(SHORTEST.__add__), st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
names = st.text(TCHAR, min_size=1, max_size=12)
values = st.text(st.sampled_from("\t !~aZ09,;=\"\\:\x80\xff"), max_size=20).map(lambda text: text.strip(" \t"))
other_fields = st.lists(st.tuples(names.map("X-".__add__), values), max_size=4).map(tuple)
targets = st.one_of(
    st.text("/aZ09-._~!$&'()*+,;=:@%", max_size=20).map(lambda text: "/" + text.replace("%", "%7e")),
    st.tuples(st.sampled_from(["/", "/a/b"]), st.text("aZ09/?&=+%", max_size=9)).map("?".join))
methods = st.one_of(st.sampled_from(["GET", "POST", "HEAD", "DELETE"]), names.filter(lambda name: name != "CONNECT"))


def outcome(function: Any, *arguments: Any) -> Any:
    """A value, None, or a ProtocolError; whatever else the function raises fails the test."""
    try:
        return function(*arguments)
    except ProtocolError as error:
        return error


def as_values(found: Any) -> Any:
    """What two equal outcomes have in common."""
    if isinstance(found, RequestHead):
        return vars(found) | {"control": vars(found.control)}
    return (found.status, found.detail) if isinstance(found, ProtocolError) else found


def encode_head(method: str, target: str, pairs: tuple, minor: int = 1) -> bytes:
    return f"{method} {target} HTTP/1.{minor}\r\n".encode() + encode_field_lines(pairs) + b"\r\n"


@st.composite
def chunked_bodies(draw) -> tuple[bytes, bytes, tuple]:
    """The octets of a body, its content, and its trailers."""
    pieces = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=5))
    extension = draw(st.sampled_from([b"", b";a", b";a=b", b' ; a = "b\\"c"; d']))
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    trailers = draw(other_fields)
    return body + b"0" + extension + b"\r\n" + encode_field_lines(trailers) + b"\r\n", b"".join(pieces), trailers


@st.composite
def splits(draw, whole: bytes) -> list[bytes]:
    """The octets in pieces, cut anywhere."""
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def decode(decoder: Any, pieces: list[bytes]) -> tuple:
    content = rest = b""
    for piece in pieces:
        if decoder.complete:
            rest += piece
        else:
            decoded, rest = decoder.decode(piece)
            content += decoded
    return decoder.complete, content, rest, decoder.trailers


class Parsers(unittest.TestCase):
    @given(octets)
    def test_have_three_outcomes(self, data):
        head = outcome(parse_request_head, data)
        if isinstance(head, RequestHead):
            request = Request(head)
            for value in (request.path, request.url, request.host, request.version):
                self.assertNotRegex(value, r"[\r\n]")
            self.assertEqual(request.fields.pairs, head.pairs)
        outcome(parse_response_head, data)
        outcome(parse_chunk_line, data, 0, 64)
        outcome(parse_trailer_section, data, 0, 64, 128)

    @given(octets, st.integers(0, 80), st.sampled_from([limited(), LIMITS]))
    def test_more_octets_mend_no_error_and_change_no_head(self, data, end, limits):
        before, whole = outcome(parse_request_head, data[:end], limits), outcome(parse_request_head, data, limits)
        if isinstance(before, ProtocolError):
            self.assertIsInstance(whole, ProtocolError)
        elif before is not None:
            self.assertEqual(as_values(before), as_values(whole))

    @given(methods, targets, st.one_of(methods, octets), st.one_of(targets, octets), other_fields, st.integers(0, 1))
    def test_the_head_before_it_changes_no_head(self, method, target, other_method, other_target, pairs, minor):
        pairs = (("Host", "a.example:80"), *pairs)
        before = outcome(parse_request_head, encode_head(method, target, pairs, minor), LIMITS)
        assume(isinstance(before, RequestHead))
        line = b" ".join(each.encode() if isinstance(each, str) else each for each in (other_method, other_target))
        octets = line + encode_head("", "", pairs, minor)[1:]
        self.assertEqual(as_values(outcome(parse_request_head, octets, LIMITS, before)),
                         as_values(outcome(parse_request_head, octets, LIMITS)))

    @given(methods, targets, other_fields, st.integers(0, 9), st.data())
    def test_a_request_is_read_as_it_was_written(self, method, target, pairs, minor, data):
        pairs = (("Host", "a.example:80"), *pairs)
        whole = encode_head(method, target, pairs, minor)
        head = parse_request_head(whole + b"rest")
        self.assertEqual((head.method, head.target, head.pairs, head.end), (method, target, pairs, len(whole)))
        end = data.draw(st.integers(0, len(whole) - 1))
        self.assertIsNone(parse_request_head(whole[:end]))

    @given(other_fields)
    def test_fields_are_read_as_they_were_written(self, pairs):
        for name, value in pairs:
            self.assertEqual(check_field(name, value), (name, value))
        self.assertEqual(parse_field_lines(b"\r\n" + encode_field_lines(pairs)[:-2] if pairs else b""), pairs)

    @given(st.text(max_size=9), st.text(max_size=9))
    def test_a_field_that_is_let_through_stays_one_field(self, name, value):
        try:
            pair = check_field(name, value)
        except ValueError:
            return
        head = parse_request_head(encode_head("GET", "/", (pair,), 0)) if name.lower() not in CONTROLS else None
        self.assertTrue(head is None or head.pairs == (pair,))

    @given(st.sampled_from(["GET", "POST"]), st.data())
    def test_a_valid_request_with_one_octet_changed(self, method, data):
        whole = encode_head(method, "/a?b", (("Host", "a"), ("Content-Length", "5"), ("X", "y")))
        place, octet = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(0, 255))
        changed = whole[:place] + bytes([octet]) + whole[place + 1:]
        head = outcome(parse_request_head, changed + b"hello")
        if isinstance(head, tuple):  # then nothing was moved from one line to another
            self.assertEqual((head.end, len(head.pairs)), (len(whole), 3))


CONTROLS = ("host", "connection", "content-length", "transfer-encoding", "expect")


class Decoders(unittest.TestCase):
    @given(chunked_bodies(), st.binary(max_size=9), st.data())
    def test_a_body_is_read_as_it_was_written(self, body, rest, data):
        whole, content, trailers = body
        pieces = data.draw(splits(whole + rest))
        self.assertEqual(decode(ChunkedDecoder(64, 999, 128), pieces), (True, content, rest, trailers))

    @given(octets, st.data())
    def test_every_split_of_anything_is_read_alike(self, whole, data):
        once = outcome(decode, ChunkedDecoder(64, 64, 128), [whole])
        pieces = outcome(decode, ChunkedDecoder(64, 64, 128), data.draw(splits(whole)))
        self.assertEqual(isinstance(once, ProtocolError), isinstance(pieces, ProtocolError))
        if isinstance(once, tuple):
            self.assertEqual(once, pieces)

    @given(st.binary(max_size=30), st.integers(0, 20), st.data())
    def test_by_length(self, whole, length, data):
        pieces = data.draw(splits(whole))
        self.assertEqual(decode(LengthDecoder(length), pieces),
            (len(whole) >= length, whole[:length], whole[length:], ()))

    @given(st.lists(st.binary(min_size=1, max_size=30), max_size=5), st.data())
    def test_encoded_chunks(self, pieces, data):
        whole = b"".join(map(encode_chunk, pieces)) + LAST_CHUNK
        self.assertEqual(decode(ChunkedDecoder(64, 64, 128), data.draw(splits(whole))), (True, b"".join(pieces), b"", ()))


class Echo(RequestHandler):
    def on_request(self, request: Request) -> Response:
        return Response(request.content, x_method=request.method)


def answers(pieces: list[Any]) -> list[tuple[int, bytes]]:
    """Status and content of each answer; which error it is may depend on how much has come."""
    connection = MockConnection(pieces)
    HTTPServer(handler=Echo).on_connect(connection)
    replies = parse_replies(connection.sent)
    return [(reply.status, reply.content) if reply.status == 200 else (400, b"") for reply in replies]


class Exchanges(unittest.TestCase):
    @settings(max_examples=60)
    @given(st.lists(st.sampled_from([each for each in FRAGMENTS if each != b"HEAD"]), max_size=12).map(b"".join),
        st.data())
    def test_any_octets_are_answered_alike_however_they_come(self, whole, data):
        once = answers([whole])
        self.assertEqual((answers(data.draw(splits(whole))), answers(in_pieces(whole))), (once, once))
        self.assertNotIn(500, [status for status, _ in once])


if __name__ == "__main__":
    unittest.main()
