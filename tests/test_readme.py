"""The README says what is true: its code runs, its table of limits is that of the classes, its links lead somewhere."""
import re
import unittest
from unittest import mock

from nose2.tools import params

from ownhands import HTTPServer, RequestHandler
from ownhands.testing import MockClient
from tests.programs import ROOT

README = (ROOT / "README.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
LIMITS = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", README.partition("## Limits and deadlines")[2], re.M)
UNITS = {"": 1, "s": 1, "octets/s": 1, "KiB": 1 << 10, "MiB": 1 << 20}


def parse_value(text):
    """`8 KiB` -> 8192."""
    if text == "none":
        return None
    number, _, unit = text.replace(",", "").partition(" ")
    return int(number) * UNITS[unit]


class ReadmeTest(unittest.TestCase):
    @params(*LIMITS)
    def test_default_is_that_of_the_class(self, name, value):
        owner = RequestHandler if hasattr(RequestHandler, name) else HTTPServer
        self.assertEqual(parse_value(value), getattr(owner, name))

    @params(RequestHandler, HTTPServer)
    def test_no_limit_is_missing(self, owner):
        limits = {name for name in dir(owner) if name.startswith("max_") or name.endswith("_timeout")}
        limits -= {name for name in limits if callable(getattr(owner, name))}  # socketserver's handle_timeout
        self.assertEqual(limits - {name for name, _ in LIMITS}, set())

    def test_code_runs_and_its_test_passes(self):
        names = {"__name__": "__main__"}
        with mock.patch.object(HTTPServer, "serve") as serve:
            exec(CODE[0], names)
        serve.assert_called_once_with()
        exec(CODE[1], names)
        result = unittest.defaultTestLoader.loadTestsFromTestCase(names["HelloTest"]).run(unittest.TestResult())
        self.assertEqual((result.testsRun, result.failures, result.errors), (1, [], []))

    def test_code_reads_a_form_with_files(self):
        exec(CODE[2], names := {})
        reply = MockClient(HTTPServer(handler=names["Files"]))(
            method="POST", content_type="multipart/form-data; boundary=B",
            body='--B\r\nContent-Disposition: form-data; name=f; filename="x"\r\n\r\ncontent\r\n--B--\r\n')
        self.assertEqual((reply.status, reply.content), (200, b'{"x": 7}'))

    def test_every_module_is_said_to_be_somewhere(self):
        modules = {path.name for path in (ROOT / "ownhands").glob("*.py")} - {"__init__.py", "version.py"}
        self.assertEqual({name for name in modules if f"(ownhands/{name})" not in README}, set())

    @params(*sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", README))))
    def test_link_leads_somewhere(self, path):
        self.assertTrue((ROOT / path).exists())
