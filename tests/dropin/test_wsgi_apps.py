"""Applications of frameworks as PyPI has them, called by WSGIHandler, over a real port and its real client."""
import http.client
import io
import logging
import tempfile
import unittest
import unittest.mock
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import bottle
import django
import flask
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler as DjangoApplication
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path
from nose2.tools import params

from ownhands import HTTPServer
from ownhands.wsgi import WSGIHandler

logging.getLogger("django").setLevel(logging.CRITICAL)
FOLDER = tempfile.TemporaryDirectory()
BIG = Path(FOLDER.name) / "big.bin"
BIG.write_bytes(bytes(range(256)) * 2000)
BOUNDARY = "d0e1"
FORM = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="note"\r\n\r\nhi\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="upload"; filename="a.txt"\r\n\r\ncontent\r\n'
        f"--{BOUNDARY}--\r\n").encode()

if not settings.configured:  # at once: test loaders look at what is imported here, and settings refuse before that
    settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="x", ALLOWED_HOSTS=["127.0.0.1"], DEBUG=False,
                       MIDDLEWARE=["django.middleware.common.CommonMiddleware"], LOGGING_CONFIG=None)
    django.setup(set_prefix=False)


def tearDownModule() -> None:
    FOLDER.cleanup()


# ---- the same small application, three times ------------------------------------------------------------------------

def make_flask() -> Any:
    app = flask.Flask("dropin", static_folder=FOLDER.name, static_url_path="/files")
    app.secret_key = "x"

    @app.route("/hello/<name>")
    def hello(name: str) -> str:
        flask.session["seen"] = name
        return f"hello {name}, {flask.request.args.get('q', '')}, {flask.request.remote_addr}"

    @app.post("/form")
    def form() -> str:
        return flask.request.form["note"] + "," + flask.request.files["upload"].read().decode()

    @app.post("/raw")
    def raw() -> bytes:
        return flask.request.get_data()

    @app.route("/count")
    def count() -> flask.Response:
        return flask.Response((f"{number}\n" for number in range(3)), content_type="text/plain")

    @app.route("/file")
    def file() -> flask.Response:
        return flask.send_file(BIG, conditional=True)

    @app.route("/fails")
    def fails() -> str:
        raise ValueError("secret")

    app.logger.disabled = True
    return app


def make_bottle() -> Any:
    app = bottle.Bottle()

    @app.route("/hello/<name>")
    def hello(name: str) -> str:
        bottle.response.set_cookie("seen", "yes")
        return f"hello {name}, {bottle.request.query.q}, {bottle.request.remote_addr}"

    @app.post("/form")
    def form() -> str:
        return bottle.request.forms.note + "," + bottle.request.files.upload.file.read().decode()

    @app.post("/raw")
    def raw() -> bytes:
        return bottle.request.body.read()  # type: ignore[no-any-return]

    @app.route("/count")
    def count() -> Any:
        bottle.response.content_type = "text/plain"
        for number in range(3):
            yield f"{number}\n"

    @app.route("/file")
    def file() -> Any:
        return bottle.static_file("big.bin", root=FOLDER.name)

    @app.route("/fails")
    def fails() -> str:
        raise ValueError("secret")

    return app


def django_hello(request: Any, name: str) -> HttpResponse:
    response = HttpResponse(f"hello {name}, {request.GET.get('q', '')}, {request.META['REMOTE_ADDR']}")
    response.set_cookie("seen", "yes")
    return response


def django_form(request: Any) -> HttpResponse:
    return HttpResponse(request.POST["note"] + "," + request.FILES["upload"].read().decode())


def django_fails(request: Any) -> HttpResponse:
    raise ValueError("secret")


urlpatterns = [
    path("hello/<name>", django_hello), path("form", django_form),
    path("raw", lambda request: HttpResponse(request.body)),
    path("count", lambda request: StreamingHttpResponse((f"{number}\n" for number in range(3)), "text/plain")),
    path("file", lambda request: FileResponse(BIG.open("rb"))), path("fails", django_fails)]


def make_django() -> Any:
    return DjangoApplication()


