"""TLS over real sockets: the handshake, the end, and what must not wait for either."""
import logging
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler
from unittest import mock

import trustme
from nose2.tools import params

from ownhands import HTTPServer, RequestHandler, Response
from ownhands.connection import cut_off
from ownhands.testing import encode_request, parse_replies
from ownhands.tls import TLSConnection, make_context

from .programs import ROOT

AUTHORITY = trustme.CA()
PATIENCE = 10  # seconds, for what should take none


class Echo(RequestHandler):
    def do_GET(self, request):
        return Response.json({"url": request.url, "peer": request.peer_certificate})

    def do_POST(self, request):
        return Response(request.content)


class Lines(StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


class Files:
    """A certificate for localhost and its key, in a folder of their own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp())
        self.pair = (self.folder / "certificate.pem", self.folder / "key.pem")
        self.renew()

    def renew(self):
        issued = AUTHORITY.issue_cert("localhost", "127.0.0.1")
        self.pair[0].write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.pair[1]))


class TLSTest(unittest.TestCase):
    def setUp(self):
        self.files = Files()
        self.addCleanup(shutil.rmtree, self.files.folder)

    @contextmanager
    def serving(self, handler=Echo, **knobs):
        with HTTPServer("127.0.0.1", 0, handler, **{"tls": self.files.pair} | knobs) as server:
            yield server

    def client_context(self):
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        return context

    def connect_plainly(self, server):
        connection = socket.create_connection(server.server_address, PATIENCE)
        self.addCleanup(connection.close)
        return connection

    def connect(self, server, context=None, takes_any_end=False):
        plain = self.connect_plainly(server)
        secret = (context or self.client_context()).wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=takes_any_end)
        self.addCleanup(secret.close)
        return secret

    def exchange(self, connection, octets):
        connection.sendall(octets)
        return parse_replies(read_all(connection))

    def get(self, server, context=None):
        return self.exchange(self.connect(server, context), encode_request("/"))[0]


class Conversation:
    """A TLS client by hand, whose own octets may be kept back."""

    def __init__(self, connection, context):
        self.connection = connection
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(self.outgoing.read())
                self.incoming.write(connection.recv(65536))
            else:
                break

    def say(self, octets):
        self.tls.write(octets)
        self.connection.sendall(self.outgoing.read())

    def listen(self):
        """Takes what comes until there is something to send, and gives that."""
        while not self.outgoing.pending:
            self.incoming.write(self.connection.recv(65536))
            with suppress(ssl.SSLWantReadError):
                self.tls.read(65536)
        return self.outgoing.read()


def read_all(connection):
    """What comes until the end, then ends it on this side too."""
    received = b""
    with connection:
        while octets := connection.recv(65536):
            received += octets
    return received


class TestCutFromOutside(TLSTest):
    def test_sends_nothing_in_clear_nor_an_end(self):
        near, far = socket.socketpair()
        for end in (near, far):
            end.settimeout(PATIENCE)
        context = make_context(self.files.pair)
        server = context.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
        handshake = threading.Thread(target=server.do_handshake)
        handshake.start()
        client = self.client_context().wrap_socket(far, server_hostname="localhost")
        self.addCleanup(client.close)
        handshake.join(PATIENCE)
        connection = TLSConnection(server)
        self.addCleanup(connection.close)
        said = socket.socket.recv(client, 65536, socket.MSG_PEEK)  # tickets for another session
        cut_off(connection)
        self.assertRaises(OSError, connection.send, b"secret")  # the turn goes on, and does not know
        self.assertEqual(said, socket.socket.recv(client, 65536))
        self.assertEqual(b"", socket.socket.recv(client, 65536))


class TestExchange(TLSTest):
    def test_the_url_is_https(self):
        with self.serving() as server:
            self.assertTrue(server.url.startswith("https://127.0.0.1:"))
            self.assertIn(b'"url": "https://localhost/"', self.get(server).content)

    def test_http_1_1_is_negotiated(self):
        context = self.client_context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with self.serving() as server:
            self.assertEqual(self.connect(server, context).selected_alpn_protocol(), "http/1.1")

    @params(1, 70_000, 3_000_000)
    def test_content_goes_both_ways(self, size):
        content = bytes(range(256)) * (size // 256 + 1)
        with self.serving() as server:
            reply, = self.exchange(self.connect(server), encode_request("/", "POST", content))
            self.assertEqual(reply.content, content)

    def test_what_is_decrypted_already_is_not_waited_for(self):
        with self.serving(receive_size=10) as server:  # a record holds far more than one recv takes
            octets = encode_request("/", "POST", b"a" * 9000, connection=None) + encode_request("/", "POST", b"b")
            replies = self.exchange(self.connect(server), octets)
            self.assertEqual([reply.content for reply in replies], [b"a" * 9000, b"b"])

    def test_the_end_is_said_in_tls(self):
        with self.serving() as server:
            self.get(server)  # would raise SSLEOFError

    def test_a_refused_client_reads_the_answer(self):
        with self.serving() as server:
            reply, = self.exchange(self.connect(server), b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
            self.assertEqual(reply.status, 400)

    def test_a_client_certificate_reaches_the_handler(self):
        theirs = make_context(self.files.pair)
        theirs.verify_mode = ssl.CERT_REQUIRED
        AUTHORITY.configure_trust(theirs)
        context = self.client_context()
        AUTHORITY.issue_cert("someone@example.org").configure_cert(context)
        with self.serving(tls=theirs) as server:
            self.assertIn(b"someone@example.org", self.get(server, context).content)

    def test_a_socketserver_handler_is_served_too(self):
        with self.serving(Lines) as server:
            connection = self.connect(server, takes_any_end=True)  # it closes as socketserver does
            connection.sendall(b"hello\n")
            self.assertEqual(read_all(connection), b"HELLO\n")


class TestHandshake(TLSTest):
    @params(*(encode_request("/", method) for method in ("GET", "DELETE", "PATCH", "OPTIONS", "FROB")),
            b"\r\n" + encode_request("/"), encode_request("/", "POST", b"x" * 100_000))
    def test_plain_http_is_told_so(self, octets):
        with self.serving() as server:
            connection = self.connect_plainly(server)
            connection.sendall(octets)
            reply, = parse_replies(read_all(connection))
            self.assertEqual((reply.status, reply.text), (400, "400 Bad Request: this port speaks https\n"))

    @params(b"", b"\x16\x03\x01\x02\x00\x01\x00")
    def test_silent_and_half_handshakes_delay_nobody(self, octets):
        with self.serving(max_threads=2) as server:
            for _ in range(200):
                self.connect_plainly(server).sendall(octets)
            self.assertEqual(self.get(server).status, 200)

    def test_the_handshake_has_a_deadline(self):
        server = HTTPServer(handler=Echo, tls=self.files.pair, clock=lambda: 100.0, handshake_timeout=7)
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        wrapped = make_context(self.files.pair).wrap_socket(ours, server_side=True, do_handshake_on_connect=False)
        self.addCleanup(wrapped.close)
        self.assertEqual(server.finish_request(TLSConnection(wrapped), None).deadline, 107.0)

    @params(b"\x16\x03\x01\x00\x05nonsense" * 9, b"\x80garbage" * 40)
    def test_a_failed_one_is_a_debug_line(self, octets):
        with self.serving() as server, self.assertLogs("ownhands", logging.DEBUG) as logs:
            connection = self.connect_plainly(server)
            connection.sendall(octets)
            try:
                read_all(connection)
            except ConnectionResetError:
                pass
            server.stop()
        self.assertEqual({record.levelno for record in logs.records}, {logging.DEBUG})


class TestThreads(unittest.TestCase):
    @params(("recv", 1, b"x"), ("send", b"x", 1), ("shutdown", socket.SHUT_WR, None))
    def test_what_one_does_waits_for_what_another_does(self, name, argument, result):
        self.assertEqual(["first", "second"], self.log_of(name, argument, result, timeout=0))

    def test_but_not_for_one_that_waits_for_its_client(self):
        self.assertEqual(["second", "first"], self.log_of("send", b"x", 1, timeout=None))

    def log_of(self, name, argument, result, timeout):
        begun, may_end, log = threading.Event(), threading.Event(), []

        def first(size):
            begun.set()
            may_end.wait(PATIENCE)
            log.append("first")
            return b"x"

        def second(*_):
            log.append("second")
            return result

        connection = TLSConnection(mock.Mock(recv=first, pending=lambda: 0, gettimeout=lambda: timeout))
        connection._has_begun = True
        one = threading.Thread(target=connection.recv, args=(1,))
        one.start()
        begun.wait(PATIENCE)
        connection.sslsocket = mock.Mock(recv=second, send=second, unwrap=second, pending=lambda: 0,
                                         gettimeout=lambda: timeout)
        other = threading.Thread(target=getattr(connection, name), args=(argument,))
        other.start()
        other.join(0.01 if timeout == 0 else PATIENCE)  # it has time enough to come first
        may_end.set()
        for thread in (one, other):
            thread.join(PATIENCE)
        return log


class TestPeer(unittest.TestCase):
    @params(((), False), ((True,), True))
    def test_may_be_asked_for_as_of_a_socket(self, arguments, is_binary):
        given = mock.Mock(getpeercert=lambda binary_form: binary_form)
        self.assertIs(TLSConnection(given).getpeercert(*arguments), is_binary)

    def test_is_not_known_before_the_handshake(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        wrapped = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(ours, True, do_handshake_on_connect=False)
        self.addCleanup(wrapped.close)
        self.assertIsNone(TLSConnection(wrapped).getpeercert())


class TestWaiting(unittest.TestCase):
    @params(("recv", ssl.SSLWantReadError, (False, False)), ("recv", ssl.SSLWantWriteError, (True, False)),
            ("send", ssl.SSLWantWriteError, (False, False)), ("send", ssl.SSLWantReadError, (False, True)))
    def test_is_told_for_each_direction(self, name, error, expected):
        connection = TLSConnection(mock.Mock(**{name + ".side_effect": error}, gettimeout=lambda: 0))
        connection._has_begun = True
        with self.assertRaises(BlockingIOError):
            getattr(connection, name)(1 if name == "recv" else b"x")
        self.assertEqual((connection.recv_wants_write, connection.send_wants_read), expected)


class TestEnd(unittest.TestCase):
    def test_is_said_without_waiting_for_the_clients(self):
        ours, client = socket.socketpair()
        self.addCleanup(client.close)
        timeouts = []
        waiting = mock.Mock(gettimeout=lambda: None, settimeout=timeouts.append,
                            unwrap=lambda: self.assertEqual(timeouts, [0]))
        TLSConnection(waiting).close()
        ours.close()
        self.assertEqual(timeouts, [0, None])

    @params(ssl.SSLZeroReturnError, ssl.SSLEOFError)
    def test_a_client_that_has_ended_the_connection_takes_nothing(self, error):
        ended = mock.Mock(spec=ssl.SSLSocket)
        ended.send.side_effect = error
        with self.assertRaises(ConnectionError):
            TLSConnection(ended).send(b"octets")


class TestStalled(TLSTest):
    def test_what_has_to_be_read_before_more_is_sent_is_waited_for(self):
        """A client that stops in the middle of a certificate that it was asked for, with an answer on its way."""
        class Asking(Echo):
            def on_head(self, request):
                self.connection.verify_client_post_handshake()

        context = make_context(self.files.pair)
        AUTHORITY.configure_trust(context)
        context.verify_mode, context.post_handshake_auth = ssl.CERT_OPTIONAL, True
        with self.serving(Asking, tls=context, content_timeout=0.05, send_timeout=0.2) as server:
            client_context = self.client_context()
            client_context.post_handshake_auth = True
            client_context.load_cert_chain(*self.files.pair)
            client = Conversation(self.connect_plainly(server), client_context)
            client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            flight = client.listen()
            client.connection.sendall(flight[:5 + int.from_bytes(flight[3:5])])  # its first record
            before = server._engines[0]._turns
            with suppress(ConnectionError):
                read_all(client.connection)
            self.assertLess(server._engines[0]._turns - before, 100)


class TestCut(TLSTest):
    def test_what_was_cut_does_not_look_whole(self):
        class Failing(RequestHandler):
            def do_GET(self, request):
                def pieces():
                    yield b"one"
                    raise ValueError
                return Response(pieces())

        with self.serving(Failing) as server, self.assertLogs("ownhands", "ERROR"):
            client = self.connect(server)
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with self.assertRaises(OSError):
                read_all(client)


class TestCertificates(TLSTest):
    PROGRAM = """
import sys
from ownhands import HTTPServer
HTTPServer("127.0.0.1", 0, tls={kind}(sys.argv[1:])).serve()
"""

    def serial(self, server):
        return self.connect(server).getpeercert()["serialNumber"]

    @unittest.skipUnless(hasattr(signal, "SIGHUP"), "no such signal")
    @params("tuple", "list")
    def test_a_program_renews_them_at_sighup(self, kind):
        process = subprocess.Popen([sys.executable, "-c", self.PROGRAM.format(kind=kind), *self.files.pair], cwd=ROOT,
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        server = mock.Mock(server_address=("127.0.0.1", int(process.stdout.readline().split(":")[2].split("/")[0])))
        before = self.serial(server)
        self.files.renew()
        process.send_signal(signal.SIGHUP)
        until = time.monotonic() + PATIENCE
        while self.serial(server) == before and time.monotonic() < until:
            pass  # the signal is on its way
        self.assertNotEqual(self.serial(server), before)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_they_are_renewed_without_a_restart(self):
        with self.serving() as server:
            before = self.serial(server)
            self.files.renew()
            server.reload_tls()
            self.assertNotEqual(self.serial(server), before)

    def test_bad_files_leave_the_old_ones(self):
        with self.serving() as server:
            before = self.serial(server)
            self.files.pair[1].write_text("no key")
            with self.assertRaises(ssl.SSLError):
                server.reload_tls()
            self.assertEqual(self.serial(server), before)

    @params("cert.pem", ("cert.pem",), 5, ssl.create_default_context())
    def test_what_is_no_pair_of_files_is_an_error(self, tls):
        with self.assertRaises(TypeError):
            HTTPServer(tls=tls)

    @params(("none", "none", OSError), ("certificate.pem", "none", OSError), ("text", "text", ssl.SSLError))
    def test_files_that_cannot_be_used_are_named_at_once(self, certificate, key, kind):
        (self.files.folder / "text").write_text("this is no PEM")
        with chdir(self.files.folder), self.assertRaises(kind) as caught:
            HTTPServer(tls=(certificate, key))
        named = rf" {re.escape(certificate)} \(certificate\) and {key} \(key\)"
        self.assertRegex(str(caught.exception), rf"\A[^\n]+{named}\Z")


class TestUsersOwnSockets(TLSTest):
    def test_a_listener_that_was_wrapped(self):
        listener = socket.create_server(("127.0.0.1", 0))
        server = HTTPServer("127.0.0.1", listener.getsockname()[1], Echo)
        server.socket = make_context(self.files.pair).wrap_socket(listener, server_side=True)
        with server:
            self.connect_plainly(server)  # is silent
            self.assertEqual(self.get(server).status, 200)
            self.assertTrue(server.url.startswith("https:"))

    def test_a_connection_that_was_wrapped(self):
        context = make_context(self.files.pair)

        class Wrapping(HTTPServer):
            def get_request(self):
                connection, address = super().get_request()
                return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        with Wrapping("127.0.0.1", 0, Echo) as server:
            self.assertEqual(self.get(server).status, 200)


    def test_a_connection_that_on_connect_wraps(self):
        class Tap:
            def __init__(self, connection):
                self.connection = connection

            def __getattr__(self, name):
                return getattr(self.connection, name)

            def recv(self, size):
                seen.append(self.connection.recv(size))
                return seen[-1]

        class Tapped(HTTPServer):
            def on_connect(self, connection, client_address=None):
                super().on_connect(Tap(connection), client_address)

        seen = []
        with Tapped("127.0.0.1", 0, Echo, tls=self.files.pair) as server:
            self.assertEqual(self.get(server).status, 200)
        self.assertEqual(b"".join(seen)[:6], b"GET / ")

    def test_a_handshake_in_verify_request(self):
        class Looking(HTTPServer):
            def verify_request(self, request, client_address):
                request.do_handshake()
                return True

        with Looking("127.0.0.1", 0, Echo, tls=self.files.pair) as server:
            self.assertEqual(self.get(server).status, 200)

    def test_a_connection_that_verify_request_refuses(self):
        class Refusing(HTTPServer):
            def verify_request(self, request, client_address):
                return False

        with Refusing("127.0.0.1", 0, Echo, tls=self.files.pair) as server:
            self.assertEqual(self.connect_plainly(server).recv(1), b"")


@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class TestOpenssl(TLSTest):
    def test_s_client_is_answered(self):
        with self.serving() as server:
            done = subprocess.run(
                ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{server.server_address[1]}"],
                input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, timeout=PATIENCE, check=False)
            self.assertIn(b"HTTP/1.1 200 OK", done.stdout)


@unittest.skipUnless(shutil.which("curl"), "curl is not installed")
class TestCurl(TLSTest):
    def test_curl_verifies_and_is_answered(self):
        bundle = self.files.folder / "authority.pem"
        AUTHORITY.cert_pem.write_to_path(str(bundle))
        with self.serving() as server:
            done = subprocess.run(["curl", "-sS", "--cacert", str(bundle), server.url],
                                  capture_output=True, timeout=PATIENCE, check=False)
            self.assertIn(b'"peer": null', done.stdout, done.stderr)
