"""python -m ownhands.run: a program that uses http.server, as it is, on this engine; --check says what stays classic.

Owns the command line and the reading of a program's classes. Refuses to know how they are served.
"""
import ast
import runpy
import socketserver
import sys
import traceback
import types
from collections.abc import Container, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from pkgutil import get_importer
from typing import Any

from . import compat
from .compat_rules import (
    CLASSIC_HANDLER,
    CLASSIC_INIT,
    CLASSIC_SERVER,
    ends_by_serving,
    handler_reasons,
    server_reasons,
)
from .knobs import handler_class

USAGE = """usage: python -m ownhands.run [--check] [--] PROGRAM.py [ARGUMENT ...]
       python -m ownhands.run [--check] -m MODULE [ARGUMENT ...]

Runs a program with ownhands.compat in place of http.server's classes.

--check   imports the program instead, without its main part and up to where it would serve, and says which of its
          classes are served fast and which overrides keep one on socketserver's own path; exits with 1 if there is one
"""
CHECK_NAME = "__ownhands_check__"  # of the program's module while it is checked, so that its main part is not run
SERVERS = frozenset(["HTTPServer", "ThreadingHTTPServer", "HTTPSServer", "ThreadingHTTPSServer"])
HANDLERS = frozenset(["BaseHTTPRequestHandler", "SimpleHTTPRequestHandler"])
SERVED_CLASSIC = dict.fromkeys(  # what is called by a program, and what to do about it
    ["TCPServer", "ThreadingTCPServer", "ForkingTCPServer"], "is socketserver's: classic, use http.server.HTTPServer")
SERVED_CLASSIC |= dict.fromkeys(
    ["make_server", "WSGIServer"], "has wsgiref's handler: classic, use ownhands.wsgi.make_server")
SERVED_CLASSIC |= dict.fromkeys(["SimpleXMLRPCServer", "DocXMLRPCServer"], "is a server of its own: classic")


def main(arguments: list[str]) -> None:
    """Runs the program. Raises SystemExit for a command line that is none, or what the program raises."""
    arguments = list(arguments)
    checks = arguments[:1] == ["--check"]
    if checks:
        del arguments[0]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE, end="")
        return
    is_module = arguments[:1] == ["-m"]
    if is_module or arguments[:1] == ["--"]:
        del arguments[0]
    if not arguments or (arguments[0].startswith("-") and not is_module):
        raise SystemExit(USAGE)
    if is_module and arguments[0] == "http.server":
        raise SystemExit("http.server as a program makes classes of its own: share a folder with python -m ownhands")
    if not is_module:
        _find(arguments[0])
    sys.argv = arguments
    if checks:
        raise SystemExit(report(arguments[0], is_module))
    compat.patch()
    _run(arguments[0], is_module, "__main__")


