"""Coverage-guided fuzzing of the parser and of whole exchanges in memory; run by hand, not part of the suite.

    pip install atheris
    nice -n 19 python -m tests.fuzz parser -max_total_time=600 -rss_limit_mb=1024
    nice -n 19 python -m tests.fuzz exchange -max_total_time=600 -rss_limit_mb=1024

Every other argument goes to libFuzzer; a directory among them keeps the corpus. It prints the input that breaks a rule
and writes it to ./crash-*, which is then an argument too: `python -m tests.fuzz parser crash-...`.
"""
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["ownhands"]):
    from ownhands import HTTPError, HTTPServer, RequestHandler, Response
    from ownhands.content import ChunkedDecoder
    from ownhands.fields import Fields
    from ownhands.messages import Request
    from ownhands.parser import (
        ProtocolError,
        RequestHead,
        encode_field_lines,
        parse_chunk_line,
        parse_field_lines,
        parse_request_head,
        parse_response_head,
        parse_trailer_section,
    )
    from ownhands.targets import is_authority
    from ownhands.testing import MockConnection, in_pieces, parse_replies

    from .turns import limited

SEEDS = [
    b"GET /a/%7Eb?c=d&e HTTP/1.1\r\nHost: localhost:80\r\nAccept: */*\r\nCookie: a=b; c=\"d\"\r\n\r\n",
    b"\r\nOPTIONS * HTTP/1.0\r\nConnection: foo, Keep-Alive\r\n\r\nHEAD / HTTP/1.1\r\nHost: [::1]\r\n\r\n",
    b"GET http://a.example:8080?q HTTP/1.2\r\nHost: b\r\nConnection: close\r\n\r\n",
    b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;a=b;c=\"d\\\"\"\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
    b"PUT /leave HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /refuse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"0a;x\r\n0123456789\r\n1\r\na\r\n000\r\nA: b\r\nC:\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
]
LIMITS = limited(max_target_size=64, max_head_size=400, max_fields=6)


# ---- the parser -----------------------------------------------------------------------------------------------------

def outcome(function: Any, *arguments: Any) -> Any:
    """What a parser gives, a ProtocolError as a value; any other exception is a finding."""
    try:
        return function(*arguments)
    except ProtocolError as error:
        assert 400 <= error.status <= 505 and error.detail.isascii() and "\n" not in error.detail
        return error


def fuzz_parser(data: bytes) -> None:
    cut = data[0] if data else 0
    octets = data[1:]
    for limits in (limited(), LIMITS):
        check_prefix(outcome(parse_request_head, octets[:cut], limits),
                     outcome(parse_request_head, octets, limits))
    head = outcome(parse_request_head, octets)
    if isinstance(head, RequestHead):
        check_request(Request(head))
        check_repeat(head, octets[head.end:])
        check_repeat(head, octets)
        check_repeat(parse_request_head(b"PUT /x HTTP/1.%b%b\r\n\r\n" % (head.control.minor, head.section)), octets)
    response = outcome(parse_response_head, octets)
    if isinstance(response, tuple):
        Fields(response.pairs).get("Content-Length")
    outcome(parse_chunk_line, octets, 0, 64)
    trailers = outcome(parse_trailer_section, octets, 0, 64, 128)
    if isinstance(trailers, tuple):
        again = encode_field_lines(trailers[0])
        assert parse_field_lines(b"\r\n" + again[:-2] if again else b"") == trailers[0]
    is_authority(octets)
    assert decode_all([octets]) == decode_all([octets[:cut], octets[cut:]]) == decode_all(in_pieces(octets))


def check_prefix(before: Any, whole: Any) -> None:
    """More octets never change a value and never mend an error."""
    if isinstance(before, ProtocolError):
        assert isinstance(whole, ProtocolError), (before, whole)
    elif before is not None:
        assert as_values(before) == as_values(whole), (before, whole)


def check_repeat(previous: RequestHead, octets: bytes) -> None:
    """The head before it never changes what a head is."""
    first, second = outcome(parse_request_head, octets), outcome(parse_request_head, octets, limited(), previous)
    assert str(as_values(first)) == str(as_values(second)), (first, second)


def as_values(head: Any) -> Any:
    """What two equal heads have in common."""
    return vars(head) | {"control": vars(head.control)} if isinstance(head, RequestHead) else head


