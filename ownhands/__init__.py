"""ownhands: the HTTP server you can subclass."""
from typing import TYPE_CHECKING, Any

from .connection import ConnectionHandler
from .fields import Fields
from .handler import RequestHandler
from .messages import HTTPError, Request, Response
from .parser import ProtocolError
from .server import HTTPServer
from .version import __version__

if TYPE_CHECKING:
    from .files import FileHandler, UploadHandler

__all__ = ["ConnectionHandler", "Fields", "FileHandler", "HTTPError", "HTTPServer", "ProtocolError", "Request",
           "RequestHandler", "Response", "UploadHandler", "__version__"]


def __getattr__(name: str) -> Any:
    """FileHandler and UploadHandler are imported when they are asked for: a server of something else needs neither."""
    if name in ("FileHandler", "UploadHandler"):
        from . import files
        return getattr(files, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
