"""What we accept, h11 accepts with the same meaning; where one of the two is stricter, a row says so."""
import unittest
from typing import Any

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from nose2.tools import params

from ownhands.content import ChunkedDecoder, LengthDecoder
from ownhands.parser import ProtocolError, parse_request_head

settings.register_profile("suite", deadline=None, derandomize=True, database=None)  # the same examples in each run
settings.load_profile("suite")

METHODS = [b"GET", b"POST", b"OPTIONS", b"HEAD", b"X-Y", b"g!t", b"GE T", b"G(T", b""]
TARGETS = [b"/", b"/a/b?c=d", b"*", b"http://a/", b"http://a?b", b"/a b", b"/%7e", b"/\xe9", b"a", b"/#a", b""]
VERSIONS = [b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b"http/1.1", b"HTTP/1.1 "]
LINES = [
    b"Host: a", b"Host: a.example:80", b"host:a", b"Host: a b", b"Host: u@a", b"Host:", b"Host: [::1]:80", b"X: y",
    b"X:y", b"X:",
    b"X: \ty ", b"X: caf\xe9", b"X : y", b" X: y", b"X", b": y", b"X(y): z", b"X: a\0b", b"X: a\x01b", b"X: a\rb",
    b"x-y: Z",
    b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 5 5",
    b"Content-Length: ", b"Content-Length: \xb2", b"content-length:0", b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: xchunked",
    b"Connection: close", b"Connection: foo, Close", b"Connection: keep-alive", b"Expect: 100-continue",
    b"Expect: other"]
BODIES = [
    b"", b"hello", b"helloGET /", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nrest",
    b"2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5;a=b\rc\r\nhello\r\n0\r\n\r\n", b"0\r\nnonsense\r\n\r\n"]


FRAMED = [  # framing lines and a body that may go with them
    *[((b"Transfer-Encoding: chunked",), body) for body in BODIES],
    *[((b"content-length: 5",), body) for body in BODIES],
    ((), b""), ((), b"hello"), ((b"Content-Length: 0",), b"GET /"), ((b"Transfer-Encoding: CHUNKED",), BODIES[4])]


@st.composite
def messages(draw) -> bytes:
    """Anything made of these parts; most of it begins well, so that what follows is reached."""
    if not draw(st.integers(0, 3)):
        start = b" ".join(draw(st.sampled_from(each)) for each in (METHODS, TARGETS, VERSIONS))
        return b"\r\n".join([start, *draw(st.lists(st.sampled_from(LINES), max_size=4)), b"",
            draw(st.sampled_from(BODIES))])
    start = draw(st.sampled_from([b"POST / HTTP/1.1", b"GET /a/b?c HTTP/1.1", b"POST http://a/ HTTP/1.0",
        b"PUT /%7e HTTP/1.1"]))
    framing, body = draw(st.sampled_from(FRAMED))
    lines = draw(st.permutations([b"Host: a", *framing, *draw(st.lists(st.sampled_from(LINES), max_size=1))]))
    return b"\r\n".join([start, *lines, b"", body])


def meaning_of_ours(octets: bytes) -> Any:
    """Method, target, fields, content, trailers, whether it is all, and what follows; None for an error."""
    try:
        head = parse_request_head(octets)
        if head is None:
            return "unfinished"
        control = head.control
        decoder = ChunkedDecoder(1024, 8192, 128) if control.chunked else LengthDecoder(control.content_length or 0)
        content, rest = decoder.decode(octets[head.end:])
    except ProtocolError:
        return None
    fields = [(name.lower().encode(), value.encode("latin-1")) for name, value in head.pairs]
    trailers = [(name.lower().encode(), value.encode("latin-1")) for name, value in decoder.trailers]
    return (head.method.encode(), head.target.encode(), fields, content, trailers, decoder.complete, rest,
            control.persistent, control.expects_continue)


