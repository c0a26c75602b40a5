"""Content in both directions: what is gathered of a request, what is sent of a response."""
import io
import os
import socket
import tempfile
import unittest

from nose2.tools import params

from ownhands.content import (
    MAX_EXTENSIONS_SIZE,
    PIECE_SIZE,
    TURN_SIZE,
    ChunkedDecoder,
    ContentError,
    ContentStream,
    FileOutgoing,
    Gathering,
    LengthDecoder,
    Outgoing,
    check_piece,
    exactly,
    in_chunks,
    read_pieces,
)
from ownhands.parser import ProtocolError
from ownhands.testing import MockConnection


def decode(decoder, octets: bytes, size: int) -> tuple[bytes, bytes]:
    """Content and rest, from octets that come in pieces of `size`."""
    content = rest = b""
    for start in range(0, len(octets), size):
        piece = octets[start:start + size]
        if decoder.complete:
            rest += piece
        else:
            decoded, rest = decoder.decode(piece)
            content += decoded
    return content, rest


class ByLength(unittest.TestCase):
    @params((0, b"abc", b"", b"abc"), (2, b"abc", b"ab", b"c"), (3, b"abc", b"abc", b""))
    def test_complete(self, length, octets, content, rest):
        for size in (1, 2, 3):
            decoder = LengthDecoder(length)
            self.assertEqual(decode(decoder, octets, size), (content, rest))
            self.assertTrue(decoder.complete)

    def test_cut_short(self):
        decoder = LengthDecoder(4)
        self.assertEqual((decoder.decode(b"abc"), decoder.complete, decoder.remaining), ((b"abc", b""), False, 1))


