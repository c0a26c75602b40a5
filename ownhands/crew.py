"""Crew: the threads of an engine. Who leads, who is away in a turn, who waits to lead, and the turns that wait for one.

Refuses to know what a leader does, who is ready, and what a turn is.
"""
import threading
from collections import deque
from collections.abc import Callable

from .logs import log
from .watch import Turner, Watch

SHORTAGE = (MemoryError, RuntimeError)  # of memory, or of threads, or of locks
FOLLOWER_TIMEOUT = 60.0  # seconds after which an unused thread ends


class Crew:
    """Everything here, and `busy` of each watch, is guarded by `lock`; single looks without it may be out of date.

    A thread leads, or is away in a turn, or follows. Turns wait only while no thread leads.
    """

    def __init__(self, new_thread: Callable[[str], threading.Thread], max_threads: int) -> None:
        """`new_thread(name)` gives a thread, not started, that will lead first."""
        self.lock = threading.Lock()
        self.max_threads = max_threads
        self.has_leader = True
        self.has_ended = False
        self.threads = 0
        self.away: set[tuple[int, Watch]] = set()  # turns of threads that do not lead, with the thread's ident
        self.waiting: deque[tuple[float, Watch]] = deque()  # busy, ready, and no thread for them, since when
        self._new_thread = new_thread
        self._idle: list[threading.Lock] = []  # followers, each waiting for its lock
        self._is_short = False  # the last thread could not be started

    def start(self) -> None:
        """Starts the first leader. Raises one of SHORTAGE where the system has no thread left."""
        with self.lock:
            self._promise()
        self._keep_promise()

    def _promise(self) -> None:
        """Under the lock: a new thread leads as soon as it runs."""
        self.has_leader = True
        self.threads += 1

    def _keep_promise(self) -> None:
        """Not under the lock: `start` waits for the thread, for ever if that one fails at once."""
        try:
            self._new_thread(f"ownhands-{self.threads}").start()
        except SHORTAGE:
            with self.lock:
                self.threads -= 1
                self.has_leader = bool(self._idle)
                if self._idle:  # one that has come back meanwhile
                    self._idle.pop().release()
            raise

    def end_thread(self, leads: bool) -> int:
        """A thread's last act; gives how many are left. At the end the first to go wakes the followers.

        One that `leads` has failed; the monitor finds another.
        """
        with self.lock:
            self.threads -= 1
            self.has_leader = self.has_leader and not leads
            parked: list[threading.Lock] = []
            if self.has_ended:
                parked, self._idle = self._idle, parked
            left = self.threads
        for follower in parked:
            follower.release()
        return left

    def promote(self) -> None:
        """Lets another thread lead, an idle one or a new one; if there may be none, nobody leads until a turn ends.

        For who has let go of the lead, or taken it from another. If he fails before, the monitor stands in.
        """
        with self.lock:
            if self.has_leader:
                return  # a thread that came back from its turn
            if self._idle:
                self.has_leader = True
                return self._idle.pop().release()
            if self.threads >= self.max_threads:
                return
            self._promise()
        try:
            self._keep_promise()
            self._is_short = False
        except SHORTAGE as error:
            if not self._is_short and threading.main_thread().is_alive():  # at the program's end none can be
                log.warning("cannot start a thread: %s", error)
            self._is_short = True  # the monitor tries again

    def follow(self, take: Callable[[Watch], None], leads: bool = False) -> bool:
        """Takes turns that wait for a thread, then waits to lead: True; False if unused for too long, or at the end.

        `leads` is for a new thread, which is to lead as soon as no turn waits.
        """
        while True:
            with self.lock:
                if self.has_ended:
                    return False
                if not self.waiting:
                    if leads or not self.has_leader:
                        self.has_leader = True
                        return True
                    try:
                        parked = threading.Lock()
                    except SHORTAGE:
                        return False  # the system has none left, so this thread had better go
                    parked.acquire()
                    self._idle.append(parked)
                    watch = None
                else:
                    if leads:
                        self.has_leader = leads = False
                    watch = self.waiting.popleft()[1]
                    self.away.add((threading.get_ident(), watch))
            if watch is not None:
                take(watch)
            elif self._is_woken(parked):
                leads = True
            else:
                return False

    def _is_woken(self, parked: threading.Lock) -> bool:
        """Waits to be given leadership; False if that has not happened for too long."""
        if parked.acquire(timeout=FOLLOWER_TIMEOUT):
            return True
        with self.lock:
            is_unused = parked in self._idle
            if is_unused:
                self._idle.remove(parked)
        return not is_unused

    def leave(self, watch: Watch, ident: int) -> None:
        """From here on the turn is not the leader's, and nobody leads. Under the lock.

        Several threads may accept at once, so a listener is not busy.
        """
        self.away.add((ident, watch))  # first: it may raise MemoryError, and then nothing has changed
        watch.busy = not watch.is_listener
        self.has_leader = False

    def first_turns(self) -> int:
        """Connections that a thread has accepted and serves, and that nobody watches yet."""
        with self.lock:
            return sum(watch.is_listener for _, watch in self.away)

    def stand_in(self) -> bool:
        """Makes the caller, who is none of the crew, the leader until it calls `stand_down`; False if there is one."""
        with self.lock:
            was_led, self.has_leader = self.has_leader, True
        return not was_led

    def stand_down(self) -> None:
        """Ends what `stand_in` began."""
        with self.lock:
            self.has_leader = False
        self.promote()

    def queue(self, watch: Watch, now: float) -> None:
        """Has a turn wait for a thread. Called only while standing in."""
        with self.lock:
            watch.busy = True
            self.waiting.append((now, watch))

    def late(self, before: float) -> Watch | None:
        """One that has waited since `before` or longer, out of the line; None if there is none."""
        with self.lock:
            if not self.waiting or self.waiting[0][0] > before:
                return None
            watch = self.waiting.popleft()[1]
            watch.busy = False
            return watch

    def turn_of(self, ident: int) -> Watch | None:
        """What the thread is at, which does not lead."""
        with self.lock:
            return next((watch for each, watch in self.away if each == ident), None)

    def turns_away(self) -> list[tuple[int, Turner | None]]:
        """What the threads that do not lead are at, with the thread's ident. From any thread."""
        with self.lock:
            return [(ident, watch.turner) for ident, watch in self.away]
