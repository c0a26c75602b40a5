"""CPython's own tests of http.server and what builds on it, under ownhands.compat.patch().

    python tests/dropin/cpython.py

Every test passes but those in EXPECTED, each with the reason; one of them that passes is an error as well.
"""
import sys
import unittest
from importlib.util import find_spec

from ownhands import compat

MODULES = ("test_httpservers", "test_socketserver", "test_wsgiref", "test_xmlrpc", "test_docxmlrpc")
EXPECTED = {
    "test_httpservers.BaseHTTPServerTestCase.test_request_line_trimming":
        "the request line ends with a bare LF; such a line is refused, for a proxy may see another end (RFC 9112 2.2)",
    "test_httpservers.BaseHTTPServerTestCase.test_version_none_get":
        "a request line without a version, HTTP/0.9, is refused: it has no fields and so no Host (RFC 9112 3)",
    "test_httpservers.SimpleHTTPServerTestCase.test_path_without_leading_slash":
        "a request target that begins with no slash is of none of the four forms (RFC 9112 3.2)",
}


def name_of(test: unittest.TestCase) -> str:
    return test.id().removeprefix("test.")


def main() -> int:
    if find_spec("test") is None or find_spec("test.test_httpservers") is None:
        print("this Python comes without its tests: skipped")
        return 0
    with compat.patch():
        suite = unittest.defaultTestLoader.loadTestsFromNames(f"test.{module}" for module in MODULES)
        result = unittest.TextTestRunner(verbosity=1, stream=sys.stdout).run(suite)
    failed = {name_of(getattr(test, "test_case", test)) for test, _ in result.failures + result.errors}
    for name in sorted(failed & EXPECTED.keys()):
        print(f"as expected: {name}: {EXPECTED[name]}")
    for name in sorted(failed - EXPECTED.keys()):
        print(f"NOT EXPECTED TO FAIL: {name}")
    for name in sorted(EXPECTED.keys() - failed):
        print(f"EXPECTED TO FAIL: {name}")
    return int(failed != EXPECTED.keys())


if __name__ == "__main__":
    sys.exit(main())
