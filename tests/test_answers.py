"""Files as answers, and how an answer is framed: what Content-Length, Connection, Date and Server say."""
import gzip
import io
import os
import socket
import tempfile
import unittest

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler, Response
from ownhands.testing import MockClient, MockConnection, parse_replies

from .turns import GET, GET_CLOSE, Session, answering, statuses

HEAD = GET.replace(b"GET", b"HEAD")


class Files(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "file")
        self.data = bytes(range(256)) * 1000
        with open(self.path, "wb") as file:
            file.write(self.data)

    def over_socket(self, content, octets=GET_CLOSE, **fields) -> bytes:
        """What a real socket brings, where the system copies files."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(octets)
            theirs.shutdown(socket.SHUT_WR)
            ours.settimeout(20)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            HTTPServer(handler=answering(content, **fields)).on_connect(ours)
            theirs.settimeout(20)
            received = b""
            while piece := theirs.recv(1 << 20):
                received += piece
            return received

    @params(
        lambda self: open(self.path, "rb"),
        lambda self: open(self.path, "rb", buffering=0),
        lambda self: io.BytesIO(self.data),
    )
    def test_with_its_length(self, opened):
        for at in (0, 1000, len(self.data)):
            file = opened(self)
            file.seek(at)
            reply = MockClient(HTTPServer(handler=answering(file)))()
            self.assertEqual((reply.content, reply.fields["Content-Length"]),
                             (self.data[at:], str(len(self.data) - at)))
            self.assertTrue(file.closed)

    @params(0, 100_000)
    def test_over_a_socket(self, at):
        file = open(self.path, "rb")  # noqa: SIM115  the server closes it
        file.read(at)
        reply, = parse_replies(self.over_socket(file))
        self.assertEqual(reply.content, self.data[at:])
        self.assertTrue(file.closed)

    @params("mock", "socket")
    def test_a_file_that_is_read_otherwise_than_it_is_stored(self, kind):
        with gzip.open(self.path, "wb") as file:
            file.write(b"plain text")
        file = gzip.open(self.path)  # noqa: SIM115  the server closes it
        if kind == "mock":
            content = MockClient(HTTPServer(handler=answering(file)))().content
        else:
            content = parse_replies(self.over_socket(file))[0].content
        self.assertEqual(content, b"plain text")
        self.assertTrue(file.closed)

    @unittest.skipUnless(os.path.exists("/proc/version"), "no such files here")
    def test_one_without_a_size_is_read_to_its_end_over_a_socket(self):
        reply, = parse_replies(self.over_socket(open("/proc/version", "rb")))  # noqa: SIM115  the server closes it
        with open("/proc/version", "rb") as file:
            self.assertEqual(reply.content, file.read())

    def test_one_that_reads_in_its_own_way_is_read_over_a_socket(self):
        class Upper(io.BufferedReader):
            def read(self, size=-1, /):
                return super().read(size).upper()

        with open(self.path, "wb") as file:
            file.write(b"hello")
        reply, = parse_replies(self.over_socket(Upper(io.FileIO(self.path))))
        self.assertEqual(reply.content, b"HELLO")

    @params(OSError(29, "illegal seek"), TypeError(), ValueError(), AttributeError())
    def test_one_that_cannot_say_its_size_in_chunks(self, error):
        class Odd:
            def __init__(self):
                self.pieces = [b"hello", b""]

            def read(self, size):
                return self.pieces.pop(0)

            def tell(self):
                raise error

        reply = MockClient(HTTPServer(handler=answering(Odd())))()
        self.assertEqual((reply.content, reply.fields["Transfer-Encoding"]), (b"hello", "chunked"))

    def test_a_pipe_in_chunks(self):
        reading, writing = os.pipe()
        os.write(writing, b"from the pipe")
        os.close(writing)
        file = open(reading, "rb")  # noqa: SIM115  the server closes it
        reply = MockClient(HTTPServer(handler=answering(file)))()
        self.assertEqual((reply.content, reply.fields["Transfer-Encoding"]), (b"from the pipe", "chunked"))
        self.assertTrue(file.closed)

    def test_one_that_grows_ends_where_it_ended(self):
        file = open(self.path, "rb")  # noqa: SIM115  the server closes it
        session = Session(answering(file), room=1000)
        session.send(GET)
        with open(self.path, "ab") as more:
            more.write(b"more")
        session.take()
        self.assertEqual(session.replies()[0].content, self.data)
        self.assertFalse(session.is_over)

    def test_one_that_shrinks_is_cut_short(self):
        file = open(self.path, "rb")  # noqa: SIM115  the server closes it
        session = Session(answering(file), room=1000)
        session.send(GET)
        os.truncate(self.path, 100_000)
        with self.assertLogs("ownhands", "ERROR"):
            session.take()
        self.assertLess(len(session.wire.sent), len(self.data))
        self.assertEqual((session.is_over, file.closed), (True, True))

    @params(5, len(bytes(range(256)) * 1000) + 1)
    def test_a_wrong_length_is_500(self, length):
        file = open(self.path, "rb")  # noqa: SIM115  the server closes it
        with self.assertLogs("ownhands", "ERROR"):
            reply = MockClient(HTTPServer(handler=answering(file, content_length=length)))()
        self.assertEqual((reply.status, file.closed), (500, True))

    @params((HEAD, 200), (GET, 304), (GET, 204))
    def test_unsent_it_is_closed_too(self, octets, status):
        file = open(self.path, "rb")  # noqa: SIM115  the server closes it
        session = Session(answering(file, status))
        session.send(octets)
        reply, = session.replies("HEAD")
        self.assertEqual((reply.content, file.closed, session.is_over), (b"", True, False))
        self.assertEqual(reply.fields.get("Content-Length"), str(len(self.data)) if status == 200 else None)

    def test_where_the_client_leaves_it_is_closed(self):
        file = open(self.path, "rb")  # noqa: SIM115  the server closes it
        HTTPServer(handler=answering(file)).on_connect(MockConnection(GET, fail_after=5000), None)
        self.assertTrue(file.closed)


class Framing(unittest.TestCase):
    @params(
        (GET, 200, b"text", "4"),
        (GET, 204, b"", None),
        (GET, 204, b"text", None),
        (GET, 205, b"text", "0"),
        (GET, 304, b"text", None),
        (GET, 404, b"", "0"),
        (HEAD, 200, b"text", "4"),
        (HEAD, 204, b"text", None),
        (HEAD, 205, b"text", "0"),
        (HEAD, 200, [b"text"], None),
    )
    def test_length(self, octets, status, content, length):
        session = Session(answering(content, status))
        session.send(octets + GET)
        sent = session.wire.sent
        head, _, rest = sent.partition(b"\r\n\r\n")
        self.assertEqual(b"Content-Length: %b" % (length or "").encode() in head, length is not None)
        is_bare = octets == HEAD or status in (204, 205, 304)
        self.assertEqual(rest.startswith(b"HTTP/1.1 "), is_bare or not content)

    @params((b"text", 4, 200), (b"text", 3, 500), (b"text", 5, 500), (b"text", "4, 4", 500), (b"text", "+4", 500))
    def test_a_length_that_a_handler_sets(self, content, length, status):
        with self.assertLogs("ownhands", "INFO"):
            session = Session(answering(content, content_length=length))
            session.send(GET + GET)
        self.assertEqual(statuses(session.replies()), [status, status])

    def test_on_head_it_is_the_handlers_word(self):
        session = Session(answering(b"", content_length=4711))
        session.send(HEAD + HEAD)
        self.assertEqual([reply.fields["Content-Length"] for reply in session.replies("HEAD", "HEAD")], ["4711"] * 2)

    def test_is_what_the_client_has_asked_for_whatever_a_handler_makes_of_its_method(self):
        class Handler(RequestHandler):
            def on_request(self, request):
                request.method = "GET"
                return super().on_request(request)

            def do_GET(self, request):
                return "text"

        session = Session(Handler)
        session.send(HEAD + GET)
        self.assertEqual([reply.content for reply in session.replies("HEAD", "GET")], [b"", b"text"])

    def test_date_and_server_are_added_once(self):
        for fields in ({}, dict(date="Mon, 01 Jan 2024 00:00:00 GMT"), dict(server="Mine"), dict(date="x", server="y")):
            reply = MockClient(HTTPServer(handler=answering(b"", **fields)))()
            for name in ("date", "server"):
                self.assertEqual(len(reply.fields.get_all(name)), 1)
                if name in fields:
                    self.assertEqual(reply.fields[name], fields[name])

    @params({"date": "Thu, 01 Jan 1970 00:00:00 GMT"}, {"server": "x"}, {"upgrade": "h2c"}, {"content_length": 1})
    def test_fields_that_the_server_has_too_do_not_keep_the_connection(self, fields):
        session = Session(answering("x", **fields))
        session.send(GET_CLOSE)
        reply, = session.replies()
        self.assertIn("close", reply.fields.get_all("Connection"))
        self.assertTrue(session.is_over)

    def test_fields_of_with_fields(self):
        class Wrapped(RequestHandler):
            def do_GET(self, request):
                return Response("x", etag="1", connection="keep-alive").with_fields(etag="2", connection="close")

        session = Session(Wrapped)
        session.send(GET)
        reply, = session.replies()
        self.assertEqual((reply.fields["ETag"], reply.fields["Connection"]), ("2", "close"))

    @params("transfer_encoding", "content_length", "connection", "date", "server")
    def test_nothing_a_handler_puts_in_the_fields_frames_twice(self, name):
        class Forced(RequestHandler):
            def do_GET(self, request):
                response = Response([b"text"])
                response.fields = type(response.fields)([(name.replace("_", "-"), "4" if "len" in name else "chunked")])
                return response

        session = Session(Forced)
        session.send(GET)
        reply, = session.replies()
        self.assertEqual(reply.content, b"text")
        self.assertLessEqual(len(reply.fields.get_all("Transfer-Encoding") + reply.fields.get_all("Content-Length")), 1)
