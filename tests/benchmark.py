"""Measures ownhands beside other servers, one after the other in the same run: `python tests/benchmark.py`.

The server is held on one processor, the load on another, where there are two. Figures are medians over the rounds;
machines drift, so read the ratios. Needs wrk and ab; the peers are installed into a virtual environment of their own.
"""
import argparse
import importlib.metadata
import os
import platform
import re
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGES = ["waitress", "cheroot", "gunicorn", "uvicorn", "httptools", "uvloop", "h11", "granian", "bjoern", "fastpysgi"]
OWN = f"{{python}} {HERE}/benchmark_servers.py {{name}} {{port}}"
SERVERS = dict.fromkeys(
    ["ownhands", "bare-threads", "http.server", "waitress", "cheroot", "bjoern", "fastpysgi"], OWN) | {
    "gunicorn": "{bin}/gunicorn -w 1 --threads 8 -b 127.0.0.1:{port} --log-level critical benchmark_servers:wsgi",
    "uvicorn-h11": "{bin}/uvicorn --http h11 --loop asyncio --no-access-log --log-level critical --port {port} "
                   "benchmark_servers:asgi",
    "uvicorn-c": "{bin}/uvicorn --http httptools --loop uvloop --no-access-log --log-level critical --port {port} "
                 "benchmark_servers:asgi",
    "granian": "{bin}/granian --interface wsgi --port {port} --workers 1 --no-ws --log-level critical "
               "benchmark_servers:wsgi",
}
WRK = "wrk -t1 -d{seconds}s --latency"
LOADS = {  # what is asked; figures that end in _ms are better when small
    "keep1": f"{WRK} -c1 {{url}}", "keep10": f"{WRK} -c10 {{url}}", "keep100": f"{WRK} -c100 {{url}}",
    "p99_ms": f"{WRK} -c100 {{url}}",
    "vary10": f"{WRK} -c10 -s {HERE}/benchmark.lua {{url}}", "post10": f"{WRK} -c10 -s {HERE}/benchmark_post.lua {{url}}",
    "close1": "ab -r -q -n 3000 -c 1 {url}", "close10": "ab -r -q -n 8000 -c 10 {url}",
    "close1000": "ab -r -q -n 8000 -c 1000 {url}",
    "fair100": f"{{python}} {HERE}/benchmark_client.py fairness {{port}} 100 {{seconds}} /",
    "fair1000": f"{{python}} {HERE}/benchmark_client.py fairness {{port}} 1000 {{seconds}} /",
}
# Beside what the handlers of ownhands do: a load, and how it is told.
HANDLERS = {
    "sleep 1 ms, 10 clients: of the ideal": ("/sleep/1", 10, 10 / 0.001),
    "sleep 20 ms, 10 clients: of the ideal": ("/sleep/20", 10, 10 / 0.020),
    "sleep 20 ms, 50 clients: of the ideal": ("/sleep/20", 50, 50 / 0.020),
}


def prefix(cpu):
    return ["taskset", "-c", str(cpu)] if (os.cpu_count() or 1) > 1 and sys.platform == "linux" else []


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


