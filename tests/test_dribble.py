"""What comes octet by octet gets the answer that the whole gets, and costs no more than it should."""
import unittest
from unittest.mock import patch

from nose2.tools import params

from ownhands import HTTPServer, Request, RequestHandler, Response
from ownhands.grammar import CHUNK_LINE
from ownhands.parser import parse_request_head, parse_trailer_section
from ownhands.testing import MockConnection, in_pieces, parse_replies

HEAD = b"POST /a HTTP/1.1\r\nHost: a\r\nX: "
CHUNKS = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Echo(RequestHandler):
    def on_request(self, request: Request) -> Response:
        return Response(request.content, x_trailers=str(request.trailers.pairs))


def answers(octets: bytes, size: int, **knobs: int) -> list[tuple[int, bytes, str]]:
    connection = MockConnection(in_pieces(octets, size))
    HTTPServer(handler=Echo, **knobs).on_connect(connection)
    return [(reply.status, reply.content, reply.fields.get("X-Trailers", ""))
            for reply in parse_replies(connection.sent)]


class Dribble(unittest.TestCase):
    @params(
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3,
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        CHUNKS + b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n",
        CHUNKS + b"0\r\nX: y\r\nY: z\n\r\n",
        CHUNKS + b"0\r\nX: y\r\nY\r: z\r\n\r\n",
        CHUNKS + b"2;a\n\r\nhe\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 300,
        b"GET /" + b"a" * 300,
        b"M" * 300,
        b"M" * 65,
        b"\r\nOPT\x01" + b"\xff" * 65,
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\nHost: a\n\n",
    )
    def test_every_size_of_piece(self, octets):
        whole = answers(octets, len(octets), max_head_size=200)
        self.assertTrue(whole)
        self.assertEqual([answers(octets, size, max_head_size=200) for size in (1, 2, 3, 7)], [whole] * 4)

    @params(b"a" * 2000 + b"\r\n\r\n", b"a" * 2000, b"\xe9, " * 700)
    def test_a_line_is_not_read_again_for_each_octet(self, rest):
        with patch("ownhands.exchange.parse_request_head", wraps=parse_request_head) as parse:
            answers(HEAD + rest, 1, max_head_size=2500)
        self.assertLess(parse.call_count, 10)

    def test_empty_lines_are_not_read_again(self):
        with patch("ownhands.exchange.parse_request_head", wraps=parse_request_head) as parse:
            self.assertEqual(answers(b"\r\n" * 1000 + b"GET / HTTP/1.0\r\n\r\n", 3), [(200, b"", "()")])
        self.assertLess(max(len(call.args[0]) for call in parse.call_args_list), 20)

    def test_a_chunk_size_line_is_not_read_before_its_end(self):
        with patch("ownhands.parser.CHUNK_LINE") as line:
            line.match.side_effect = CHUNK_LINE.match
            self.assertEqual(answers(CHUNKS + b"1" + b";a" * 200 + b"\r\nx\r\n0\r\n\r\n", 1), [(200, b"x", "()")])
        self.assertEqual(line.match.call_count, 2)

    @params(b"X: " + b"a" * 2000, b"a:\r\n" * 100)
    def test_of_trailers_only_what_is_new_is_read(self, trailers):
        with patch("ownhands.content.parse_trailer_section", wraps=parse_trailer_section) as parse:
            answers(CHUNKS + b"0\r\n" + trailers + b"\r\n\r\n", 3)
        new = [len(octets) - start - searched for octets, start, *_, searched in (each.args for each in parse.mock_calls)]
        self.assertLessEqual(max(new), 3)

    def test_what_was_searched_of_trailers_is_not_looked_at(self):
        self.assertIsNone(parse_trailer_section(b"A: b\nC: d\r", 0, 64, 128, searched=5))


if __name__ == "__main__":
    unittest.main()
