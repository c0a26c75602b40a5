"""An HTML form, posted and answered. What came from outside is escaped before it goes into a page.

    python examples/forms.py --port 8000
    open http://localhost:8000/ in a browser
"""
from html import escape

from _options import options  # --host and --port
from ownhands import HTTPError, HTTPServer, Request, RequestHandler, Response

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Order</title><style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ max-width: 24rem; margin: 3rem auto; padding: 0 1rem }} label {{ display: block; margin: 1rem 0 }}
input, select {{ display: block; width: 100%; box-sizing: border-box; font: inherit; padding: .5rem }}
button {{ font: inherit; padding: .5rem 1.5rem }}
</style>{}</html>"""
TEAS = ["Assam", "Oolong", "Rooibos & vanilla"]
FORM = """<h1>Order tea</h1><form method="post"><label>Your name <input name="name" required maxlength="80"></label>
<label>Tea <select name="tea">{}</select></label><button>Order</button></form>""".format(
    "".join(f"<option>{escape(tea)}</option>" for tea in TEAS))


class Order(RequestHandler):
    def do_GET(self, request: Request) -> Response:
        return Response.html(PAGE.format(FORM))

    def do_POST(self, request: Request) -> Response:
        name, tea = request.form.get("name", "").strip(), request.form.get("tea")
        if not name or tea not in TEAS:
            raise HTTPError(400, "an order has a name, and a tea from the list")
        return Response.html(PAGE.format(f"<h1>Thank you, {escape(name)}</h1><p>A cup of {escape(tea)} is on its way."))


if __name__ == "__main__":
    HTTPServer(**options(__doc__), handler=Order).serve()
