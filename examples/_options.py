"""What the examples share: --host and --port, and finding ownhands in the checkout they lie in."""
import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # last: where ownhands is installed, that one counts


def options(description: str) -> dict[str, Any]:
    """What was typed, as keywords for HTTPServer."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="", help="the address to listen on; all of them, if none is given")
    parser.add_argument("--port", type=int, default=8000, help="8000 if none is given, 0 for a free one")
    return vars(parser.parse_args())
