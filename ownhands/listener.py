"""The listening socket: how it is bound, and the Acceptor, whose turns take connections from its backlog.

Refuses to know what is said on a connection.
"""
import errno
import math
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .logs import log

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]


ACCEPTS_A_TURN = 4  # at least, if there are as many
ACCEPT_FOR = 0.002  # seconds in one turn at most
SPARE_DESCRIPTORS = 64  # that are kept for anything but connections
SHORT_OF_DESCRIPTORS = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
WILDCARDS = frozenset(["", "0.0.0.0", "::"])  # hosts that mean every address
MAPPED = "::ffff:"  # before the address of an IPv4 client
PAUSE = 0.5  # seconds without accepting, when the system is short of descriptors or memory


class Listener(socket.socket):
    """A socket that remembers its family and type: `accept` asks for both, and to convert them takes as long again."""

    __slots__ = ("family", "type")

    def __init__(self, family: socket.AddressFamily, type: socket.SocketKind = socket.SOCK_STREAM, proto: int = 0,
                 fileno: int | None = None) -> None:
        super().__init__(family, type, proto, fileno)
        self.family, self.type = family, type  # type: ignore[misc]  # slots in front of the properties

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket's own, which asks besides whether it would wait."""
        fd, address = self._accept()  # type: ignore[attr-defined]
        return socket.socket(self.family, self.type, self.proto, fd), address