class Server:
    """A server of that name in a process of its own, up on entry and gone on exit."""

    def __init__(self, name, python):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.python = python
        self.command = shlex.split(SERVERS.get(name, OWN).format(
            name=name, port=self.port, python=python, bin=Path(python).parent))

    def __enter__(self):
        self.process = subprocess.Popen(
            [*prefix(0), *self.command], cwd=HERE, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return self
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        raise RuntimeError("it did not start")

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def load(self, command, seconds, path=""):
        """Starts a load on the other processor."""
        words = shlex.split(command.format(url=self.url + path, port=self.port, seconds=seconds, python=self.python))
        return subprocess.Popen([*prefix(1), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def measure(self, name, seconds):
        output, _ = self.load(LOADS[name], seconds).communicate(timeout=60 + 4 * seconds)
        return read_figure(output, wants_p99=name.endswith("_ms"))


def read_figure(output, wants_p99=False):
    """Requests per second, the 99th percentile in milliseconds, or the one number that was printed; nan for a failure."""
    if re.search(r"Failed requests:\s+[1-9]|Non-2xx|Socket errors", output):
        return float("nan")
    if wants_p99:
        value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    found = re.search(r"Requests/sec:\s+([\d.]+)|Requests per second:\s+([\d.]+)|^([\d.]+)$", output, re.MULTILINE)
    return float(next(group for group in found.groups() if group)) if found else float("nan")


def measure_peers(names, loads, rounds, seconds, python):
    """Medians by server and load."""
    taken = {name: {load: [] for load in loads} for name in names}
    for _ in range(rounds):
        for name in names:
            try:
                with Server(name, python) as server:
                    for load in loads:
                        taken[name][load].append(server.measure(load, seconds))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name}: {error}", file=sys.stderr)
    return {name: {load: statistics.median(values) if values else float("nan") for load, values in by_load.items()}
            for name, by_load in taken.items()}


def measure_handlers(seconds, python):
    """What is left of the ideal where handlers sleep, and what others notice of that: rows of name and figure."""
    rows = []
    for name, (path, clients, ideal) in HANDLERS.items():
        for server_name in ("ownhands", "pool-64"):
            with Server(server_name, python) as server:
                output, _ = server.load(f"{WRK} -c{clients} {{url}}", seconds, path[1:]).communicate()
                rows.append((f"{name} ({server_name})", read_figure(output) / ideal))
    with Server("ownhands", python) as server:
        alone = server.measure("keep10", seconds)
    with Server("ownhands", python) as server:
        beside = server.load(f"{WRK} -c10 {{url}}", seconds + 2, "sleep/20")
        time.sleep(1)
        rows.append(("quick beside 10 clients that sleep 20 ms: of quick alone", server.measure("keep10", seconds) / alone))
        beside.wait()
    with Server("ownhands", python) as server:
        beside = server.load(f"{WRK} -c10 {{url}}", seconds + 2, "compute/20")
        time.sleep(1)
        output, _ = server.load("{python} " + f"{HERE}/benchmark_client.py latency {{port}} 1 {{seconds}} /",
                                seconds).communicate()
        rows.append(("quick beside 10 clients that compute 20 ms: p99 in ms", read_figure(output)))
        beside.wait()
    return rows


def print_table(title, names, columns, cell):
    print(f"\n{title}\n\n| server |" + "".join(f" {column} |" for column in columns))
    print("| --- |" + " ---: |" * len(columns))
    for name in names:
        print(f"| {name} |" + "".join(f" {cell(name, column)} |" for column in columns))


def ratio(medians, name, load):
    own, peer = medians["ownhands"][load], medians[name][load]
    return f"{(peer / own if load.endswith('_ms') else own / peer) if own and peer else float('nan'):.2f}"


def make_environment(folder):
    """A virtual environment with the peers; gives its Python."""
    python = Path(folder) / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for package in PACKAGES:  # one by one: some need a compiler, and are left out without
            subprocess.run([python, "-m", "pip", "install", "-q", package], check=False)
    return python


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each load")
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--environment", default=str(Path(tempfile.gettempdir()) / "ownhands-benchmark"),
                        help="the folder of the virtual environment; kept, and used again")
    options = parser.parse_args()
    python = make_environment(options.environment)
    names, loads = options.servers.split(","), options.loads.split(",")
    medians = measure_peers(names, loads, options.rounds, options.seconds, python)
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs")
    print_table("Requests per second; p99 in milliseconds; the slowest connection's share of the mean", names, loads,
                lambda name, load: f"{medians[name][load]:.2f}" if load.startswith(("p99", "fair"))
                else f"{medians[name][load]:.0f}")
    if "ownhands" in names:
        print_table("ownhands in relation to each, above 1 is ahead", [name for name in names if name != "ownhands"],
                    loads, lambda name, load: ratio(medians, name, load))
        print("\n| handlers that block | figure |\n| --- | ---: |")
        for row, figure in measure_handlers(options.seconds, python):
            print(f"| {row} | {figure:.2f} |")
    found = {package.metadata["Name"]: package.version
             for package in importlib.metadata.distributions(path=[str(next(python.parent.parent.glob("lib/*/site-*")))])}
    print("\nVersions: " + ", ".join(f"{name} {found[name]}" for name in PACKAGES if name in found))


if __name__ == "__main__":
    main()
