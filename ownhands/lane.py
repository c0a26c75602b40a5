"""A lane: a poller with its connections, and what the thread that leads does with them.

Knows turns and deadlines. Refuses to know what a turn does, and which thread leads: engine.py says.
"""
import math
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from .crew import Crew
from .logs import log
from .polling import READ, Poller, Waker, make_poller
from .watch import WARY_FOR, Caution, Turner, Watch
from .watchlist import Watchlist

QUICK_TURN = 0.0003  # seconds; a longer turn makes its connection suspect, and maybe its class
MAX_EVENTS = 256  # taken from one poll; a power of 4


class Lane:
    """The leader's work. Engine adds the threads.

    Shared between threads: `_turn` and `_arrivals` (deques, whose append and pop are atomic), and what the crew's lock
    guards. Others set `_stopping`, `_cutting` and `on_activity` whole, append to `undone`, and look at the counts and
    times that the leader keeps, which may be out of date then. Everything else is the leader's.
    """

    if TYPE_CHECKING:
        _new_thread: Callable[[str], threading.Thread]
        survives: tuple[type[BaseException], ...]

    def __init__(self, close: Callable[[Any], None], max_threads: int = 64, max_connections: int = 10_000,
                 max_wait: float = 10.0, daemon: bool = True, clock: Callable[[], float] = monotonic,
                 caution: Caution | None = None, poller: Poller | None = None) -> None:
        """`close(turner)` is called for whatever is watched no longer; `max_wait` in seconds on `clock`.

        `caution` is that of the handler class, this engine's own, for it goes by its count of turns.
        """
        self._close, self.clock, self.daemon = close, clock, daemon
        self._caution = Caution() if caution is None else caution
        self.max_connections, self.max_wait = max_connections, max_wait
        self._crew = Crew(self._new_thread, max_threads)
        self._lock = self._crew.lock
        self._waker = Waker()
        self._list = Watchlist(make_poller() if poller is None else poller)
        self._list.poller.register(self._waker.fileno(), READ)
        self._turn: deque[Watch] = deque()  # the leader's turn while it runs: see _lead
        self._turn_started = 0.0
        self._arrivals: deque[Watch] = deque()  # to be watched, or watched for something else
        self._found: list[tuple[int, int]] = []  # who was ready when last asked in between, for the next look
        self._held: Watch | None = None  # the listener, while there are too many connections
        self._turns = 0  # ready connections so far, for the monitor and for Caution
        self._wary_until = 0  # on that count
        self._leader_ident = 0
        self._stopping = self._cutting = False
        self._closes_itself = False
        self.undone: list[str] = []  # what was cut while no thread had its turn, described; whoever cuts it appends
        self.on_activity: Callable[[], None] | None = None  # set while the monitor sleeps

    def _lead(self) -> Watch | None:
        """Polls and runs turns until another thread leads: gives the watch whose turn is over then; None at the end.

        A turn that runs stands in `_turn`; whoever pops it, leader or monitor, decides who leads on. Each leadership
        has a deque of its own: an overtaken thread that comes back must not pop the turn of the next leader.
        """
        poll, watches, clock, crew = self._list.poller.poll, self._list.watches, self.clock, self._crew
        turn = self._turn = deque()
        now, size = clock(), 1  # who leads for one turn only must not find hundreds of others to be ready
        while True:
            overtaken = self._tend(now)  # first: who leads for one turn only must do it too
            if overtaken is not None or crew.has_ended:
                return overtaken
            events, self._found = self._found or poll(self._list.deadlines.wait(now), size), []
            if size < MAX_EVENTS:
                size *= 4
            self._turns += len(events) or 1
            now = clock()
            for fd, _ in events:
                watch = watches.get(fd)
                if watch is None or watch.busy or (watch.is_listener and not self.has_room()):
                    self._set_aside(fd, watch)
                    continue
                if (watch.suspicion or watch.caution.turns > 0) and not watch.is_listener:
                    return self._take_away(watch)
                self._turn_started, turner = now, watch.turner  # first: overtaken, a listener may be closed at any time
                turn.append(watch)
                if self.on_activity is not None:  # at each turn: the one before may have been long ago
                    self._notify()
                try:
                    turner.take_turn()
                except BaseException as error:
                    self._fail(watch, error)
                try:
                    turn.pop()
                except IndexError:
                    return watch
                before, now = now, clock()
                if now - before > QUICK_TURN and not watch.is_listener:  # that one takes several connections a turn
                    self._note_slow(watch)
                if (turner.close_connection or turner.wants_write or watch.events != READ
                        or turner.deadline < watch.scheduled):  # else nothing has changed, as behind most turns
                    self._settle(watch)

    def _note_slow(self, watch: Watch) -> None:
        watch.suspect(self._turns)
        watch.caution.fail(self._turns)
        self._wary_until = self._turns + WARY_FOR

    def _settle(self, watch: Watch) -> None:
        """Behind a turn of the leader's own: watches the connection on, for what it needs now, or no longer."""
        if watch.turner is None or watch.turner.close_connection:
            self._forget(watch)
        else:
            self._admit(watch)

    def _tend(self, now: float) -> Watch | None:
        """What is to be done between two polls; gives the watch in whose turn leadership was lost, if it was."""
        while self._arrivals:
            self._admit(self._arrivals.popleft())
        turn, ready = self._turn, None
        while (watch := self._next_due(now)) is not None:
            if watch.spared != watch.turner.deadline:  # it may be ready, and so have been in time: the process was not
                watch.spared = watch.turner.deadline
                ready = self._who_is_ready() if ready is None else ready
                if watch.fd in ready:
                    continue  # its turn comes next, and enters the deadline again; that one then counts
            self._turn_started = self.clock()
            turn.append(watch)
            self._notify()
            self._take(partial(self._expire, watch.turner, now), watch)
            try:
                turn.pop()
            except IndexError:
                return watch
            self._settle(watch)
        if self._stopping:
            self._wind_down()
        if self._held is not None and self.has_room():  # behind all by which room is made
            held, self._held = self._held, None
            self._admit(held)
        return None

    def has_room(self) -> bool:
        """Whether one more connection may be accepted: those on their way to be watched and first turns count too.

        From any thread; a look that may be out of date by a connection for each.
        """
        count = len(self._list.watches) + len(self._arrivals)
        return count + self._crew.threads <= self.max_connections or (
            count + self._crew.first_turns() <= self.max_connections)

    def _who_is_ready(self) -> set[int]:
        """The descriptors of all who are ready now; the next look finds them too."""
        self._found = self._list.poller.poll(0, len(self._list.watches) + 1)
        return {fd for fd, _ in self._found}

    def _expire(self, turner: Turner, now: float) -> None:
        turner.expire()
        if turner.deadline <= now and not turner.close_connection:
            raise RuntimeError("expire() has left a deadline that has passed")

    def _admit(self, watch: Watch) -> None:
        """Registers what a connection waits for, and its deadline; closes one that cannot be watched."""
        if watch.turner is None or watch.busy:
            return
        if watch.is_listener and watch.turner.close_connection:
            return self._forget(watch)
        try:
            self._list.admit(watch)
        except (OSError, ValueError) as error:
            log.warning("cannot watch descriptor %d: %s", watch.fd, error)
            self._abandon(watch)

    def _abandon(self, watch: Watch) -> None:
        if (turner := watch.turner) is not None:
            self._take(turner.abandon, watch)
        self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        """Closes a connection; by whoever has its turn, or of several the first."""
        with self._lock:
            self._list.remove(watch)
            turner, watch.turner = watch.turner, None  # an entry among the deadlines may keep the watch for a while
        if turner is not None:
            try:
                self._close(turner)
            except BaseException as error:
                if not isinstance(error, (Exception, *self.survives)):  # it is to end the thread, or the program
                    raise
                log.exception("closing %s has failed", type(turner).__name__)

    def _set_aside(self, fd: int, watch: Watch | None) -> None:
        """Ready, but not for a turn now: the waker, a number out of date, a turn elsewhere, too many connections."""
        if fd == self._waker.fileno():
            self._waker.clear()
        elif watch is None and fd in self._list.lost:
            with self._lock, suppress(OSError):  # no descriptor is left: it is tried again
                self._list.start_over(self._waker.fileno())
        elif watch is None:
            self._list.unregister(fd)
        elif watch.is_listener:
            self._held = watch  # the next ones wait in the backlog
            self._list.mute(watch)
        else:
            with self._lock:
                if watch.busy:
                    self._list.mute(watch)

    def _next_due(self, now: float) -> Watch | None:
        """A connection whose deadline has passed. Deadlines that were moved are entered again."""
        while (watch := self._list.deadlines.pop(now)) is not None:
            with self._lock:
                if watch.turner is None or watch.busy:
                    continue  # the end of a busy turn enters the deadline again
            if watch.turner.deadline <= now:
                return watch
            self._admit(watch)
        return None

    def _wind_down(self) -> None:
        """Closes what is idle, and when it is to be cut whatever has no thread; when nothing is left, all ends."""
        is_cutting = self._cutting  # looked at once, for it may be set meanwhile
        while is_cutting and (watch := self._crew.late(math.inf)) is not None:
            self._cut_off(watch)
        watches = self._list.watches
        # What has been sent already is answered; closed unread, it would be reset.
        spoken: set[int] = set() if is_cutting else self._who_is_ready()
        for watch in list(watches.values()):
            turner = watch.turner  # a turn elsewhere may just have ended the connection
            if turner is None or watch.busy or watch.fd in spoken:
                continue
            if turner.is_idle or (is_cutting and turner.is_lingering):
                self._abandon(watch)
            elif is_cutting:
                self._cut_off(watch)
        with self._lock:
            is_empty = not (watches or self._arrivals or self._crew.away)
            # Whoever is in a turn closes its connection behind it, if it finds that all has ended.
            is_cut = is_cutting and not self._arrivals and all(watch.busy for watch in watches.values())
            self._crew.has_ended = is_empty or is_cut  # else whoever keeps it from that wakes the leader again

    def _cut_off(self, watch: Watch) -> None:
        self._note_undone(watch)
        self._abandon(watch)

    def _note_undone(self, watch: Watch) -> None:
        try:
            self.undone.append(repr(watch.turner))
        except Exception:  # a repr of the user's own
            self.undone.append(type(watch.turner).__name__)

    def _notify(self) -> None:
        notify, self.on_activity = self.on_activity, None
        if notify is not None:
            notify()

    # ---- turns, the leader's and others' ---------------------------------------------------------------------------

    def _take_away(self, watch: Watch) -> Watch:
        """A turn that is not trusted to be quick: another thread leads before it."""
        if watch.caution.turns > 0:
            watch.caution.spend(self._turns)
        with self._lock:
            self._let_go(watch, threading.get_ident())
        self._promote()
        began = self.clock()
        self._take(watch.turner.take_turn, watch)
        watch.suspicion = max(watch.suspicion - 1, 0) if self.clock() - began > QUICK_TURN else 0
        return watch

    def _promote(self) -> None:
        """Behind `_let_go`: where there is no thread to lead, the monitor has to stand in, which may be asleep."""
        self._crew.promote()
        if not self._crew.has_leader:
            self._notify()

    def _let_go(self, watch: Watch, ident: int) -> None:
        """Under the lock: the thread is not the leader from here on, and nobody is until another says so."""
        self._crew.leave(watch, ident)  # first: it may fail
        self._leader_ident = 0

    def _take(self, turn: Callable[[], None], watch: Watch) -> None:
        """Takes a turn, or what comes in its place."""
        try:
            turn()
        except BaseException as error:
            self._fail(watch, error)

    def _fail(self, watch: Watch, error: BaseException) -> None:
        """A turn must raise nothing, for who would lead if it ended the thread? One that does ends its connection."""
        turner = watch.turner
        if turner is not None:
            turner.close_connection = not watch.is_listener
        if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise error  # for the program: the monitor's thread, while it stands in
        log.error("a turn of %s has failed", type(turner).__name__, exc_info=error)
