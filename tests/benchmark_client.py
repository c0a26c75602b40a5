"""Loads that need to know each connection: `benchmark_client.py fairness|latency PORT CONNECTIONS SECONDS PATH`.

Prints one figure: the slowest connection's share of the mean, or the 99th percentile in milliseconds.
"""
import select
import socket
import statistics
import sys
import time


def run(port, connections, seconds, path):
    """Asks again on each connection as soon as it is answered; gives for each the seconds that each answer took."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    poller, open_ones = select.epoll(), {}
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        poller.register(connection, select.EPOLLIN)
        open_ones[connection.fileno()] = [connection, 0.0, []]
    for each in open_ones.values():
        each[0].sendall(request)
        each[1] = time.perf_counter()
    end = time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        for fd, _ in poller.poll(0.1):
            each = open_ones[fd]
            if not each[0].recv(65536):
                raise ConnectionError("the server has closed a connection")
            now = time.perf_counter()
            each[2].append(now - each[1])
            each[1] = now
            each[0].sendall(request)
    return [each[2] for each in open_ones.values()]


def fairness(taken):
    counts = [len(each) for each in taken]
    return min(counts) / statistics.mean(counts)


def latency(taken):
    every = sorted(seconds for each in taken for seconds in each)
    return every[int(len(every) * 0.99)] * 1000


if __name__ == "__main__":
    kind, port, connections, seconds, path = sys.argv[1:]
    print(globals()[kind](run(int(port), int(connections), float(seconds), path)))
