"""Examples and tools as a person runs them: a process, its first line, its end. Refuses to know what they serve."""
import os
import re
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from shutil import which
from types import ModuleType
from unittest import skipUnless

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def load_example(name: str) -> ModuleType:
    """The module of an example, found as `python examples/NAME.py` would find what lies beside it."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return import_module(name)


def needs(program: str):
    """Skips a test or a class where the program is not installed."""
    return skipUnless(which(program), f"{program} is not installed")


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    """Runs a client to its end; raises CalledProcessError, with what it said, if that is a failure."""
    done = subprocess.run(command, capture_output=True, timeout=60, **options)
    if done.returncode:
        raise AssertionError(f"{command} exited with {done.returncode}: {done.stderr[-2000:]!r}")
    return done


class Program:
    """`python examples/NAME.py` on a free port of 127.0.0.1, in a process of its own, from `with` to its end."""

    def __init__(self, name: str, *options: str) -> None:
        self.command = [sys.executable, *options, f"examples/{name}.py", "--host", "127.0.0.1", "--port", "0"]

    def __enter__(self) -> "Program":
        self.errors = tempfile.TemporaryFile("w+")
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(self.command, cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if not found:
            self.stop()
            raise AssertionError(f"{self.command} said {line!r} and {self.said!r}")
        self.url, self.port = found[0], int(found[1])
        return self

    def stop(self) -> int:
        """Ends it as `kill` does, and gives its exit status. What it said on standard error is in `said` then."""
        self.process.terminate()
        try:
            status = self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.errors.seek(0)
        self.said = self.errors.read()
        self.errors.close()
        return status

    def __exit__(self, *_: object) -> None:
        status = self.stop()
        if status or self.said:
            raise AssertionError(f"{self.command} exited with {status} and said {self.said[-2000:]}")
