"""The logger of all modules. A log that fails is no reason to end a connection, or to stop serving.

Refuses to know who logs what, and to configure anything.
"""
import logging
import sys
import traceback
from functools import lru_cache
from typing import Any


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger that raises nothing: what a filter or handler of the program's own raises is shown on stderr."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        try:
            super().log(level, msg, *args, stacklevel=2, **kwargs)
        except Exception:
            if logging.raiseExceptions and sys.stderr is not None:
                traceback.print_exc()


log = Log(logging.getLogger("ownhands"), {})
access_log = logging.getLogger("ownhands.access")


@lru_cache(maxsize=256)
def warn_once(mistake: str) -> None:
    """For what each of many requests would say again: a mistake that may be none, so no client is told of it."""
    log.warning("%s", mistake)