APPLICATIONS = {"flask": make_flask, "bottle": make_bottle, "django": make_django}
EACH = [name + suffix for name in APPLICATIONS for suffix in ("", " validated")]


class Served:
    """An application behind a real port, and one keep-alive connection to it."""

    def __init__(self, name: str) -> None:
        application = APPLICATIONS[name.split()[0]]()
        if name.endswith("validated"):
            application = validator(application)
        self.server = HTTPServer("127.0.0.1", 0, WSGIHandler, application=staticmethod(application))

    def __enter__(self) -> "Served":
        self.server.start()
        self.client = http.client.HTTPConnection("127.0.0.1", self.server.server_address[1], timeout=20)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.server.stop()

    def __call__(self, method: str, target: str, body: Any = None, chunked: bool = False,
                 **fields: str) -> tuple[int, bytes, Any]:
        names = {name.replace("_", "-"): value for name, value in fields.items()}
        self.client.request(method, target, body, names, encode_chunked=chunked)
        reply = self.client.getresponse()
        return reply.status, reply.read(), reply.headers


class ApplicationTest(unittest.TestCase):
    @params(*EACH)
    def test_gets_path_query_and_address_and_sets_a_cookie(self, name: str) -> None:
        with Served(name) as served:
            status, content, fields = served("GET", "/hello/%C3%A4%20b?q=%C3%BC")
        self.assertEqual((status, content.decode()), (200, "hello \xe4 b, \xfc, 127.0.0.1"))
        self.assertEqual(("Set-Cookie" in fields, fields["Content-Length"]), (True, str(len(content))))

    @params(*EACH)
    def test_gets_a_form_with_a_file(self, name: str) -> None:
        with Served(name) as served:
            status, content, _ = served("POST", "/form", FORM,
                                        Content_Type=f"multipart/form-data; boundary={BOUNDARY}")
        self.assertEqual((status, content), (200, b"hi,content"))

    @params(*APPLICATIONS, "bottle validated", "django validated")  # Flask reads to the end, which it forbids
    def test_gets_content_in_chunks(self, name: str) -> None:
        with Served(name) as served:
            status, content, _ = served("POST", "/raw", iter([b"a" * 1000, b"b" * 1000]), chunked=True,
                                        Transfer_Encoding="chunked", Content_Type="application/octet-stream")
        self.assertEqual((status, content), (200, b"a" * 1000 + b"b" * 1000))

    @params(*EACH)
    def test_streams(self, name: str) -> None:
        with Served(name) as served:
            status, content, fields = served("GET", "/count")
        self.assertEqual((status, content, fields["Transfer-Encoding"]), (200, b"0\n1\n2\n", "chunked"))

    @params(*EACH)
    def test_sends_a_file(self, name: str) -> None:
        with Served(name) as served:
            status, content, fields = served("GET", "/file")
        self.assertEqual((status, content, fields["Content-Length"]), (200, BIG.read_bytes(), "512000"))

    @params("flask", "bottle", "flask validated", "bottle validated")
    def test_sends_a_range(self, name: str) -> None:
        with Served(name) as served:
            status, content, fields = served("GET", "/file", Range="bytes=10-19")
        self.assertEqual((status, content, fields["Content-Length"]), (206, bytes(range(10, 20)), "10"))

    @params(*EACH)
    def test_answers_head_and_the_connection_goes_on(self, name: str) -> None:
        with Served(name) as served:
            status, content, fields = served("HEAD", "/file")
            again = served("GET", "/count")
        self.assertEqual((status, content, fields["Content-Length"]), (200, b"", "512000"))
        self.assertEqual(again[1], b"0\n1\n2\n")

    @params(*EACH)
    def test_fails_with_500_and_the_connection_goes_on(self, name: str) -> None:
        with Served(name) as served, unittest.mock.patch("sys.stderr", io.StringIO()):
            status, content, _ = served("GET", "/fails")
            again = served("GET", "/count")
        self.assertEqual((status, b"secret" in content, again[0]), (500, False, 200))

    @params(*EACH)
    def test_does_not_find(self, name: str) -> None:
        with Served(name) as served:
            self.assertEqual(served("GET", "/nowhere")[0], 404)


if __name__ == "__main__":
    unittest.main()
