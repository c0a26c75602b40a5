"""How to test a handler: no port, no thread, no waiting.

    python examples/test_hello.py
    python -m nose2 -s examples test_hello
"""
import unittest

from hello import Hello
from ownhands import HTTPServer
from ownhands.testing import MockClient


class HelloTest(unittest.TestCase):
    def setUp(self) -> None:
        self.client = MockClient(HTTPServer(handler=Hello))

    def test_says_hi(self) -> None:
        reply = self.client("/hellow/orld/", accept="text/plain")
        self.assertEqual((reply.status, reply.text), (200, "Hi there!\n"))

    def test_takes_no_post(self) -> None:
        reply = self.client("/", method="POST", body=b"Hi yourself")
        self.assertEqual((reply.status, reply.fields["Allow"]), (405, "GET, HEAD, OPTIONS"))


if __name__ == "__main__":
    unittest.main()
