"""Leader and followers: the threads of a lane, which of them leads, and when another takes over.

Knows turns and how long they last. Refuses to know what a turn does: no method, no field, no HTTP.
"""
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .lane import MAX_EVENTS, Lane
from .logs import log
from .watch import Caution, Turner, Watch
from .watchlist import Watchlist

OVERTAKE_AFTER = 0.002  # seconds that a turn may take before another thread leads
OVERTAKE_EARLY = 0.0003  # the same, while slow turns are about
PAUSE = 0.1  # seconds, after a failure that was nobody's turn

_of_parents: list[Any] = []  # what a forked child lets go of is not to be tidied up there, as by a generator's finally


class EngineThread(threading.Thread):
    """One of the threads of `engine`."""

    def __init__(self, engine: "Engine", run: Callable[[], None], name: str) -> None:
        super().__init__(target=run, name=name, daemon=engine.daemon)
        self.engine = engine
        self.connection: Any = None  # one that was accepted, in its first turn, or its handler; its server's to set


class Engine(Lane):
    """A lane with the threads of which one at a time leads.

    Who leads next starts or wakes after the last one has let go, behind the crew's lock. While no thread can lead, the
    monitor stands in for a moment now and then.
    """

    survives: tuple[type[BaseException], ...] = (Exception, SystemExit)  # by leading again

    # ---- from any thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the first leader. Raises RuntimeError or MemoryError where the system has no thread left."""
        self._crew.start()

    def watch(self, fd: int, turner: Turner, caution: Caution | None = None, is_listener: bool = False) -> bool:
        """Has turns taken when `fd` is ready; False if the engine has ended.

        The caller gives `turner` out of its hands and only returns.
        """
        with self._lock:
            if self._crew.has_ended:
                return False
            self._arrivals.append(Watch(fd, turner, self._caution if caution is None else caution, is_listener))
        if threading.get_ident() != self._leader_ident:
            self._waker.wake()
        return True

    def stop(self) -> None:
        """Idle connections are closed, others when their answer is out, and then the threads end."""
        self._stopping = True
        self._waker.wake()

    def cut(self) -> None:
        """Closes whatever is between turns and ends. Threads that are in a turn end behind it."""
        self._stopping = self._cutting = True
        self._waker.wake()

    @property
    def is_cautious(self) -> bool:
        """Whether turns of the handler class are not trusted to be quick now."""
        return self._caution.turns > 0

    @property
    def has_leader(self) -> bool:
        """Whether a thread is free to lead; a single look, which may be out of date."""
        return self._crew.has_leader

    @property
    def connections(self) -> int:
        """How many are open, the listener included."""
        return len(self._list.watches)

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do; where it was cut, some threads may still be in a turn."""
        return self._crew.has_ended and (self._cutting or not self._crew.threads)

    def close(self) -> None:
        """Gives back the descriptors, once the last thread has ended."""
        with self._lock:
            self._closes_itself = self._crew.threads > 0
        if not self._closes_itself:
            self._list.poller.close()
            self._waker.close()

    def disown(self) -> None:
        """In a child that was forked: what is watched is the parent's, and so is the poller behind the child's copy.

        Nothing of it is served, closed or unregistered here. The child's one thread, if in a turn, ends behind that.
        """
        self._lock = self._crew.lock = threading.Lock()  # another of the parent's threads may have held it
        with suppress(OSError):  # a kqueue is not even copied
            self._list.poller.close()
        self._waker.close()
        _of_parents.append((self._list, *self._arrivals, *self._crew.waiting, *self._crew.away))
        self._list = Watchlist(self._list.poller)
        self._arrivals.clear()
        self._turn.clear()
        self._crew.away.clear()
        self._crew.waiting.clear()
        self.max_connections = -1  # no room: if the turn is a listener's, it accepts no more
        self._cutting = self._crew.has_ended = True

    def turns_away(self) -> list[tuple[int, Turner | None]]:
        """What the threads that do not lead are at, with the thread's ident; None for a listener that has closed."""
        return self._crew.turns_away()

    # ---- threads ----------------------------------------------------------------------------------------------------

    def _new_thread(self, name: str) -> threading.Thread:
        return EngineThread(self, self._run, name)

    def _run(self) -> None:
        """A thread's life: it leads, loses leadership to another in a long turn, ends the turn, follows, leads."""
        leads = False
        try:
            leads = self._crew.follow(self._take_waiting, leads=True)
            while leads:
                self._leader_ident = threading.get_ident()
                watch = self._lead_on()
                leads = False  # another does, or all has ended
                if watch is not None:
                    self._end_turn(watch)
                    leads = self._crew.follow(self._take_waiting)
        finally:
            left = self._crew.end_thread(leads)
            self._notify()
            if self._closes_itself and not left:
                self.close()

    def _lead_on(self) -> Watch | None:
        """Leads, whatever happens besides the turns: without a leader the server would be deaf."""
        while True:
            try:
                return self._lead()
            except self.survives:
                with suppress(MemoryError):
                    log.exception("the engine has failed, and goes on")
                with self._lock:  # against the monitor
                    leads = threading.get_ident() == self._leader_ident
                    if leads:
                        self._turn.clear()
                if not leads:
                    return self._crew.turn_of(threading.get_ident())
                time.sleep(PAUSE)  # the reason, such as want of memory, may pass

    def _take_waiting(self, watch: Watch) -> None:
        """A turn that has waited for this thread."""
        self._take(watch.turner.take_turn, watch)
        self._end_turn(watch)

    def give_way(self) -> bool:
        """For a listener, before each first turn: lets another thread lead if that lasts as long as the connection.

        True if it does; the caller does not lead then, and accepts no more.
        """
        ident = threading.get_ident()
        if ident == self._leader_ident:
            self._turn_started = self.clock()  # each of several in the listener's turn is judged by itself
        if self._caution.turns < math.inf:
            return False
        with self._lock:
            if ident != self._leader_ident or not self._turn:
                return False
            watch = self._turn[-1]
            self._let_go(watch, ident)
            self._turn.pop()
        watch.caution.spend(self._turns)
        self._promote()
        return True

    def _end_turn(self, watch: Watch) -> None:
        """Behind a turn that was not the leader's: hands the connection back, as the last thing done to it."""
        turn = threading.get_ident(), watch
        with self._lock:
            turner = watch.turner  # that of a listener may have been closed meanwhile
            # A listener is closed by who leads, and nobody else: the turns of several may end at once.
            has_ended = turner is None or (
                not watch.is_listener and (turner.close_connection or self._crew.has_ended))
            if not has_ended:
                is_changed = (turner.close_connection or watch.events != watch.wanted
                              or turner.deadline < watch.scheduled)
                self._crew.away.discard(turn)
                watch.busy = False  # from here on the leader may take its next turn, even before the lock is free
                if is_changed:
                    self._arrivals.append(watch)
        if has_ended:
            if turner is not None and not (
                    watch.is_listener or turner.close_connection or turner.is_idle or turner.is_lingering):
                self._note_undone(watch)  # before it is away no more: one of both is told
            try:
                self._forget(watch)
            finally:
                with self._lock:
                    self._crew.away.discard(turn)
                if self._stopping:  # also where closing has ended this thread: the leader may wait for nothing else
                    self._waker.wake()
        if self._arrivals or self._stopping or self._held is not None:
            self._waker.wake()

    # ---- the monitor, on the thread of serve_forever ----------------------------------------------------------------

    @property
    def activity(self) -> tuple[int, float]:
        """Changes whenever something has happened."""
        return self._turns, self._turn_started

    @property
    def needs_monitor(self) -> bool:
        """Whether a turn runs that may be overtaken, or turns wait for a thread."""
        # In this order: a thread that is woken to lead takes a turn that waits, if there is one, and leads no more.
        return bool(self._turn or self._crew.waiting) or not self._crew.has_leader or self._stopping

    @property
    def patience(self) -> float:
        """Seconds that a turn may take now before another thread leads."""
        is_wary = self._turns < self._wary_until and self._crew.has_leader
        return OVERTAKE_EARLY if is_wary else OVERTAKE_AFTER

    def check(self) -> None:
        """Called every `patience` while there is activity: overtakes a long turn, refuses what waits too long."""
        now = self.clock()
        turn, lasts = self._turn, now - self._turn_started
        if turn and lasts >= self.patience:
            with self._lock:  # the thread whose turn it is waits for the lock in _end_turn
                try:
                    if turn[-1].is_listener and lasts < OVERTAKE_AFTER:
                        return  # its many system calls contend with other threads: more of them would not help
                    watch = turn.pop()
                except IndexError:
                    return  # it has just ended
                try:
                    self._let_go(watch, self._leader_ident)
                except MemoryError:
                    turn.append(watch)
                    raise
            self._note_slow(watch)
            self._crew.promote()
        elif not self._crew.has_leader:
            self._act_for_leader(now)

    def _act_for_leader(self, now: float) -> None:
        """All threads are in turns: leads for a moment, sees who is ready, and refuses who has waited too long."""
        if not self._crew.stand_in():
            return
        self._turn = deque()
        try:
            for fd, _ in self._list.poller.poll(0, MAX_EVENTS):
                self._queue(fd, now)
            while (watch := self._crew.late(now - self.max_wait)) is not None:
                self._take(watch.turner.refuse_turn, watch)
                self._settle(watch)
            self._tend(now)
        finally:
            self._crew.stand_down()  # whatever has failed: nobody would lead any more

    def _queue(self, fd: int, now: float) -> None:
        """Puts a ready connection in the line for a thread, out of the poller's sight, unless its turn needs none."""
        watch = self._list.watches.get(fd)
        if watch is None or watch.busy or (watch.is_listener and not self.has_room()):
            self._set_aside(fd, watch)
        elif watch.is_listener or not watch.turner.needs_thread:
            if (turner := watch.turner) is not None:  # of a listener several threads may have closed it
                self._take(turner.refuse_turn if watch.is_listener else turner.take_turn, watch)
            self._settle(watch)
        else:
            self._list.mute(watch)
            self._crew.queue(watch, now)
