"""Says hello, and echoes what is posted.

    python examples/echo.py --port 8000
    curl http://localhost:8000/
    curl --data-binary @README.md http://localhost:8000/echo
"""
from _options import options  # --host and --port
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
    HTTPServer(**options(__doc__), handler=Echo).serve()
