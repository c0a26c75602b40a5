"""What follows a request's head, and responses, row by row: framing, persistence, chunks, trailers, status lines."""
import unittest

from nose2.tools import params

from ownhands.dates import encode_date
from ownhands.parser import (
    encode_chunk,
    encode_status_line,
    parse_chunk_line,
    parse_request_head,
    parse_response_head,
    parse_trailer_section,
)
from tests.test_parser import head_with, status_of


class ContentFraming(unittest.TestCase):
    @params((b"5", 5), (b" \t5\t ", 5), (b"0", 0), (b"00005", 5), (b"0" * 5000, 0), (b"9" * 18, 10 ** 18 - 1))
    def test_content_length(self, value, length):
        control = parse_request_head(head_with(b"content-LENGTH:" + value)).control
        self.assertEqual((control.content_length, control.has_content, control.chunked), (length, length > 0, False))

    @params(
        (b"", 400), (b"+5", 400), (b"-5", 400), (b"-0", 400), (b"0_5", 400), (b"0x5", 400), (b"5 5", 400),
        (b"5;a", 400),
        (b"5.0", 400), (b"5e1", 400), (b"\xb2", 400), (b"5\xa0", 400), (b"\xd9\xa5", 400), (b'"5"', 400),
        (b"5, 6", 400),
        (b"5,5", 400), (b"5,", 400), (b",5", 400), (b"5\r\nContent-Length: 5", 400), (b"5\r\ncontent-length: 6", 400),
        (b"1" + b"0" * 18, 413), (b"18446744073709551621", 413), (b"9" * 5000, 413),
    )
    def test_invalid_content_length(self, value, status):
        self.assertEqual(status_of(parse_request_head, head_with(b"Content-Length: " + value)), status)

    @params(b"chunked", b"Chunked", b"CHUNKED", b"\tchunked \t")
    def test_chunked(self, value):
        control = parse_request_head(head_with(b"tRANSFER-encoding:" + value)).control
        self.assertEqual((control.chunked, control.has_content, control.content_length), (True, True, None))

    @params(
        (b"gzip, chunked", 501), (b"gzip,chunked", 501), (b"gzip \t,\t chunked", 501),
        (b"gzip\r\nTransfer-Encoding: chunked", 501),
        (b"gzip;q=1, chunked", 501), (b'gzip; a="b, \\"c", x ;d = e, Chunked', 501), (b"identity, chunked", 501),
        (b"", 400), (b"gzip", 400), (b"identity", 400), (b"chunked, gzip", 400), (b"chunked, chunked", 400),
        (b"chunked, identity", 400), (b"chunked\r\nTransfer-Encoding: chunked", 400), (b"gzip, chunked, chunked", 400),
        (b"chunked;a=b", 400), (b"chunked;", 400), (b"xchunked", 400), (b"chunkedx", 400), (b"chunkedchunked", 400),
        (b"gzip chunked", 400), (b'"chunked"', 400), (b"\x85chunked", 400), (b"\xa0chunked", 400),
        (b"chunked\xa0", 400),
        (b"\x0bchunked", 400), (b"gzip;q, chunked", 400), (b"g zip, chunked", 400), (b"chunked; q=0.5", 400),
        # An empty member could be ignored (RFC 9110 5.6.1.2). Here, where others might see no coding, it is refused.
        (b", chunked", 400), (b"chunked,", 400), (b"chunked, , gzip", 400), (b"gzip,, chunked", 400),
    )
    def test_other_codings(self, value, status):
        self.assertEqual(status_of(parse_request_head, head_with(b"Transfer-Encoding: " + value)), status)

    @params((b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
            (b"Transfer-Encoding:", b"Content-Length: 5"), (b"Transfer-Encoding: identity", b"Content-Length: 5"))
    def test_both(self, *lines):  # RFC 9112 6.1
        self.assertEqual(status_of(parse_request_head, head_with(*lines)), 400)

    def test_transfer_encoding_in_http_1_0(self):
        head = head_with(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0")
        self.assertEqual(status_of(parse_request_head, head), 400)

    @params(b"Transfer_Encoding: chunked", b"X-Content-Length: 5", b"Content-Lengths: 5", b"TE: chunked",
            b"X: a, Content-Length: 5")
    def test_some_other_field(self, line):
        self.assertFalse(parse_request_head(head_with(line)).control.has_content)


class Persistence(unittest.TestCase):
    @params(
        (b"1", (), True), (b"1", (b"close",), False), (b"1", (b"CloSe",), False), (b"1", (b"foo, close",), False),
        (b"1", (b"foo,\tclose\t,bar",), False), (b"1", (b"foo", b"close"), False),
        (b"1", (b"keep-alive, close",), False),
        (b"1", (b",close",), False), (b"1", (b", ,",), True), (b"1", (b"",), True), (b"1", (b"closed",), True),
        (b"1", (b"not-close",), True), (b"1", (b"close;a",), True), (b"1", (b'"close"',), True),
        (b"1", (b"keep-alive",), True),
        (b"2", (), True), (b"0", (), False), (b"0", (b"keep-alive",), True), (b"0", (b"foo, Keep-Alive",), True),
        (b"0", (b"keep-alive", b"close"), False), (b"0", (b"keepalive",), False), (b"0", (b"close",), False),
    )
    def test_connection(self, minor, values, persistent):
        lines = [b"Connection: " + value for value in values]
        head = parse_request_head(head_with(*lines, start=b"GET / HTTP/1." + minor))
        self.assertEqual(head.control.persistent, persistent)

    @params((b"1", b"100-continue", True), (b"1", b"100-Continue", True), (b"1", b"100-continue, 100-continue", True),
            (b"1", b", 100-continue", True), (b"1", b"", False), (b"0", b"100-continue", False),
            (b"0", b"other", False))
    def test_expect(self, minor, value, expects):
        head = parse_request_head(head_with(b"eXPECT: " + value, start=b"GET / HTTP/1." + minor))
        self.assertEqual(head.control.expects_continue, expects)

    @params(b"other", b"100-continue, other", b"100-continue=1", b"100-continue;a=b", b"100", b'"100-continue"',
            b"100-continued")
    def test_unknown_expectation(self, value):
        self.assertEqual(status_of(parse_request_head, head_with(b"Expect: " + value)), 417)


class ChunkLine(unittest.TestCase):
    @params(
        (b"5\r\n", 5, 0), (b"a\r\n", 10, 0), (b"A\r\n", 10, 0), (b"0005\r\n", 5, 0), (b"0\r\n", 0, 0),
        (b"000\r\n", 0, 0),
        (b"fffffffffffffff\r\n", 16 ** 15 - 1, 0), (b"5;a\r\n", 5, 2), (b"5;a=b;c\r\n", 5, 6),
        (b"5 ;\ta \t= b ;c\r\n", 5, 12),
        (b'5;a="b;c\\""\r\n', 5, 10), (b'5;a=""\r\n', 5, 5), (b'5;a="\xe9\t"\r\n', 5, 7),
        (b"0;a=b\r\n", 0, 4),
    )
    def test_valid(self, line, size, extensions_size):
        self.assertEqual(parse_chunk_line(b"xx" + line + b"rest", 2, 64), (size, extensions_size, 2 + len(line)))

    @params(
        b"", b" 5", b"\t5", b"5 ", b"5\t", b"+5", b"-5", b"-0", b"0x5", b"0_5", b"5g", b"5.0", b"xyz", b";a", b"5;",
        b"5;;a", b"5;=b",
        b"5;a=", b"5;a ", b"5;a=b ", b"5;a b", b'5;a="', b'5;a="b', b'5;a="b"c', b'5;a="\\', b'5;a="\0"', b"5;a=(b)",
        b"5;\xe9", b"5,a",
        b"5\r", b"5;a\rb", b"\xb2", b"\x0b5", b"5\xa0", b"5;a=b=c",
    )
    def test_invalid(self, line):
        self.assertEqual(status_of(parse_chunk_line, line + b"\r\n", 0, 64), 400)

    @params(b"\n", b"5\n", b"5;a\nb", b"5;a\nb\r\n")
    def test_bare_lf(self, octets):
        self.assertEqual(status_of(parse_chunk_line, octets, 0, 64), 400)

    @params(b"", b"5", b"5\r", b"5;", b"5;a=", b'5;a="b', b"0" * 64)
    def test_needs_more(self, octets):
        self.assertIsNone(parse_chunk_line(octets, 0, 64))

    @params((b"5;a=" + b"b" * 58 + b"\r\n", None), (b"5;a=" + b"b" * 59 + b"\r\n", 400), (b"0" * 65, 400),
            (b"5;a=" + b"b" * 61, 400),
            (b"1000000000000000\r\n", 413), (b"10000000000000005\r\n", 413), (b"f" * 62 + b"\r\n", 413))
    def test_limits(self, octets, status):
        if status is None:
            self.assertEqual(parse_chunk_line(octets, 0, 64)[0], 5)
        else:
            self.assertEqual(status_of(parse_chunk_line, octets, 0, 64), status)

    @params((b"a", b"1\r\na\r\n"), (b"a" * 16, b"10\r\n" + b"a" * 16 + b"\r\n"))
    def test_encode(self, data, octets):
        self.assertEqual(encode_chunk(data), octets)


class TrailerSection(unittest.TestCase):
    @params((b"\r\n", ()), (b"A: b\r\n\r\n", (("A", "b"),)), (b"A:b\r\nA:\r\n\r\n", (("A", "b"), ("A", ""))))
    def test_valid(self, octets, pairs):
        self.assertEqual(parse_trailer_section(b"0\r\n" + octets + b"rest", 3, 64, 128), (pairs, 3 + len(octets)))

    @params(b"", b"\r", b"A", b"A: b\r\n", b"A: b\r\n\r")
    def test_needs_more(self, octets):
        self.assertIsNone(parse_trailer_section(octets, 0, 64, 128))

    @params(b"nonsense\r\n\r\n", b"A : b\r\n\r\n", b" A: b\r\n\r\n", b"A: b\r\n c\r\n\r\n", b": b\r\n\r\n",
            b"A: \0\r\n\r\n", b"A: b\rc\r\n\r\n",
            b"A: b\n", b"\n", b"A: b\n\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    def test_invalid(self, octets):
        self.assertEqual(status_of(parse_trailer_section, octets, 0, 64, 128), 400)

    def test_just_within_the_limit_for_every_split(self):
        octets = b"A: " + b"b" * 57 + b"\r\n\r\n"
        self.assertEqual([parse_trailer_section(octets[:end], 0, 64, 128) for end in range(64)], [None] * 64)
        self.assertEqual(parse_trailer_section(octets, 0, 64, 128)[1], 64)

    @params(b"A: " + b"b" * 58 + b"\r\n\r\n", b"A: " + b"b" * 62)
    def test_past_the_limit(self, octets):
        self.assertEqual(status_of(parse_trailer_section, octets, 0, 64, 128), 431)


class Responses(unittest.TestCase):
    @params(
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", (200, "OK", 1, (("A", "b"),), 25)),
        (b"HTTP/1.0 404 Not  Found\r\n\r\n", (404, "Not  Found", 0, (), 27)),
        (b"HTTP/1.1 299 \r\n\r\nrest", (299, "", 1, (), 17)),
    )
    def test_valid(self, octets, head):
        self.assertEqual(tuple(parse_response_head(octets)), head)

    @params(b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: b\r\n\r")
    def test_needs_more(self, octets):
        self.assertIsNone(parse_response_head(octets))

    @params(b"HTTP/1.1 200\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", b"HTTP/1.1 200 O\0K\r\n\r\n", b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
            b"\r\n\r\n")
    def test_invalid(self, octets):
        self.assertEqual(status_of(parse_response_head, octets), 502)

    @params((200, b"HTTP/1.1 200 OK\r\n"), (413, b"HTTP/1.1 413 Content Too Large\r\n"), (299, b"HTTP/1.1 299 \r\n"))
    def test_encode_status_line(self, status, line):
        self.assertEqual(encode_status_line(status), line)

    @params((0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784111777.9, "Sun, 06 Nov 1994 08:49:37 GMT"))
    def test_encode_date(self, timestamp, date):
        self.assertEqual(encode_date(timestamp), date)


if __name__ == "__main__":
    unittest.main()