def bind(host: str, port: int, backlog: int, reuse_address: bool) -> socket.socket:
    """A listening socket; the empty host means every address, IPv6 and IPv4 together where the system can.

    Raises OSError, socket.gaierror for an unknown host among them, and OverflowError for no such port.
    """
    if not 0 <= port <= 65535:
        raise OverflowError("a port is a number from 0 to 65535")  # getaddrinfo would take what is left of it
    if not host and socket.has_dualstack_ipv6():
        try:
            return _listen(socket.AF_INET6, ("::", port), backlog, reuse_address, dualstack=True)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise  # only where IPv6 is switched off does IPv4 do instead
    name = host.encode() if host.isascii() else host  # what has an IDN takes long to encode, and imports much for it
    found = socket.getaddrinfo(name or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return _listen(family, address, backlog, reuse_address)


def _listen(family: socket.AddressFamily, address: tuple[Any, ...], backlog: int, reuse_address: bool,
            dualstack: bool = False) -> socket.socket:
    listener = Listener(family)
    try:
        if reuse_address:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        listener.bind(address)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def prepare(listener: socket.socket) -> None:
    """Makes a listener, also one of a program's own, fit for the engine: no waiting, and none of Nagle's algorithm.

    Accepted connections inherit the latter.
    """
    listener.setblocking(False)
    with suppress(OSError):  # it need not be TCP's
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def describe_url(scheme: str, host: str, port: int) -> str:
    """The URL to click for a host and port that were listened on."""
    if host in WILDCARDS:
        host = "localhost"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def client_address_of(address: Any) -> Any:
    """The address that accept gave, of an IPv4 client of a listener for both as on one for IPv4 (RFC 4291 2.5.5.2).

    What is compared with it, to let somebody in or keep him out, would not know the other form.
    """
    if type(address) is tuple and str(address[0]).startswith(MAPPED):
        return address[0].removeprefix(MAPPED), address[1]
    return address


def max_descriptors() -> int:
    """How many connections the system lets this process have, by its limit of open files."""
    if resource is None:
        return sys.maxsize
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(limit - SPARE_DESCRIPTORS, limit // 2)


def raise_descriptor_limit(connections: int) -> None:
    """Allows for so many connections, as far as the system lets it. For programs: the limit is the process's."""
    if resource is None or max_descriptors() >= connections:
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = connections + SPARE_DESCRIPTORS
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    except (OSError, ValueError) as error:
        log.debug("the limit of open files stays as it is: %s", error)


def without_waiting(connection: Any) -> Any:
    """The connection as handlers in turns take it: a socket that raises rather than waits; others as they are."""
    if type(connection) is socket.socket:  # as most; what follows takes its time to find out what it is not
        connection.setblocking(False)
        return connection
    if hasattr(connection, "setblocking"):
        connection.setblocking(False)
    if hasattr(connection, "do_handshake") and not hasattr(connection, "sslsocket"):  # an ssl.SSLSocket as it is
        from .tls import TLSConnection  # ssl takes longer to import than all the rest
        return TLSConnection(connection)
    return connection


class Acceptor:
    """Takes connections and hands them to `process_request`, as BaseServer does. Its turns may overlap."""

    close_connection = False
    wants_write = is_lingering = False
    is_idle = needs_thread = True

    def __init__(self, server: Any, clock: Any, gives_way: Callable[[], bool] = bool,
                 has_room: Callable[[], bool] = lambda: True, life: Any = None,
                 others_lead: Callable[[], list[bool]] = list) -> None:
        """`server` is a BaseServer that says whether `setup_may_wait`, and `is_stopping`; `clock` gives seconds.

        `gives_way` is asked before each first turn: whether another thread leads from there on, so that this one
        accepts no more. Not before accepting: the next leader would find the same connection, and one after it.
        `has_room` says whether one more may be accepted at all; `life` of its server is what the acceptor is for;
        `others_lead` says of each other engine of the server whether a thread leads there, and could accept.
        """
        self.life, self.others_lead = life, others_lead
        self.server, self.clock, self.gives_way, self.has_room = server, clock, gives_way, has_room
        self.deadline = math.inf  # while it is not, nothing is accepted
        self._over = clock()  # when its last turn was; of several at once, one
        self._last_ones = server.request_queue_size  # to be accepted when it stops: as many as may wait then

    def take_turn(self) -> None:
        """Accepts for as long as other connections had their turns since the last time.

        If it took less, many busy connections would keep new ones waiting; if it took more, the other way about.
        """
        began = self.clock()
        until = began + min(began - self._over, ACCEPT_FOR)
        accepted = 0
        while self.has_room() and not self.close_connection and self._accept(self.gives_way):
            accepted += 1
            if accepted >= ACCEPTS_A_TURN and self.clock() >= until:
                break
        if self.server.is_stopping:
            self._last_ones -= max(accepted, 1)
            self.close_connection = self._last_ones <= 0
        self._over = self.clock()

    def refuse_turn(self) -> None:
        """No thread is free: connections wait in the engine rather than in the backlog, so that they are answered.

        Not where one would hold this thread from its beginning, as of a socketserver handler; nor while another engine
        has a thread for it. Of several engines each takes one at a time.
        """
        others = self.others_lead()
        if any(others):
            return
        # Not for long, as `verify_request` may take its time, and nobody leads meanwhile.
        until = self.clock() + (0 if others else ACCEPT_FOR)
        while not self.server.setup_may_wait and self.has_room() and self._accept() and self.clock() < until:
            pass

    @property
    def is_paused(self) -> bool:
        """Whether nothing is accepted until the deadline."""
        return self.deadline < math.inf

    def expire(self) -> None:
        """The pause is over."""
        self.deadline = math.inf

    def abandon(self) -> None:
        self.close_connection = True

    def _accept(self, gives_way: Callable[[], bool] = bool) -> bool:
        """Accepts one; False if there was none, or it was the last to be accepted here. Nothing is raised."""
        try:
            request, client_address = self.server.get_request()
        except OSError as error:
            if error.errno in SHORT_OF_DESCRIPTORS:
                log.warning("cannot accept connections, pausing for %s s: %s", PAUSE, error)
                self.deadline = self.clock() + PAUSE
            return False
        is_last = gives_way()
        try:
            if self.server.verify_request(request, client_address):
                self.server.process_request(request, client_address)
            else:
                self.server.shutdown_request(request)
        except (Exception, SystemExit):
            try:
                self.server.handle_error(request, client_address)
            finally:
                self.server.shutdown_request(request)
        return not is_last