class ByChunks(unittest.TestCase):
    @params(
        (b"0\r\n\r\n", b"", ()),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", ()),
        (b"2\r\nhe\r\n3\r\nllo\r\n1\r\n!\r\n0\r\n\r\n", b"hello!", ()),
        (b"0005\r\nhello\r\n000\r\n\r\n", b"hello", ()),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", ()),
        (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", ()),
        (b'5 ; a=b; c="d;\\"e"\r\nhello\r\n0;f\r\n\r\n', b"hello", ()),
        (b"1\r\na\r\n0\r\nX: y\r\nX:z\r\n\r\n", b"a", (("X", "y"), ("X", "z"))),
    )
    def test_complete(self, octets, content, trailers):
        for size in (1, 2, 3, 100):
            decoder = ChunkedDecoder(64, 64, 128)
            self.assertEqual(decode(decoder, octets + b"GET /", size), (content, b"GET /"))
            self.assertEqual((decoder.complete, decoder.trailers), (True, trailers))

    @params(b"", b"5", b"5\r", b"5\r\n", b"5\r\nhello", b"5\r\nhello\r", b"5\r\nhello\r\n", b"0\r\n", b"0\r\n\r",
            b"0\r\nX: y\r\n")
    def test_cut_short(self, octets):
        decoder = ChunkedDecoder(64, 64, 128)
        decode(decoder, octets, 1)
        self.assertFalse(decoder.complete)

    @params(b"5\r\nhello0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello world\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello\r0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n-0\r\n\r\n", b"0\r\nnonsense\r\n\r\n",
            b"0\r\n\n",
            b"0\r\n\r0\r\n\r\n", b"0\n\r\n", b"\r\n0\r\n\r\n", b" 0\r\n\r\n", b"0\r\n0\r\n\r\n")
    def test_malformed(self, octets):
        for size in (1, 2, 100):
            with self.assertRaises(ProtocolError) as caught:
                decode(ChunkedDecoder(64, 64, 128), octets, size)
            self.assertEqual(caught.exception.status, 400)

    @params((MAX_EXTENSIONS_SIZE // 1024, None), (MAX_EXTENSIONS_SIZE // 1024 + 1, 400))
    def test_extensions_are_bounded_in_all(self, chunks, status):
        octets = (b"1;" + b"a" * 1023 + b"\r\nb\r\n") * chunks + b"0\r\n\r\n"
        decoder = ChunkedDecoder(2048, 64, 128)
        if status is None:
            self.assertEqual(decoder.decode(octets), (b"b" * chunks, b""))
        else:
            with self.assertRaises(ProtocolError):
                decoder.decode(octets)

    def test_content_before_an_error_is_not_taken_for_a_whole(self):
        decoder = ChunkedDecoder(64, 64, 128)
        self.assertEqual(decoder.decode(b"5\r\nhello\r\n"), (b"hello", b""))
        with self.assertRaises(ProtocolError):
            decoder.decode(b"x\r\n")
        self.assertFalse(decoder.complete)


class Gathered(unittest.TestCase):
    def test_in_memory(self):
        gathering = Gathering(LengthDecoder(5), 5, 5)
        self.assertEqual((gathering.take(b"hel"), gathering.take(b"loGET"), gathering.result()),
            (b"", b"GET", b"hello"))

    def test_beyond_it_in_a_file(self):
        gathering = Gathering(LengthDecoder(5), 5, 2)
        self.assertEqual([gathering.take(each) for each in (b"h", b"el", b"loGET")], [b"", b"", b"GET"])
        with gathering.result() as file:
            self.assertEqual(file.read(), b"hello")

    @params(0, 100)
    def test_too_large(self, memory_size):
        gathering = Gathering(ChunkedDecoder(64, 64, 128), 4, memory_size)
        gathering.take(b"4\r\nhell\r\n")
        with self.assertRaises(ProtocolError) as caught:
            gathering.take(b"1\r\no\r\n")
        self.assertEqual(caught.exception.status, 413)
        gathering.close()

    def test_closing_closes_the_file(self):
        gathering = Gathering(LengthDecoder(5), 5, 0)
        gathering.take(b"hello")
        file = gathering.result()
        gathering.close()
        self.assertTrue(file.closed)


class Streamed(unittest.TestCase):
    def stream(self, decoder, received, *pieces, max_size=100):
        waiting = list(pieces)
        self.sizes = []

        def receive(size):
            self.sizes.append(size)
            return waiting.pop(0)

        return ContentStream(decoder, received, receive, max_size)

    def test_reads_as_it_comes(self):
        stream = self.stream(ChunkedDecoder(64, 64, 128), b"5\r\nhe", b"l", b"lo\r\n0\r\n", b"\r\nGET")
        self.assertEqual([stream.read(1), stream.read(9), stream.read(9), stream.read(9), stream.read(9)],
                         [b"h", b"e", b"l", b"lo", b""])
        self.assertEqual((stream.rest, self.sizes), (b"GET", [2, 3, 5]))

    def test_asks_for_nothing_beyond_the_end(self):
        stream = self.stream(LengthDecoder(5), b"helloGET")
        self.assertEqual((stream.read(), stream.rest, self.sizes), (b"hello", b"GET", []))

    def test_too_large(self):
        stream = self.stream(ChunkedDecoder(64, 64, 128), b"", b"5\r\nhello\r\n", max_size=4)
        with self.assertRaises(ProtocolError) as caught:
            stream.read(1)
        self.assertEqual(caught.exception.status, 413)

    def test_malformed(self):
        with self.assertRaises(ProtocolError):
            self.stream(ChunkedDecoder(64, 64, 128), b"5\r\nhello", b"x").read()


class Blocking(MockConnection):
    """Takes `room` octets, then none until there is room again."""

    room = 0

    def send(self, data, /):
        if not self.room:
            raise BlockingIOError
        taken = super().send(data[:self.room])
        self.room -= taken
        return taken


class Sent(unittest.TestCase):
    @params(1, 3, 100)
    def test_octets_and_pieces(self, max_send):
        connection = MockConnection(max_send=max_send)
        outgoing = Outgoing(b"head", iter([b"ab", b"", b"c"]))
        self.assertTrue(outgoing.send_some(connection))
        self.assertEqual((connection.sent, outgoing.size), (b"headabc", 7))

    def test_a_connection_that_takes_no_more(self):
        connection, outgoing = Blocking(), Outgoing(b"head", iter([b"abc"]))
        outcomes = []
        for connection.room in (0, 3, 2, 9):
            outcomes.append((outgoing.send_some(connection), outgoing.size))
        self.assertEqual((outcomes, connection.sent), ([(False, 0), (False, 3), (False, 5), (True, 7)], b"headabc"))

    def test_pieces_are_made_when_there_is_room(self):
        made = []
        connection, outgoing = Blocking(), Outgoing(b"head", (made.append(each) or each for each in [b"ab", b"cd"]))
        connection.room = 5
        outgoing.send_some(connection)
        self.assertEqual(made, [b"ab"])

    def test_other_connections_have_their_turn(self):
        connection = MockConnection()
        outgoing = Outgoing(b"a" * TURN_SIZE + b"b")
        self.assertEqual((outgoing.send_some(connection), outgoing.send_some(connection)), (False, True))
        self.assertEqual(len(connection.sent), TURN_SIZE + 1)

    def test_what_was_sent_already(self):
        connection = MockConnection()
        Outgoing(b"head", size=2).send_some(connection)
        self.assertEqual(connection.sent, b"ad")

    def test_prepend(self):
        connection, outgoing = MockConnection(), Outgoing(b"head")
        outgoing.prepend(b"")
        outgoing.prepend(b"first ")
        outgoing.send_some(connection)
        self.assertEqual(connection.sent, b"first head")

    def test_a_send_that_says_nothing_has_taken_all(self):
        class Silent:
            sent = b""

            def send(self, data):
                self.sent += data

        connection = Silent()
        self.assertTrue(Outgoing(b"head", iter([b"a"])).send_some(connection))
        self.assertEqual(connection.sent, b"heada")

    def test_a_client_that_has_gone(self):
        with self.assertRaises(BrokenPipeError):
            Outgoing(b"head").send_some(MockConnection(fail_after=2))

    def test_a_source_that_fails_is_not_a_client_that_has_gone(self):
        def pieces():
            yield b"a"
            raise ConnectionResetError("of the database")

        with self.assertRaises(ContentError):
            Outgoing(b"", pieces()).send_some(MockConnection())

    def test_closes_its_source(self):
        file = io.BytesIO()
        Outgoing(b"", close=file.close).close()
        self.assertTrue(file.closed)

    def test_closing_raises_nothing(self):
        def close():
            raise ValueError

        with self.assertLogs("ownhands", "ERROR"):
            Outgoing(b"", close=close).close()


@unittest.skipUnless(hasattr(os, "sendfile"), "the system has no sendfile")
class SentFile(unittest.TestCase):
    def setUp(self):
        self.near, self.far = socket.socketpair()
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  closed in the end
        self.file.write(b"0123456789")
        self.file.flush()
        for each in (self.near, self.far, self.file):
            self.addCleanup(each.close)

    def test_a_part(self):
        outgoing = FileOutgoing(b"head ", self.file, 2, 5)
        self.assertTrue(outgoing.send_some(self.near))
        self.assertEqual((self.far.recv(99, socket.MSG_WAITALL | socket.MSG_DONTWAIT), outgoing.size),
            (b"head 23456", 10))

    def test_nothing(self):
        self.assertTrue(FileOutgoing(b"", self.file, 2, 0).send_some(self.near))

    def test_a_file_that_has_shrunk(self):
        with self.assertRaises(ContentError):
            FileOutgoing(b"", self.file, 2, 9).send_some(self.near)

    def test_a_connection_that_takes_no_more(self):
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # less than a turn: it has to wait
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.file.truncate(3 * TURN_SIZE)
        outgoing, received = FileOutgoing(b"head", self.file, 0, 3 * TURN_SIZE), 0
        for _ in range(10_000):
            is_out = outgoing.send_some(self.near)
            try:
                while octets := self.far.recv(1 << 20):
                    received += len(octets)
            except BlockingIOError:
                pass
            if is_out:
                break
        self.assertEqual((received, outgoing.size), (3 * TURN_SIZE + 4, 3 * TURN_SIZE + 4))

    def test_closes_the_file(self):
        FileOutgoing(b"", self.file, 0, 0).close()
        self.assertTrue(self.file.closed)


class Pieces(unittest.TestCase):
    @params(([], b"0\r\n\r\n"), ([b"a", b"", b"bc"], b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
            ([b"a" * 16], b"10\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
            ([bytearray(b"a"), memoryview(b"b")], b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"))
    def test_in_chunks(self, pieces, octets):
        self.assertEqual(b"".join(in_chunks(pieces)), octets)

    def test_an_iterable_that_fails_has_no_last_chunk(self):
        def pieces():
            yield b"a"
            raise ValueError

        sent = []
        with self.assertRaises(ValueError):
            for piece in in_chunks(pieces()):
                sent.append(piece)  # noqa: PERF402
        self.assertEqual(sent, [b"1\r\na\r\n"])

    @params(([b"ab", b"c"], 3), ([], 0), ([b"", b"abc", b""], 3))
    def test_exactly(self, pieces, length):
        self.assertEqual(b"".join(exactly(pieces, length)), b"".join(pieces))

    @params(([b"ab", b"c"], 2, b"ab"), ([b"abc"], 2, b""), ([b"ab"], 3, b"ab"), ([], 1, b""))
    def test_too_many_or_too_few(self, pieces, length, before):
        sent = []
        with self.assertRaises(ContentError):
            for piece in exactly(pieces, length):
                sent.append(piece)  # noqa: PERF402
        self.assertEqual(b"".join(sent), before)

    def test_octets_are_counted_not_items(self):
        self.assertEqual(list(exactly([memoryview(bytes(8)).cast("I")], 8)), [bytes(8)])

    @params("a", "", None, 5, 0, [b"a"], [])
    def test_pieces_that_are_no_octets(self, piece):
        for pieces in (in_chunks([piece]), exactly([piece], 1), map(check_piece, [piece])):
            with self.assertRaises(TypeError):
                list(pieces)

    @params((b"", None, []), (b"a" * (PIECE_SIZE + 1), None, [PIECE_SIZE, 1]), (b"abc", 2, [2]), (b"abc", 9, [3]),
            (b"abc", 0, []))
    def test_read_pieces(self, octets, length, sizes):
        self.assertEqual([len(piece) for piece in read_pieces(io.BytesIO(octets), length)], sizes)


if __name__ == "__main__":
    unittest.main()
