"""Says hello, and echoes what is posted.

    python examples/echo.py --port 8000
    curl http://localhost:8000/
    curl --data-binary @README.md http://localhost:8000/echo
"""
import argparse

from ownhands import HTTPError, HTTPServer, Request, RequestHandler, Response


class Echo(RequestHandler):
    def do_GET(self, request: Request) -> Response:
        if request.path != "/":
            raise HTTPError(404, "there is / and /echo")
        return Response("Hello! Post something to /echo.\n")

    def do_POST(self, request: Request) -> Response:
        if request.path != "/echo":
            raise HTTPError(404, "post to /echo")
        return Response(request.content, content_type=request.fields.get("Content-Type", "application/octet-stream"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    HTTPServer(options.host, options.port, Echo).serve()
