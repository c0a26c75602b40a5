"""TLS on a connection: recv, send, shutdown and close over an ssl.SSLSocket that never waits; contexts for servers.

Imported only where TLS is used. Refuses to know turns, and what is said once it is secret.
"""
import re
import socket
import ssl
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from .parser import ProtocolError

SEND_SIZE = 64 << 10  # octets given to OpenSSL at once: it tells of progress only when all of them are out
HTTP_BEGINS = re.compile(rb"[A-Za-z\r\n]")  # as no record of TLS does

CertificateFiles = tuple[str | Path, str | Path]  # the certificate with its chain, and its key, as PEM


def make_context(tls: ssl.SSLContext | CertificateFiles) -> ssl.SSLContext:
    """A context as given, or the standard library's best for a server with these files.

    Raises OSError (ssl.SSLError among them) for files that cannot be used, TypeError for what is none of these.
    """
    if isinstance(tls, ssl.SSLContext):
        if tls.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise TypeError("tls is a context for clients: make one with ssl.create_default_context("
                            "ssl.Purpose.CLIENT_AUTH), or give the two files")
        return tls
    if not isinstance(tls, (tuple, list)) or len(tls) != 2:
        raise TypeError("tls is an ssl.SSLContext, or two files: (certificate, key)")
    certificate, key = tls
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        # It names neither, nor says which of them it is.
        error.strerror = f"{error.strerror}: one of the PEM files {certificate} (certificate) and {key} (key)"
        raise
    context.set_alpn_protocols(["http/1.1"])
    return context


def accept(listener: socket.socket, context: ssl.SSLContext | None) -> tuple[ssl.SSLSocket, Any]:
    """Accepts a connection without waiting for its handshake; from a listener that was wrapped by its owner, too."""
    plain, address = socket.socket.accept(listener)
    try:
        # An SSLSocket's accept gives a copy of its own class; what it is made of is what is wanted here.
        plain = socket.socket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        if context is None:
            context = listener.context  # type: ignore[attr-defined]
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address
    except BaseException:
        plain.close()
        raise


class TLSConnection:
    """A connection over TLS. What would wait raises BlockingIOError.

    As with any connection, recv waits for octets and send for room, unless `recv_wants_write` or `send_wants_read` says
    that the last one waits for the other. The handshake happens in the first recv. A failed one raises ConnectionError.
    """

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self.sslsocket = connection
        self.recv_wants_write = self.send_wants_read = False
        self.held = 0  # octets of which OpenSSL may have sent a part, without saying so
        self._has_begun = False
        self.speaks_http = False  # whether the client speaks HTTP where TLS is expected
        self.is_cut = False  # whether it is aborted: without close_notify
        # OpenSSL's state is one thread's at a time, and programs send while they receive. Not where a program has made
        # the socket wait: that would let nobody send until the client has.
        self._lock = threading.Lock()

    def recv(self, size: int, /) -> bytes:
        """Octets that have come, all that were decrypted: a poll would not show them. Raises ProtocolError(400)."""
        if not self._has_begun:
            self._begin()
        if self.speaks_http:
            return socket.socket.recv(self.sslsocket, size)
        self.recv_wants_write = False
        try:
            pieces = [self._attempt(self.sslsocket.recv, size)]
        except BlockingIOError as error:
            self.recv_wants_write = isinstance(error.__cause__, ssl.SSLWantWriteError)
            raise
        while self.sslsocket.pending():
            pieces.append(self._attempt(self.sslsocket.recv, size))
        return b"".join(pieces)

    def _begin(self) -> None:
        """Looks at the first octet, which OpenSSL would take; it knows some methods, and resets the others."""
        first = socket.socket.recv(self.sslsocket, 1, socket.MSG_PEEK)
        self._has_begun = True
        if HTTP_BEGINS.match(first):
            self.speaks_http = True
            raise ProtocolError(400, "this port speaks https")

    def send(self, data: bytes | memoryview, /) -> int:
        if self.speaks_http:
            return socket.socket.send(self.sslsocket, data)
        piece = data[:SEND_SIZE]
        self.held, self.send_wants_read = len(piece), False
        try:
            sent = self._attempt(self.sslsocket.send, piece)
        except BlockingIOError as error:
            self.send_wants_read = isinstance(error.__cause__, ssl.SSLWantReadError)
            raise
        if sent == b"":
            raise ConnectionError("TLS: the client has ended the connection")
        self.held = 0
        return int(sent)

    def _attempt(self, operation: Any, argument: Any) -> Any:
        try:
            with self._alone():
                return operation(argument)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise ConnectionError(f"TLS: {error.reason or error}") from None

    def _alone(self) -> AbstractContextManager[Any]:
        return self._lock if self.sslsocket.gettimeout() == 0 else nullcontext()

    def setsockopt(self, level: int, name: int, value: Any, /) -> None:
        """As of a socket; with SO_LINGER there is no close_notify, by which what was cut would look whole."""
        self.is_cut = self.is_cut or (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.sslsocket.setsockopt(level, name, value)

    def shutdown(self, how: int, /) -> None:
        """Says that nothing more will be sent, in TLS (close_notify) and below it; then octets are only dropped."""
        self.say_goodbye()
        self.sslsocket.shutdown(how)

    def close(self) -> None:
        self.say_goodbye()
        self.sslsocket.close()

    def say_goodbye(self) -> None:
        """Says that nothing more will be sent (close_notify), if that can be said; without waiting for the client."""
        if self.speaks_http or self.is_cut:
            return
        timeout = self.sslsocket.gettimeout()
        with suppress(OSError, ValueError):  # it has been said, and the client need not answer; or no handshake was
            self.sslsocket.settimeout(0)  # for the client may take its time to say the same
            with self._alone():
                self.sslsocket.unwrap()
        if timeout != 0:
            with suppress(OSError):
                self.sslsocket.settimeout(timeout)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """The client's certificate, if the context asks for one and has verified it: a dict, or as DER."""
        try:
            return self.sslsocket.getpeercert(binary_form)
        except ValueError:  # no handshake yet
            return None

    def fileno(self) -> int:
        return self.sslsocket.fileno()

    def __getattr__(self, name: str) -> Any:
        """What a handler may ask of its socket besides: `getpeername`, `version`, `selected_alpn_protocol`, ..."""
        return getattr(self.sslsocket, name)