def _find(program: str) -> None:
    """Raises SystemExit(2), as Python does, where there is no such file or folder."""
    try:
        Path(program).stat()
    except OSError as error:
        print(f"ownhands: cannot run {program}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None


def _run(program: str, is_module: bool, name: str) -> dict[str, Any]:
    """Runs it as Python would, with its folder or the current one first on the path; gives its names."""
    first = str(Path.cwd() if is_module else Path(program).resolve().parent)
    sys.path[:] = [first, *sys.path[not sys.flags.safe_path:]]
    if is_module:
        return runpy.run_module(program, run_name=name, alter_sys=True)
    if get_importer(program) is not None or program.endswith(".pyc"):  # a folder or an archive with a program in it
        return runpy.run_path(program, run_name=name)
    module = types.ModuleType(name)  # not by runpy: that gives __file__ as typed, and takes the module away at the end
    module.__file__ = str(Path(program).absolute())  # as Python does: it holds wherever the program changes to
    sys.modules[name] = module
    exec(compile(Path(program).read_bytes(), module.__file__, "exec", dont_inherit=True), vars(module))
    return vars(module)


# ---- --check --------------------------------------------------------------------------------------------------------

def report(program: str, is_module: bool = False) -> int:
    """Prints a line for each class of the program, and for each override that keeps one classic; 1 if there is one."""
    served: list[Any] = []
    with compat.patch():
        before = set(_classes())
        names = _run_until_it_serves(program, is_module, served)
        found = [each for each in _classes() if each not in before and not _is_standard(each)]
        verdicts = {each.__qualname__: _reasons(each) for each in found}
        for each in (each for server in served for each in (type(server), handler_class(server.RequestHandlerClass))):
            if isinstance(each, type) and (reasons := _reasons(each)):
                verdicts[each.__qualname__] = reasons  # perhaps the standard library's own, such as wsgiref's handler
    path = names.get("__file__")
    notes: list[str] = []
    if path is not None:
        tree = ast.parse(Path(path).read_bytes())
        verdicts |= _unmade_classes(tree, found)
        notes = list(_notes(tree, verdicts))
    for name, reasons in verdicts.items():
        print(f"{name}: {'classic' if reasons else 'fast'}")
        for reason in reasons:
            print(f"    {reason}")
    for note in notes:
        print(note)
    if not verdicts and not notes:
        print("no class that builds on http.server's was found")
    return int(bool(notes) or any(verdicts.values()))


def _run_until_it_serves(program: str, is_module: bool, served: list[Any]) -> dict[str, Any]:
    """Runs a program without its main part; where it would serve, that ends it. Notes servers, and gives its names."""
    def end(server: Any, *_: object, **__: object) -> None:
        served.append(server)
        server.server_close()
        raise SystemExit  # ends a thread in silence, too

    def nothing(*_: object) -> None:
        """No port is needed, it may be in use by this very program; and there is no end to wait for."""
    changes = {"serve_forever": end, "handle_request": end, "shutdown": nothing, "server_bind": nothing,
               "server_activate": nothing}
    before = [(owner, name, vars(owner)[name]) for owner in (compat.HTTPServer, *socketserver.TCPServer.__mro__)
              for name in changes if name in vars(owner)]
    try:
        for owner, name, _ in before:
            setattr(owner, name, changes[name])
        return _run(program, is_module, CHECK_NAME)
    except (Exception, SystemExit) as error:
        if not served:
            raise
        frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
        return next((frame.f_globals for frame in frames if frame.f_globals.get("__name__") == CHECK_NAME), {})
    finally:
        for owner, name, method in before:
            setattr(owner, name, method)


def _classes(roots: tuple[type, ...] = (socketserver.TCPServer, BaseHTTPRequestHandler)) -> Iterator[type]:
    """All that is derived from the classes, in the order they were made."""
    for root in roots:
        each: type
        for each in root.__subclasses__():
            yield each
            yield from _classes((each,))


def _is_standard(found: type) -> bool:
    return found.__module__.partition(".")[0] in sys.stdlib_module_names


def _reasons(found: type) -> list[str]:
    if not issubclass(found, socketserver.BaseServer):
        return handler_reasons(found)
    if not issubclass(found, compat.HTTPServer):
        return [f"{found.__name__} is no subclass of http.server.HTTPServer"]
    return server_reasons(found)


def _unmade_classes(tree: ast.AST, made: list[type]) -> dict[str, list[str]]:
    """Classes that importing does not make, in functions and in the main part: judged by what they define."""
    known = {each.__name__ for each in made}
    servers = SERVERS | {each.__name__ for each in made if issubclass(each, compat.HTTPServer)}
    handlers = HANDLERS | known - servers
    verdicts = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or node.name in known:
            continue
        bases = {_last_name(base) for base in node.bases}
        table = CLASSIC_SERVER if bases & servers else CLASSIC_HANDLER if bases & handlers else None
        if table is None:
            continue
        if table is CLASSIC_SERVER:
            servers |= {node.name}
        else:
            handlers |= {node.name}
        defined = {each.name: each for each in node.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))}
        reasons = [f"{node.name}.{name}: {table[name]}" for name in defined if name in table]
        if table is CLASSIC_HANDLER and "__init__" in defined and not ends_by_serving(defined["__init__"]):
            reasons.append(f"{node.name}.__init__: {CLASSIC_INIT}")
        if "ForkingMixIn" in bases:
            reasons.append(f"ForkingMixIn.process_request: {CLASSIC_SERVER['process_request']}")
        verdicts[node.name] = reasons
    return verdicts


def _notes(tree: ast.AST, told: Container[str]) -> Iterator[str]:
    """Calls of what nothing is put in the place of, but for classes that are told of already."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _last_name(node.func)) in SERVED_CLASSIC and name not in told:
            yield f"line {node.lineno}: {name} {SERVED_CLASSIC[name]}"


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


if __name__ == "__main__":
    main(sys.argv[1:])
