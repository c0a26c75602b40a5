"""An engine without time: its clock stands until a test moves it, and its poller finds ready what a test says.

Threads are real; a test waits until the leader waits, never for a time.
"""
import logging
import math
import select
import socket
import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from ownhands.engine import Engine, EngineThread
from ownhands.polling import READ, WRITE
from ownhands.watch import Caution

PATIENCE = 20  # seconds until a test that hangs fails


def wait_for(condition: Callable[[], Any]) -> None:
    """Lets other threads run until the condition holds; for what comes a moment after all that can be waited for."""
    until = monotonic() + PATIENCE
    while not condition():
        if monotonic() > until:
            raise AssertionError("it does not come true")
        sleep(0)


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakePoller:
    """Level-triggered, like the real ones, for descriptors that a test has called ready, once for each call."""

    def __init__(self) -> None:
        self.registered: dict[int, int] = {}
        self.log: list[tuple[str, int]] = []
        self.timeouts: list[float | None] = []
        self.polls = 0
        self.sizes: list[int] = []
        self.is_closed = False
        self.refuses: set[int] = set()
        self._waker = -1
        self._ready: list[tuple[int, int]] = []
        self._condition = threading.Condition()
        self._waiting = False
        self._reader, self._writer = socket.socketpair()

    def register(self, fd: int, events: int, /) -> None:
        if fd in self.refuses:
            raise OSError(28, "no space left for another")
        if fd in self.registered:
            raise FileExistsError(fd)
        if self._waker < 0:
            self._waker = fd  # the engine's own comes first
        self._note("register", fd)
        self.registered[fd] = events

    def modify(self, fd: int, events: int, /) -> None:
        self._note("modify", fd)
        self.registered[fd] = events

    def unregister(self, fd: int, /) -> None:
        if fd not in self.registered:
            raise FileNotFoundError(fd)
        self._note("unregister", fd)
        del self.registered[fd]

    def poll(self, timeout: float | None, maxevents: int, /) -> list[tuple[int, int]]:
        self.polls += 1
        self.sizes.append(maxevents)
        found = self._take()
        if found or timeout == 0:
            return found
        with self._condition:
            self.timeouts.append(timeout)
            if any(self.registered.get(fd, 0) & event for fd, event in self._ready):
                return []
            self._waiting = True
            self._condition.notify_all()
        readable, _, _ = select.select([self._waker, self._reader], [], [], PATIENCE)
        if self._reader in readable:
            self._reader.recv(1)
        self._waiting = False
        return self._take()

    def close(self) -> None:
        self.is_closed = True
        self._reader.close()
        self._writer.close()

    def ready(self, fd: int, event: int = READ) -> None:
        """Makes one poll find it, as soon as it is registered for that."""
        with self._condition:
            self._ready.append((fd, event))
            self._nudge()

    def elapse(self) -> None:
        """Makes a poll end, as when its time is over."""
        with self._condition:
            self._nudge()

    def settle(self) -> None:
        """Waits until the leader waits."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._waiting and not self._has_octets(), PATIENCE):
                raise AssertionError("the leader does not come to rest")

    def _nudge(self) -> None:
        self._waiting = False
        self._writer.send(b"x")

    def _has_octets(self) -> bool:
        return bool(select.select([self._waker, self._reader], [], [], 0)[0])

    def _take(self) -> list[tuple[int, int]]:
        with self._condition:
            found = [(fd, event) for fd, event in self._ready if self.registered.get(fd, 0) & event]
            self._ready = [pair for pair in self._ready if pair not in found]
            if self._waker in select.select([self._waker], [], [], 0)[0]:
                found.append((self._waker, READ))
            return found

    def _note(self, what: str, fd: int) -> None:
        if fd != self._waker:
            self.log.append((what, fd))


class FakeTurner:
    """Notes what is done to it, and by whom; a `step` is what its next turn does."""

    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.name, self.log = name, [] if log is None else log
        self.close_connection = False
        self.deadline = math.inf
        self.wants_write = self.is_lingering = self.is_paused = False
        self.is_idle = self.needs_thread = True
        self.threads: list[threading.Thread] = []
        self.steps: list[Callable[[], None]] = []
        self.turns = threading.Semaphore(0)

    def take_turn(self) -> None:
        self._do("turn")

    def pause(self, until: float) -> None:
        self.is_paused = self.wants_write = True
        self.deadline = until

    def expire(self) -> None:
        self.deadline = math.inf
        self.is_paused = self.wants_write = False
        self._do("expire")

    def refuse_turn(self) -> None:
        self._do("refuse")

    def abandon(self) -> None:
        self.close_connection = True
        self.log.append(f"{self.name} abandon".strip())

    def end(self) -> None:
        self.close_connection = True

    def _do(self, what: str) -> None:
        self.threads.append(threading.current_thread())
        self.log.append(f"{self.name} {what}".strip())
        try:
            if self.steps:
                self.steps.pop(0)()
        finally:
            self.turns.release()


class Block:
    """A step that lasts until the test ends it."""

    def __init__(self) -> None:
        self._begun, self._over = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self._begun.set()
        if not self._over.wait(PATIENCE):
            raise AssertionError("a turn was never ended")

    def wait(self) -> None:
        if not self._begun.wait(PATIENCE):
            raise AssertionError("no turn has begun")

    def end(self) -> None:
        self._over.set()


class Stage:
    """An engine over the fakes, with what a test does to it in words."""

    def __init__(self, **knobs: Any) -> None:
        self.clock, self.poller = FakeClock(), FakePoller()
        self.caution = Caution()
        self.closed: list[Any] = []
        self.engine = Engine(self.close, clock=self.clock, poller=self.poller, **knobs)
        self._blocks: list[Block] = []

    def close(self, turner: Any) -> None:
        self.closed.append(turner)
        self.poller.log.append(("close", -1))

    def add(self, fd: int, turner: FakeTurner | None = None, is_listener: bool = False,
            caution: Caution | None = None) -> FakeTurner:
        turner = FakeTurner() if turner is None else turner
        assert self.engine.watch(fd, turner, self.caution if caution is None else caution, is_listener)
        return turner

    def turn(self, fd: int, turner: FakeTurner) -> None:
        """A turn, from its beginning to its end."""
        self.poller.ready(fd, WRITE if turner.wants_write else READ)
        self.await_turn(turner)

    def await_turn(self, turner: FakeTurner) -> None:
        if not turner.turns.acquire(timeout=PATIENCE):
            raise AssertionError("no turn has ended")

    def block(self, fd: int, turner: FakeTurner) -> Block:
        """Begins a turn that lasts."""
        block = Block()
        self._blocks.append(block)
        turner.steps.append(block)
        self.poller.ready(fd)
        block.wait()
        return block

    def overtake(self) -> None:
        """The monitor looks, when the turn that runs has taken too long."""
        self.clock.now += 0.003
        self.engine.check()

    def check_at(self, now: float) -> None:
        self.clock.now = now
        self.engine.check()

    @property
    def threads(self) -> list[EngineThread]:
        return [thread for thread in threading.enumerate()
                if isinstance(thread, EngineThread) and thread.engine is self.engine]

    def join(self) -> None:
        """Waits until the engine's threads have ended; the monitor looks on meanwhile."""
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), thread

    def tear_down(self) -> None:
        logging.disable()  # of what waits for a thread to the end
        self.engine.cut()
        for block in self._blocks:
            block.end()
        if not self.engine.has_ended:
            self.engine.check()
        self.join()
        logging.disable(logging.NOTSET)
        self.engine.close()
