"""The command line: `python -m ownhands` shares a folder, or serves a handler class or a WSGI application.

Turns what was typed into a server. Refuses to know HTTP.
"""
import argparse
import io
import ipaddress
import logging
import os
import re
import socket
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socketserver import BaseRequestHandler
from typing import Any, NoReturn

from .accesslog import FORMATS
from .handler import RequestHandler
from .knobs import is_knob
from .listener import WILDCARDS, describe_url
from .loading import LoadError, load_object
from .server import HTTPServer
from .version import __version__

DESCRIPTION = """\
Shares a folder over HTTP: a listing that is pleasant to look at, resumed downloads, video in which players can seek,
compression, and nothing outside of the folder. It serves until Ctrl-C.

  python -m ownhands                      the current folder, at http://localhost:8000/
  python -m ownhands ~/Pictures           another one
  python -m ownhands site:app             a WSGI application: the name `app` of the module `site`
  python -m ownhands --handler site:Pages a handler class of your own
"""

EPILOG = """\
examples:
  Send a folder to a phone on the same network: open the second URL there.
      python -m ownhands ~/Pictures
  Collect files from others, who need a password for it:
      OWNHANDS_AUTH=guest:secret python -m ownhands inbox --upload --max-upload 2G
      curl -u guest:secret -T report.pdf http://localhost:8000/
  Only for this computer:
      python -m ownhands --host 127.0.0.1
  Look at what a build tool has made, a single-page application:
      python -m ownhands dist --spa --open
  Serve data to pages of other sites, which keep it for an hour:
      python -m ownhands data --cors --cache 3600
  Encrypted:
      python -m ownhands --tls cert.pem key.pem --port 8443

Whoever can reach the port can read the folder, unless --auth is given. Names that begin with a dot, and links that
lead out of the folder, are refused unless you say otherwise. The log goes to standard error.
"""

_MODULE_AND_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_APPLICATION = re.compile(rf"{_MODULE_AND_NAME.pattern}(?:\(\))?")
_SIZE = re.compile(r"([0-9]+)([KMGT]?)(?:i?B)?", re.I)


class Program(HTTPServer):
    """The server of the command line, which says where it is to be found."""

    what = ""  # that is served, for a person
    hints: tuple[str, ...] = ()  # lines that follow
    opens_browser = False

    def announce(self) -> None:
        """Prints the local and the network URL, and opens the browser if that was asked for."""
        lines = [f"Serving {self.what} on {self.url} (Ctrl-C stops)"]
        address = network_address() if str(self.server_address[0]) in WILDCARDS else None
        if address is not None:
            scheme = self.url.partition(":")[0]
            lines.append(f"On the network: {describe_url(scheme, address, int(self.server_address[1]))}")
        print(*lines, *self.hints, sep="\n", flush=True)  # which takes it that there may be no standard output
        if self.opens_browser:
            import webbrowser  # takes long to import
            threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()


def network_address() -> str | None:
    """The address under which others in the network find this computer, None if there is none. Sends nothing."""
    for family, elsewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((elsewhere, 9))  # chooses a route; with UDP no octet is sent
                address: str = probe.getsockname()[0]
        except OSError:
            continue
        if not ipaddress.ip_address(address).is_loopback:
            return address
    return None


# ---- what was typed -------------------------------------------------------------------------------------------------

def make_parser() -> argparse.ArgumentParser:
    """The options. What was not typed is None, or False, so that a handler class keeps its own knobs."""
    parser = argparse.ArgumentParser(
        "python -m ownhands", description=DESCRIPTION, epilog=EPILOG, add_help=False, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", metavar="DIR|MODULE:APP",
                        help="the folder to share, the current one by default; or a WSGI application")
    add_server_options(parser.add_argument_group("where and how"))
    add_folder_options(parser.add_argument_group("what is served"))
    add_upload_options(parser.add_argument_group("who may, and sending files"))
    other = parser.add_argument_group("other")
    other.add_argument("-h", "--help", action="help", help="this page")
    other.add_argument("--version", action="version", version=f"ownhands {__version__}", help="the version")
    return parser


