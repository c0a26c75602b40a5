"""The tools for tests: what a MockConnection does like a socket, what a MockClient sends and reads, faults."""
import unittest

from nose2.tools import params

from ownhands import HTTPServer, Request, RequestHandler, Response
from ownhands.parser import ProtocolError
from ownhands.testing import MockClient, MockConnection, encode_request, ends_early, fails, in_pieces, parse_replies

DEFAULTS = b"Connection: close\r\nHost: localhost\r\nUser-Agent: MockClient/0.1\r\n"


def receive_all(connection: MockConnection, size: int = 100) -> list[bytes]:
    pieces = []
    while piece := connection.recv(size):
        pieces.append(piece)
    return pieces


class Connection(unittest.TestCase):
    @params((b"abc", 2, [b"ab", b"c"]), (b"abc", 9, [b"abc"]), (b"", 9, []), ([b"a", b"", b"bc"], 9, [b"a", b"bc"]),
            ([b"abc", b"d"], 2, [b"ab", b"c", b"d"]), (bytearray(b"abc"), 2, [b"ab", b"c"]),
            (memoryview(b"abc"), 9, [b"abc"]), ((each for each in [b"a"]), 9, [b"a"]))
    def test_recv(self, data, size, pieces):
        self.assertEqual(receive_all(MockConnection(data), size), pieces)

    def test_the_end_stays(self):
        connection = MockConnection()
        self.assertEqual((connection.recv(9), connection.recv(9)), (b"", b""))

    def test_recv_raises(self):
        connection = MockConnection([b"a", TimeoutError(), b"b"])
        self.assertEqual(connection.recv(9), b"a")
        with self.assertRaises(TimeoutError):
            connection.recv(9)
        self.assertEqual(connection.recv(9), b"b")

    def test_send(self):
        connection = MockConnection()
        self.assertEqual((connection.send(b"abc"), connection.send(memoryview(b"d")), connection.send(b"")), (3, 1, 0))
        self.assertEqual(connection.sent, b"abcd")

    def test_send_takes_a_part(self):
        connection = MockConnection(max_send=2)
        self.assertEqual((connection.send(b"abc"), connection.send(b"c"), connection.sent), (2, 1, b"abc"))

    def test_what_was_sent_can_be_forgotten(self):
        connection = MockConnection(fail_after=4)
        connection.send(b"abc")
        connection.sent = b""
        self.assertEqual((connection.send(b"defgh"), connection.sent), (4, b"defg"))

    def test_takes_no_text(self):
        with self.assertRaises(TypeError):
            MockConnection("GET / HTTP/1.1")

    @params((None, BrokenPipeError), (ConnectionResetError(), ConnectionResetError))
    def test_send_fails(self, failure, kind):
        connection = MockConnection(fail_after=2, failure=failure)
        self.assertEqual(connection.send(b"abc"), 2)
        with self.assertRaises(kind):
            connection.send(b"c")
        self.assertEqual(connection.sent, b"ab")

    @params((lambda connection: connection.recv(1),), (lambda connection: connection.send(b"a"),))
    def test_closed(self, use):
        connection = MockConnection(b"a")
        connection.close()
        connection.close()
        self.assertTrue(connection.is_closed)
        with self.assertRaises(OSError):
            use(connection)


class Faults(unittest.TestCase):
    @params((1, [b"a", b"b", b"c"]), (2, [b"ab", b"c"]), (5, [b"abc"]))
    def test_in_pieces(self, size, pieces):
        self.assertEqual(receive_all(MockConnection(in_pieces(b"abc", size))), pieces)

    @params((0, []), (2, [b"ab"]), (9, [b"abc"]))
    def test_ends_early(self, at, pieces):
        self.assertEqual(receive_all(MockConnection(ends_early(b"abc", at))), pieces)

    @params(((), ConnectionResetError), ((TimeoutError(),), TimeoutError))
    def test_fails(self, arguments, kind):
        connection = MockConnection(fails(b"abc", 2, *arguments))
        self.assertEqual(connection.recv(9), b"ab")
        with self.assertRaises(kind):
            connection.recv(9)

    @params((ends_early, 40), (fails, 40), (ends_early, 0), (fails, 0))
    def test_a_server_survives(self, fault, at):
        connection = MockConnection(fault(encode_request("/", body="hello"), at))
        HTTPServer().on_connect(connection)
        self.assertTrue(connection.is_closed)
        self.assertEqual(connection.sent, b"")


