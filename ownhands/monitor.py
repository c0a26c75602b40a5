"""The monitor: notices, from the thread of serve_forever, a leader that is held up. Awake only while turns run.

Refuses to know what a turn does.
"""
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from .engine import Engine
from .logs import log

QUIET_TICKS = 25  # looks without any activity after which the monitor sleeps


class Monitor:
    """Looks after the engines until `is_over` says so. `wait(seconds or None)` is injected by tests."""

    def __init__(self, engines: Sequence[Engine], wait: Callable[[float | None], None] | None = None) -> None:
        self.engines = engines
        self._alarm: SimpleQueue[None] = SimpleQueue()
        self._wait = wait or self._wait_for_alarm

    def wake(self) -> None:
        """From any thread, and from a signal handler."""
        self._alarm.put(None)

    def run(self, is_over: Callable[[], bool]) -> None:
        """Returns when `is_over`, which is asked at each look; `wake` makes it look."""
        quiet, seen = 0, self._activity()
        while not is_over():
            activity = self._activity()
            quiet, seen = (quiet + 1 if activity == seen else 0), activity
            if quiet >= QUIET_TICKS and not any(engine.needs_monitor for engine in self.engines):
                self._sleep(seen)
                quiet = 0
            else:
                self._wait(min(engine.patience for engine in self.engines))
            for engine in self.engines:
                self._check(engine)

    def _check(self, engine: Engine) -> None:
        try:
            engine.check()
        except Exception:
            log.exception("a look at an engine has failed")  # the next one may not

    def _activity(self) -> list[tuple[int, float]]:
        return [engine.activity for engine in self.engines]

    def _sleep(self, seen: list[tuple[int, float]]) -> None:
        """Until there is activity. Announced before the last look, so that none is missed."""
        for engine in self.engines:
            engine.on_activity = self.wake
        if self._activity() == seen and not any(engine.needs_monitor for engine in self.engines):
            self._wait(None)
        for engine in self.engines:
            engine.on_activity = None

    def _wait_for_alarm(self, timeout: float | None) -> None:
        try:
            self._alarm.get(timeout=timeout)
        except Empty:
            pass