def add_server_options(group: Any) -> None:
    group.add_argument("--host", default="", metavar="HOST",
                       help="the address to listen on; every one of this computer by default")
    group.add_argument("--port", "-p", type=number("a port number (0 to 65535)", 0, 65535), default=8000,
                       metavar="PORT", help="8000 by default; 0 for a free one")
    group.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"),
                       help="serve https with this certificate and key (PEM files)")
    group.add_argument("--handler", metavar="MODULE:CLASS",
                       help="serve with this class, a RequestHandler or any of socketserver's")
    group.add_argument("--threads", type=number("a number of threads", 1, 99999), metavar="N",
                       help=f"threads that run handlers, {HTTPServer.max_threads} by default; past them requests wait")
    group.add_argument("--max-content", type=parse_size, metavar="SIZE",
                       help="the largest content that is taken for an application or a handler class, as in 500M or "
                            f"2G; {RequestHandler.max_content_size >> 20}M by default")
    group.add_argument("--access-log", choices=[*FORMATS, "none"], default="common", metavar="FORMAT",
                       help="a line for each answer: common (the default), combined, json or none")
    group.add_argument("--open", action="store_true", help="open it in the browser")


def add_folder_options(group: Any) -> None:
    group.add_argument("--index", metavar="NAME",
                       help="the file that is a folder's page; by default index.html, with --upload none; '' for none")
    group.add_argument("--no-listing", action="store_true", help="do not list folders, nor pack them as zip files")
    group.add_argument("--hidden", action="store_true", help="serve names that begin with a dot as well")
    group.add_argument("--follow-symlinks", action="store_true", help="follow links that lead out of the folder")
    group.add_argument("--spa", action="store_true", help="answer unknown paths with the folder's index.html")
    group.add_argument("--cors", action="store_true", help="let pages of other sites read what is served")
    group.add_argument("--cache", type=number("a number of seconds", 0, 9999999999), metavar="SECONDS",
                       help="let browsers reuse an answer for this long without asking; by default they always ask")


def add_upload_options(group: Any) -> None:
    group.add_argument("--auth", type=parse_auth, metavar="USER:PASSWORD",
                       help="ask for this name and password. Others on this computer can see what was typed: the "
                            "environment variable OWNHANDS_AUTH keeps it to yourself")
    group.add_argument("--upload", action="store_true", help="take files: by the page, or with curl -T FILE URL/")
    group.add_argument("--overwrite", action="store_true", help="let an upload take the place of a file of its name")
    group.add_argument("--max-upload", type=parse_size, metavar="SIZE",
                       help="the largest file, as in 500M or 2G; no limit by default")


def number(what: str, least: int, most: int) -> Callable[[str], int]:
    """For an option that is a whole number within limits."""
    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return int(text)
    return parse


