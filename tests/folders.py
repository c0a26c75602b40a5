"""A folder for tests, with files of a known age. Knows no HTTP."""
import os
import tempfile
import unittest
from pathlib import Path

DATE = 1_700_000_000  # when all the files were made
STAMP = "Tue, 14 Nov 2023 22:13:20 GMT"


class FolderTest(unittest.TestCase):
    """A test with a folder of its own, `root`, in which `write` makes files; beside it lies `secret.txt`."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.outside = Path(temporary.name).resolve()
        self.root = self.outside / "root"
        self.root.mkdir()
        self.write("../secret.txt", b"secret")

    def write(self, name: str | bytes, content: bytes = b"content", age: float = 0) -> bytes:
        """A file, in folders that are made; gives its path."""
        path = os.path.join(os.fsencode(self.root), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (DATE - age, DATE - age))
        return path

    def link(self, name: str, target: str) -> None:
        (self.root / name).symlink_to(target)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
