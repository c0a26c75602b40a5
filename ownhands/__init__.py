"""ownhands: the HTTP server you can subclass."""
from .connection import ConnectionHandler
from .handler import RequestHandler
from .messages import Fields, HTTPError, Request, Response
from .parser import ProtocolError
from .server import HTTPServer
from .version import __version__

__all__ = ["ConnectionHandler", "Fields", "HTTPError", "HTTPServer", "ProtocolError", "Request", "RequestHandler",
           "Response", "__version__"]
