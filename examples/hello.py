"""The smallest handler.

    python examples/hello.py --port 8000
    curl http://localhost:8000/
"""
from _options import options  # --host and --port
from ownhands import HTTPServer, Request, RequestHandler, Response


class Hello(RequestHandler):
    def do_GET(self, request: Request) -> Response:
        return Response("Hi there!\n")


if __name__ == "__main__":
    HTTPServer(**options(__doc__), handler=Hello).serve()
