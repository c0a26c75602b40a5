"""What a server changes of its process while it is the whole of a program, and changes back: signals, and switching.

And what can be waited for in a signal handler.

Refuses to know what is served.
"""
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Latch:
    """What threads wait for, once. Unlike an Event a signal handler may do so whatever its own thread is at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            self._lock.release()

    def wait(self, timeout: float = -1) -> None:
        """At most `timeout` seconds, if it is not negative."""
        if not self._is_set and self._lock.acquire(timeout=timeout):
            self._lock.release()


@contextmanager
def handling_signals(stop: Callable[[], None], renew: Callable[[], None] | None) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `stop`, the second ends the program; SIGHUP calls `renew`, if there is one.

    Nothing changes on another thread than the main one, which alone may handle signals.
    """
    def stop_once(*_: Any) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        stop()

    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        handlers.update(dict.fromkeys(STOP_SIGNALS, stop_once))
        if renew is not None and hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = lambda *_: renew()
    for number, handler in handlers.items():
        _replaced[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        if handlers:
            put_back()


_replaced: dict[int, Any] = {}  # the handlers that `handling_signals` has put others in the place of, by signal


def put_back() -> None:
    """Also in a child that a handler forks, as multiprocessing does: it may be ended by whoever has forked it."""
    while _replaced:
        number, handler = _replaced.popitem()
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


_before_fork = threading.local()  # .masks: what the thread had blocked before each fork, for they may be nested


def _hold_back() -> None:
    """So that none which comes at once is lost, or stops what is the parent's, before the child has its handlers."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, tuple(_replaced))
    _before_fork.masks = [*getattr(_before_fork, "masks", ()), mask]


def go_on(is_child: bool = False) -> None:
    """Behind a fork: in the child once it has its handlers, and whatever it was forked in, it begins with no more."""
    if is_child:
        del _before_fork.masks[1:]
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.masks.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_back, after_in_parent=go_on)


@contextmanager
def switching_threads_after(interval: float | None) -> Iterator[None]:
    """Seconds of computing after which the interpreter lets another thread go on; None leaves it as it is.

    A thread that leads must not queue behind long computations.
    """
    before = sys.getswitchinterval()
    if interval is not None:
        sys.setswitchinterval(interval)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
