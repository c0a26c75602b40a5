"""The smallest handler.

    python examples/hello.py --port 8000
    curl http://localhost:8000/
"""
import argparse

from ownhands import HTTPServer, Request, RequestHandler, Response


class Hello(RequestHandler):
    def do_GET(self, request: Request) -> Response:
        return Response("Hi there!\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    HTTPServer(options.host, options.port, Hello).serve()
