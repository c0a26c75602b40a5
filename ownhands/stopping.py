"""The end of serving: waits for what is going on, cuts what goes on for too long, and says what that was.

Looks at engines and their threads. Refuses to know what is served.
"""
import math
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

from .connection import ConnectionHandler, cut_off
from .engine import Engine, EngineThread
from .logs import log

SAY_AFTER = 1.0  # seconds of waiting after which somebody at a keyboard will wonder
GIVE_UP_AFTER = 1.0  # seconds that engines have for cutting
TIDY_FOR = 0.5  # seconds that a handler has to notice that its connection was cut


class Stopping:
    """How the serving of `engines` ends. All of it is called by the thread that serves."""

    def __init__(self, engines: Sequence[Engine], name: str, timeout: float, clock: Callable[[], float]) -> None:
        """`name` is that of the handler class; `timeout` in seconds on `clock`."""
        self.engines, self.name, self.timeout, self.clock = engines, name, timeout, clock
        self._began = math.inf
        self._has_said = False

    def is_over(self, is_stopping: bool) -> bool:
        """Whether all has ended. What outlives the timeout is cut."""
        now = self.clock()
        if is_stopping:
            self._began = min(self._began, now)
        if now - self._began >= self.timeout + GIVE_UP_AFTER:
            return True  # an engine is held up outside all turns
        if now - self._began >= self.timeout:
            self.cut()
        elif now - self._began >= SAY_AFTER and not self._has_said and self.timeout < math.inf:
            self._has_said = True
            log.warning("stopping: waiting at most %g s, open connections: %d", self.timeout, self.connections())
        return all(engine.has_ended for engine in self.engines)

    def connections(self) -> int:
        """How many are open: no engine knows those in their first turn yet, their threads do."""
        return (sum(engine.connections for engine in self.engines)
                + sum(thread.connection is not None for thread in self._threads()))

    def cut(self) -> None:
        for engine in self.engines:
            engine.cut()

    def report(self) -> bool:
        """Says what was cut, and ends the connections of threads that are still in a turn. Whether there was any."""
        in_time = "" if self.clock() - self._began < self.timeout else f" in {self.timeout} s"  # or the end was at once
        turns = [turn for engine in self.engines for turn in engine.turns_away()]  # first: what ends has been noted
        undone = [f"{description} was not done{in_time} and is cut"
                  for engine in self.engines for description in engine.undone]
        threads = self._threads()
        frames = sys._current_frames()
        first_turns = {thread.ident: thread.connection for thread in threads if thread.connection is not None}
        for ident, turner in turns:
            found = first_turns.get(ident, turner)
            if isinstance(found, ConnectionHandler):
                found.cut()
            elif ident in first_turns:
                cut_off(found)
            else:
                continue  # it was about to accept
            stack = "".join(traceback.format_stack(frames[ident])) if ident in frames else ""
            undone.append(f"{self.name} did not end{in_time} and is cut:\n{stack}")
        for each in undone:
            log.error("%s", each)
        if undone:
            self._let_tidy(threads)
        return bool(undone)

    def _threads(self) -> list[EngineThread]:
        return [thread for thread in threading.enumerate()
                if isinstance(thread, EngineThread) and thread.engine in self.engines]

    def _let_tidy(self, threads: list[EngineThread]) -> None:
        """Where the process ends with serving, a handler cut in the middle has this long to clear up after itself."""
        until = self.clock() + TIDY_FOR
        for thread in threads:
            thread.join(max(until - self.clock(), 0))