def meaning_of_h11(octets: bytes) -> Any:
    connection = h11.Connection(h11.SERVER)
    content, trailers, complete = b"", [], False
    try:
        connection.receive_data(octets)
        request = connection.next_event()
        if request is h11.NEED_DATA:
            return "unfinished"
        expects = connection.they_are_waiting_for_100_continue
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                trailers, complete = list(event.headers), True
                break
            else:
                break
    except h11.RemoteProtocolError:
        return None
    connection.send(h11.Response(status_code=405, headers=[("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    persistent = connection.our_state is not h11.MUST_CLOSE
    return (request.method, request.target, list(request.headers), content, trailers, complete,
            connection.trailing_data[0] if complete else b"", persistent, expects)


def as_h11_would(meaning: tuple, is_10: bool) -> tuple:
    """Our meaning, less two liberties: h11 gives the coding in lower case, and closes after every HTTP/1.0 request."""
    method, target, fields, content, trailers, complete, rest, persistent, expects = meaning
    fields = [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]
    return method, target, fields, content, trailers, complete, rest, persistent and not is_10, expects


def head(*lines: bytes, start: bytes = b"POST / HTTP/1.1", body: bytes = b"") -> bytes:
    return b"\r\n".join([start, b"Host: a", *lines, b"", body])


def chunked(body: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked", body=body)


class Differential(unittest.TestCase):
    @settings(max_examples=600)
    @given(messages())
    def test_what_we_accept_means_the_same_to_h11(self, octets):
        ours = meaning_of_ours(octets)
        if isinstance(ours, tuple):
            self.assertEqual(as_h11_would(ours, b"HTTP/1.0" in octets), meaning_of_h11(octets))

    @params(
        head(b"X: y").replace(b"\r\n", b"\n"),  # RFC 9112 2.2 lets a server refuse LF for CRLF; it smuggles
        head(b"X: y\nZ: a"),
        head(b"X: a\r\n b"),  # 5.2: 400, or unfolded
        head(b"Content-Length: 5, 5", body=b"hello"),  # 6.3: 400, or one of them used
        head(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
        head(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),  # 6.1: may be refused
        head(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0", body=b"0\r\n\r\n"),  # 6.1: faulty framing
        head(b"Expect: other"),  # RFC 9110 10.1.1: 417
        head(b"X: a\x01b"),  # RFC 9110 5.5: no control characters
        head().replace(b"Host: a", b"Host: a b"),  # 3.2: 400
        head().replace(b"Host: a", b"Host: u@a"),
        head(start=b"GET /#a HTTP/1.1"),  # 3.2: no such target
        head(start=b"GET a HTTP/1.1"),
        head(start=b"GET * HTTP/1.1"),
        head(start=b"CONNECT / HTTP/1.1"),
        head(start=b"M" * 65 + b" / HTTP/1.1"),  # 3: 501 for a method longer than any
        b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",  # 2.2: no field line, so Host is missing
        chunked(b"5 \r\nhello\r\n0\r\n\r\n"),  # 7.1: white space only around ; and =
        chunked(b"5;a b\r\nhello\r\n0\r\n\r\n"),
        chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
        chunked(b"0\r\nA: b\n\r\n"),
    )
    def test_we_are_stricter(self, octets):
        self.assertIsNone(meaning_of_ours(octets))

    @params(
        b"\r\n" + head(),  # RFC 9112 2.2: an empty line in front is ignored
        head(b"Content-Length: " + b"0" * 30 + b"5", body=b"hello"),  # RFC 9110 8.6: 1*DIGIT
        chunked(b"0" * 30 + b"5\r\nhello\r\n0\r\n\r\n"),  # 7.1: 1*HEXDIG
        chunked(b"5 ; a = b\r\nhello\r\n0\r\n\r\n"),  # 7.1.1: white space around ; and = is allowed
        chunked(b"5\t;a\r\nhello\r\n0\r\n\r\n"),
    )
    def test_h11_is_stricter(self, octets):
        self.assertIsInstance(meaning_of_ours(octets), tuple)
        self.assertIsNone(meaning_of_h11(octets))


if __name__ == "__main__":
    unittest.main()
