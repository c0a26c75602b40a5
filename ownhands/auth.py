"""Authentication by a name and a password (RFC 7617), asked before any content is read.

Refuses to know what is protected. A wrong password waits for its answer, which is held back without a thread.
"""
import base64
import binascii
import re

from .content import Outgoing
from .handler import RequestHandler
from .messages import HTTPError, Request, Response

_UNSAYABLE = re.compile("[^ -~\xa0-\xff]")  # in a field's value
_BASIC = re.compile(r"basic +([A-Za-z0-9+/=._~-]+)", re.I)


def parse_basic(value: str) -> bytes | None:
    """User and password as they were typed, a colon between them; None for what is no such credentials."""
    match = _BASIC.fullmatch(value)
    if match is None:
        return None
    try:
        return base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return None


def is_same(one: bytes, other: bytes) -> bool:
    """Whether they are equal; the time that it takes says nothing of where they differ, nor of their lengths."""
    from hashlib import sha256  # takes long to import, as hmac does, and most servers ask for no password
    from hmac import compare_digest
    return compare_digest(sha256(one).digest(), sha256(other).digest())


class AuthHandler(RequestHandler):
    """A RequestHandler that serves only who knows `auth`, if that is set. Use it over TLS: it is sent in the clear."""

    auth: str | None = None  # "user:password"
    realm = "ownhands"  # what the browser tells its user
    auth_delay = 1.0  # seconds until the answer to a wrong password

    def setup(self) -> None:
        super().setup()
        self._is_held = False  # whether an answer waits for its time, `deadline`

    def on_head(self, request: Request) -> Response | None:
        """Refuses with 401 who is not known; a wrong password with a delay, and the connection ends then."""
        self.user, self._is_held = "", False
        if self.auth is not None and not self.is_public(request):
            self._authenticate(request, self.auth)
        return super().on_head(request)

    def is_public(self, request: Request) -> bool:
        """Whether everybody may ask this. The default says no."""
        return False

    def _authenticate(self, request: Request, auth: str) -> None:
        realm = _UNSAYABLE.sub("?", self.realm).replace("\\", r"\\").replace('"', r'\"')
        challenge = f'Basic realm="{realm}", charset="UTF-8"'
        value = request.fields.get("Authorization")
        if value is None:
            raise HTTPError(401, "a name and a password are needed", www_authenticate=challenge)
        credentials = parse_basic(value)
        # Octets that are no UTF-8, which an environment may hold, come from there as surrogates.
        if credentials is None or not is_same(credentials, auth.encode("utf-8", "surrogateescape")):
            self._is_held = hasattr(self.connection, "fileno")  # what cannot be watched is answered at once
            self.close_connection = True  # behind the answer, whatever `on_error` makes of it
            raise HTTPError(401, "the name or the password is wrong", www_authenticate=challenge)
        self.user = auth.partition(":")[0]

    # ---- the answer that waits --------------------------------------------------------------------------------------

    def _send_outgoing(self, outgoing: Outgoing) -> None:
        """Sends, or lets the answer wait, watched like any connection: no thread is held."""
        if self._is_held:
            self.deadline, self.wants_write = self._clock() + self.auth_delay, False
        else:
            super()._send_outgoing(outgoing)

    def handle(self) -> None:
        """A turn; input is dropped while an answer waits. A client that has ended its side still gets it."""
        if not self._is_held or self._outgoing is None:
            return super().handle()
        try:
            self.is_paused = self.wants_write = not self.connection.recv(self.receive_size)
        except BlockingIOError:
            pass
        except OSError as error:
            self.client_has_gone(error)

    @property
    def needs_thread(self) -> bool:
        """An answer that waits needs none: what comes meanwhile is dropped."""
        return not self._is_held and super().needs_thread

    def expire(self) -> None:
        """It is time for the answer, or for what any handler does then."""
        if self._is_held and self._outgoing is not None:
            self._is_held = self.is_paused = False
            self.take_turn()
        else:
            super().expire()