class Requests(unittest.TestCase):
    @params(
        ({}, b"GET / HTTP/1.1\r\n" + DEFAULTS + b"\r\n"),
        ({"method": "HEAD"}, b"HEAD / HTTP/1.1\r\n" + DEFAULTS + b"\r\n"),
        ({"user_agent": None, "connection": None}, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ({"host": "a", "user_agent": "b", "connection": "c", "accept": "d", "x": ["1", "2"]},
         b"GET / HTTP/1.1\r\nAccept: d\r\nConnection: c\r\nHost: a\r\nUser-Agent: b\r\nX: 1\r\nX: 2\r\n\r\n"),
        ({"host": None, "user_agent": None, "connection": None, "body": "\u00e9"},
         b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xc3\xa9"),
        ({"host": None, "user_agent": None, "connection": None, "body": b"abc", "content_length": 2},
         b"GET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabc"),
        ({"host": None, "user_agent": None, "connection": None, "body": b"abc", "content_length": None},
         b"GET / HTTP/1.1\r\n\r\nabc"),
    )
    def test_encode(self, arguments, octets):
        self.assertEqual(encode_request("/", **arguments), octets)

    def test_a_bad_target_is_sent_as_it_is(self):
        self.assertTrue(encode_request("no target").startswith(b"GET no target HTTP/1.1\r\n"))


class Replies(unittest.TestCase):
    @params(
        (b"", ()),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", ((200, b"ab"),)),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2, ((200, b""), (200, b""))),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nHTTP/1.1 404 \r\n\r\nrest",
         ((200, b"a"), (404, b"rest"))),
        (b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
         ((204, b""), (304, b""))),
    )
    def test_parse(self, octets, replies):
        self.assertEqual(tuple((reply.status, reply.content) for reply in parse_replies(octets)), replies)

    @params("HEAD", "CONNECT")
    def test_of_methods_without_content(self, method):
        octets = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
        self.assertEqual([reply.content for reply in parse_replies(octets, method)], [b"", b"a"])

    def test_interim(self):
        octets = b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        (reply,) = parse_replies(octets)
        self.assertEqual((reply.status, [head.status for head in reply.interim], reply.interim[0].pairs),
                         (204, [103, 100], (("A", "b"),)))

    @params(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    def test_cut_short(self, octets):
        with self.assertRaises(ConnectionError):
            parse_replies(octets)

    @params(b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\nrest\r\n\r\n")
    def test_no_response(self, octets):
        with self.assertRaises(ProtocolError):
            parse_replies(octets)


class Client(unittest.TestCase):
    class Echo(RequestHandler):
        def on_request(self, request: Request) -> Response:
            return Response(request.content, x_target=request.target, x_method=request.method,
                x_agent=request.fields["User-Agent"])

    def test_a_request_and_its_reply(self):
        reply = MockClient(HTTPServer(handler=self.Echo))("/hellow/orld/", method="POST", body="a", user_agent="b")
        self.assertEqual((reply.status, reply.reason, reply.content, reply.text), (200, "OK", b"a", "a"))
        self.assertEqual((reply.fields["X-Target"], reply.fields["X-Method"], reply.fields["X-Agent"]),
            ("/hellow/orld/", "POST", "b"))

    def test_head(self):
        self.assertEqual(MockClient(HTTPServer())("/", method="HEAD").content, b"")

    def test_has_an_address(self):
        handler = type("Where", (RequestHandler,), {"do_GET": lambda _, request: request.client_address[0]})
        self.assertEqual(MockClient(HTTPServer(handler=handler))().content, b"127.0.0.1")

    @params(HTTPServer, RequestHandler)
    def test_of_no_server(self, server):
        with self.assertRaisesRegex(TypeError, "takes a server"):
            MockClient(server)

    def test_a_connection_of_ones_own(self):
        client = MockClient(HTTPServer(handler=self.Echo), lambda data: MockConnection(in_pieces(data), max_send=1))
        self.assertEqual(client(body=b"hello").content, b"hello")

    def test_no_answer(self):
        with self.assertRaises(ConnectionError):
            MockClient(HTTPServer(), lambda data: MockConnection(ends_early(data, 9)))()

    def test_a_client_that_goes_away(self):
        with self.assertRaises(ConnectionError):
            MockClient(HTTPServer(), lambda data: MockConnection(data, fail_after=30))()


if __name__ == "__main__":
    unittest.main()