def check_request(request: Request) -> None:
    pairs = request.fields.pairs
    assert parse_field_lines(b"\r\n" + encode_field_lines(pairs)[:-2] if pairs else b"") == pairs
    for part in (request.path, request.url, request.host, request.version, repr(request)):
        assert "\r" not in request.url and "\n" not in request.url and isinstance(part, str)
    for ask in ("query", "cookies", "form"):
        try:
            getattr(request, ask)
        except HTTPError as error:
            assert error.status in (400, 415)


def decode_all(pieces: list[Any]) -> Any:
    """What the decoder makes of a chunked content in pieces, an error as None, since its status may depend on them."""
    decoder, content, rest = ChunkedDecoder(64, 64, 128), b"", b""
    try:
        for piece in pieces:
            if decoder.complete:
                rest += piece
            else:
                decoded, rest = decoder.decode(piece)
                content += decoded
    except ProtocolError:
        return None
    return decoder.complete, content, rest, decoder.trailers


# ---- exchanges ------------------------------------------------------------------------------------------------------

class Echo(RequestHandler):
    """Echoes, refuses what goes to /refuse, does not read what goes to /leave; notes the methods of all answers."""

    max_content_size, max_memory_size, max_head_size, max_fields = 4000, 100, 2000, 20

    def setup(self) -> None:
        super().setup()
        self.methods, self.method = self.server.methods, ""

    def on_head(self, request: Request) -> Response | None:
        if request.path == "/refuse":
            raise HTTPError(403, "refused")
        return None

    def on_request(self, request: Request) -> Response:
        if request.path == "/leave":
            return Response(b"", 202)
        content = request.content
        request.query, request.cookies, request.url, request.trailers, request.fields.get("Content-Type")
        return Response(content, x_method=request.method, x_trailers=[name for name, _ in request.trailers.pairs])

    def _send_framed(self, response: Response, method: str, is_10: bool, persistent: bool,
                     is_error: bool = False) -> None:
        self.method = method
        super()._send_framed(response, method, is_10, persistent, is_error)

    def _end_exchange(self, response: Response, size: int) -> None:
        self.methods.append(self._exchange.method if self._exchange is not None else self.method)
        super()._end_exchange(response, size)


class Streaming(Echo):
    stream_content = True


class Alarm(logging.Handler):
    """Makes a finding of what is logged as an error."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            found.append(record.getMessage() + repr(record.exc_info))


found: list[str] = []


def exchange(handler: Any, pieces: list[Any]) -> list[tuple[int, bytes]]:
    """Statuses and contents of all answers; errors are alike, since which one it is may depend on the pieces."""
    server: Any = HTTPServer(handler=handler)
    server.methods = []
    connection = MockConnection(pieces)
    server.on_connect(connection)
    assert connection.is_closed and not found, found
    replies = parse_replies(connection.sent, *server.methods)
    assert len(replies) == len(server.methods) and all(reply.status != 500 for reply in replies), replies
    return [(200, reply.content) if reply.status == 200 else (400, b"") for reply in replies]


def fuzz_exchange(data: bytes) -> None:
    size, octets = (data[0] & 0x3F) + 1 if data else 1, data[1:]
    whole = exchange(Echo, [octets])
    check_same(whole, exchange(Echo, in_pieces(octets, size)))
    check_same(whole, exchange(Streaming, in_pieces(octets, size)))


def check_same(some: list[tuple[int, bytes]], others: list[tuple[int, bytes]]) -> None:
    """The answers are the same, but the connection may end where content was left: it depends on what had come."""
    for one, other in zip(some, others, strict=False):
        assert one == other, (some, others)
    shorter = min(some, others, key=len)
    assert len(some) == len(others) or (shorter and shorter[-1][0] != 200), (some, others)


def main() -> None:
    targets = {"parser": fuzz_parser, "exchange": fuzz_exchange}
    if len(sys.argv) < 2 or sys.argv[1] not in targets:
        raise SystemExit(__doc__)
    target = targets[sys.argv.pop(1)]
    log = logging.getLogger("ownhands")
    log.addHandler(Alarm())
    log.propagate = False
    with tempfile.TemporaryDirectory() as seeds:
        for number, seed in enumerate(SEEDS):
            Path(seeds, str(number)).write_bytes(b"\x20" + seed)
        given = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        atheris.Setup([*sys.argv, seeds] if all(Path(each).is_dir() for each in given) else sys.argv, target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
