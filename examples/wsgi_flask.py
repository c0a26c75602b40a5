"""A Flask application, unchanged, on ownhands. It needs Flask: pip install flask

    python examples/wsgi_flask.py --port 8000
    curl http://localhost:8000/hello/Ada
    curl -N http://localhost:8000/count

Or leave the last seven lines out: python -m ownhands wsgi_flask:app
"""
# mypy: disable-error-code="import-not-found, untyped-decorator, no-any-return, unused-ignore"
from collections.abc import Iterator

from flask import Flask, Response, render_template_string

from _options import options  # --host and --port
from ownhands import HTTPServer
from ownhands.wsgi import WSGIHandler

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return render_template_string("<h1>Hello {{ name }}!</h1>\n", name=name)


@app.get("/count")
def count() -> Response:
    def lines() -> Iterator[str]:
        for number in range(10):
            yield f"{number}\n"  # each goes out before the next is asked for
    return Response(lines(), content_type="text/plain")


class Handler(WSGIHandler):
    application = app


if __name__ == "__main__":
    HTTPServer(**options(__doc__), handler=Handler).serve()