def parse_size(text: str) -> int:
    """Octets: 1048576, 1024K and 1M are the same."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500M or 2G")
    return int(match[1]) << (10 * (" KMGT".index(match[2].upper() or " ")))


def parse_auth(text: str) -> str:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("it has to be USER:PASSWORD")
    return text


# ---- what is served -------------------------------------------------------------------------------------------------

def make_server(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Program:
    """The server for what was typed, not yet open. Raises SystemExit, with a line that says why."""
    if options.auth is None and os.environ.get("OWNHANDS_AUTH"):
        try:
            options.auth = parse_auth(os.environ["OWNHANDS_AUTH"])
        except argparse.ArgumentTypeError as error:
            parser.error(f"OWNHANDS_AUTH: {error}")
    knobs = chosen_knobs(options)
    handler, what = choose_handler(parser, options, knobs)
    if not options.upload and (options.overwrite or options.max_upload is not None):
        parser.error("--overwrite and --max-upload go with --upload")
    add_server_knobs(parser, options, handler, knobs)
    try:
        server = Program(options.host, options.port, handler, **knobs)
    except TypeError as error:
        parser.error(f"these options do not fit this handler: {error}")
    except OSError as error:  # of the certificate and the key
        raise SystemExit(f"ownhands: --tls: {error.strerror or error}") from None
    server.what, server.opens_browser = what, options.open
    if options.upload and options.auth is None and options.host in WILDCARDS:
        server.hints = ("Anyone who can reach this server may upload files; --auth USER:PASSWORD asks for a password.",)
    return server


def chosen_knobs(options: argparse.Namespace) -> dict[str, Any]:
    """The options that are class attributes of a handler of folders, those that were typed."""
    knobs = {name: getattr(options, name) for name in ("index", "cache", "auth", "max_upload")
             if getattr(options, name) is not None}
    knobs |= {name: True for name in ("hidden", "follow_symlinks", "spa", "cors", "overwrite")
              if getattr(options, name)}
    if options.no_listing:
        knobs["listing"] = False
    return knobs


def add_server_knobs(parser: argparse.ArgumentParser, options: argparse.Namespace, handler: Any,
                     knobs: dict[str, Any]) -> None:
    """The options of servers of any kind; and refuses what neither the server nor this handler has."""
    given = {"max_threads": options.threads, "max_content_size": options.max_content}
    knobs.update({name: value for name, value in given.items() if value is not None})
    if options.access_log in FORMATS and isinstance(handler, type) and issubclass(handler, RequestHandler):
        knobs["log_format"] = options.access_log
    refuse(parser, f"{options.handler} does not take",
           [name for name in knobs if not is_knob(handler, name) and not is_knob(Program, name)])
    if options.tls is not None:
        knobs["tls"] = tuple(options.tls)


def choose_handler(parser: argparse.ArgumentParser, options: argparse.Namespace,
                   knobs: dict[str, Any]) -> tuple[Any, str]:
    """The handler class, and how a person would call what it serves; may add to the knobs."""
    what = options.what
    if options.handler is not None:
        if options.upload:
            parser.error("--upload is for folders: subclass UploadHandler")
        if what is not None:
            knobs["root"] = what
            find_folder(parser, what)
        found = find_object(parser, options.handler, "handler class")
        if not isinstance(found, type) or not issubclass(found, BaseRequestHandler):
            parser.error(f"{options.handler} is not a handler class")
        return found, options.handler
    if what is not None and _APPLICATION.fullmatch(what) and not os.path.exists(what):  # noqa: PTH110  raises nothing
        refuse(parser, f"{what} is not a folder, and only folders have", ["upload"] * options.upload + [*knobs])
        return find_application(parser, what), what
    if options.max_content is not None:
        parser.error("--max-content is for applications and handler classes; a folder takes --upload and --max-upload")
    knobs["root"] = "." if what is None else what
    path = find_folder(parser, knobs["root"])
    from .files import FileHandler, UploadHandler
    return UploadHandler if options.upload else FileHandler, what or path


def find_folder(parser: argparse.ArgumentParser, typed: str) -> str:
    """The whole path of a folder."""
    try:
        reason = "" if stat.S_ISDIR(os.stat(typed).st_mode) else "is not a folder"  # noqa: PTH116  of "" it makes "."
        path = str(Path(typed).resolve())  # of the current one there is none once it is deleted
    except FileNotFoundError:
        reason = "does not exist"
    except OSError as error:
        reason = f"cannot be looked at: {error.strerror}"
    if reason:
        hint = f"; for a port, type --port {typed}" if typed.isdigit() else ""
        parser.error(f"{typed or repr(typed)} {reason}{hint}")
    return path


def refuse(parser: argparse.ArgumentParser, reason: str, names: list[str]) -> None:
    """Knobs that would not be heeded, as they were typed, if there are any: somebody may rely on them."""
    typed = {"listing": "--no-listing", "auth": "--auth (or OWNHANDS_AUTH)", "root": "a folder",
             "max_content_size": "--max-content"}
    if names:
        parser.error(f"{reason} {', '.join(typed.get(name, '--' + name.replace('_', '-')) for name in names)}")


def find_object(parser: argparse.ArgumentParser, text: str, kind: str) -> Any:
    """What `module:name` means, from the current folder or whatever is installed; no traceback if it is not there."""
    if not _MODULE_AND_NAME.fullmatch(text):
        parser.error(f"{text!r} is not a {kind}: give MODULE:NAME")
    module_name, _, name = text.partition(":")
    look_here()
    try:
        return load_object(module_name, name)
    except LoadError as error:
        parser.error(str(error))


def find_application(parser: argparse.ArgumentParser, text: str) -> Any:
    """A handler class for the WSGI application that `module:name` or `module:make()` means."""
    from .wsgi import load_handler  # costs those nothing who share a folder
    look_here()
    try:
        handler = load_handler(text)
    except LoadError as error:
        parser.error(str(error))
    if isinstance(handler.application, type) and issubclass(handler.application, BaseRequestHandler):
        parser.error(f"{text} is a handler class: give --handler {text}")
    return handler


def look_here() -> None:
    """Modules of the current folder are found, as `python -m` has it, also where ownhands is started another way."""
    with suppress(FileNotFoundError):  # it has been deleted
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, "")


def set_up_logging(access_log: str) -> None:
    """What goes wrong to standard error, and a line for each answer."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    # What no line shows need not be found out (logging's manual, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    setattr(logging, "logAsyncioTasks", False)  # new in Python 3.12
    root = logging.getLogger("ownhands")
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("ownhands.access").setLevel(logging.WARNING if access_log == "none" else logging.INFO)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Serves until it is stopped; raises SystemExit."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    server = make_server(parser, options)
    set_up_logging(options.access_log)
    if isinstance(sys.stdout, io.TextIOWrapper):  # not None: it can be closed
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may be beyond its encoding
    server.serve()
    raise SystemExit(0)


if __name__ == "__main__":
    main()
