"""Leader and followers: who polls, whose turn runs, when another thread takes over, and what is past its deadline.

Knows turns and deadlines. Refuses to know what a turn does: no method, no field, no HTTP.
"""
import heapq
import logging
import math
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from .polling import READ, WRITE, Poller, Waker, make_poller
from .watch import Caution, Turner, Watch

log = logging.getLogger("ownhands")

OVERTAKE_AFTER = 0.002  # seconds that a turn may take before another thread leads
QUICK_TURN = 0.0003  # seconds; a longer turn makes its class cautious
FOLLOWER_TIMEOUT = 60.0  # seconds after which an unused thread ends
MAX_EVENTS = 256  # taken from one poll


class EngineThread(threading.Thread):
    """One of the threads of `engine`."""

    def __init__(self, engine: "Engine", run: Callable[[], None], name: str) -> None:
        super().__init__(target=run, name=name, daemon=engine.daemon)
        self.engine = engine


class Engine:
    """One lane: a poller, and the threads of which one at a time leads.

    Shared between threads: `_turn`, `_arrivals` (deques, whose append and pop are atomic), and what `_lock` guards:
    who leads, who is idle, `_away`, `_waiting`. Everything else is the leader's; who leads next starts or wakes after
    the last one has let go, behind a lock. While nobody can lead, the monitor may act as the leader, under the lock.
    """

    def __init__(self, close: Callable[[Any], None], max_threads: int = 64, max_connections: int = 10_000,
                 max_wait: float = 10.0, daemon: bool = True, clock: Callable[[], float] = monotonic,
                 poller: Poller | None = None) -> None:
        """`close(turner)` is called for whatever is watched no longer; `max_wait` in seconds on `clock`."""
        self._close, self.clock, self.daemon = close, clock, daemon
        self.max_threads, self.max_connections, self.max_wait = max_threads, max_connections, max_wait
        self._poller = make_poller() if poller is None else poller
        self._waker = Waker()
        self._poller.register(self._waker.fileno(), READ)
        self._lock = threading.Lock()
        self._turn: deque[Watch] = deque()  # the leader's turn while it runs; whoever pops it decides who leads on
        self._turn_started = 0.0
        self._arrivals: deque[Watch] = deque()  # to be watched, or watched for something else
        self._watches: dict[int, Watch] = {}
        self._deadlines: list[tuple[float, int, Watch]] = []
        self._sequence = 0  # so that no two entries compare by their watches
        self._held: Watch | None = None  # the listener, while there are too many connections
        self._turns = 0  # ready connections so far, for the monitor and for Caution
        self._has_leader = True
        self._leader_ident = 0
        self._idle: list[threading.Lock] = []  # followers, each waiting for its lock
        self._threads = 0
        self._away: dict[int, Watch] = {}  # turns of threads that do not lead, by the thread's ident
        self._waiting: deque[tuple[float, Watch]] = deque()  # ready, and no thread for them, since when
        self._stopping = False
        self._ended = False
        self.on_activity: Callable[[], None] | None = None  # set while the monitor sleeps

    # ---- from any thread --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the first leader."""
        self._start_thread()

    def watch(self, fd: int, turner: Turner, caution: Caution, is_listener: bool = False) -> None:
        """Has turns taken when `fd` is ready. The caller gives `turner` out of its hands and only returns."""
        self._arrivals.append(Watch(fd, turner, caution, is_listener))

    def wake(self) -> None:
        """Makes the leader look at what has changed, if it is waiting."""
        self._waker.wake()

    def stop(self) -> None:
        """Idle connections are closed, others when their answer is out, and then the threads end."""
        self._stopping = True
        self._waker.wake()

    @property
    def connections(self) -> int:
        """How many are watched, the listener included."""
        return len(self._watches)

    @property
    def has_ended(self) -> bool:
        return self._ended and not self._threads

    def close(self) -> None:
        """Gives back the descriptors, once all has ended."""
        self._poller.close()
        self._waker.close()

    def cut(self) -> list[Turner]:
        """Gives up whatever still goes on, and gives it to be closed. Threads in a turn are left to themselves."""
        with self._lock:
            self._ended = True
            return [watch.turner for watch in {*self._watches.values(), *self._away.values()} if watch.turner]

    def turns_away(self) -> dict[int, Turner]:
        """What the threads that do not lead are at, by thread ident."""
        with self._lock:
            return {ident: watch.turner for ident, watch in self._away.items()}

    # ---- threads ----------------------------------------------------------------------------------------------------

    def _start_thread(self) -> None:
        self._threads += 1
        EngineThread(self, self._run, f"ownhands-{self._threads}").start()

    def _run(self) -> None:
        """A thread's life: it leads, loses leadership to another in a long turn, ends the turn, follows, leads."""
        leads: bool | None = True
        while leads:
            self._leader_ident = threading.get_ident()
            watch = self._lead()
            if watch is None:
                break
            self._end_turn(watch)
            leads = self._follow()
        with self._lock:
            self._threads -= 1
            idle = self._idle if self._ended else []
            self._idle = []
        for parked in idle:
            parked.release()
        self._notify()

    def _follow(self) -> bool | None:
        """Runs waiting turns, then waits to lead: True; None if unused for too long, or at the end."""
        while True:
            with self._lock:
                if self._ended:
                    return None
                if not self._waiting:
                    if not self._has_leader:
                        self._has_leader = True
                        return True
                    parked = threading.Lock()
                    parked.acquire()
                    self._idle.append(parked)
                    break
                _, watch = self._waiting.popleft()
                self._away[threading.get_ident()] = watch
            watch.turner.take_turn()
            self._end_turn(watch)
        if parked.acquire(timeout=FOLLOWER_TIMEOUT):
            return None if self._ended else True
        with self._lock:
            if parked in self._idle:
                self._idle.remove(parked)
                return None
        return True

    def _promote(self) -> None:
        """Lets another thread lead, an idle one or a new one; if there may be none, nobody leads until a turn ends."""
        with self._lock:
            if self._idle:
                return self._idle.pop().release()
            self._has_leader = self._threads < self.max_threads
            if not self._has_leader:
                return
            try:
                self._start_thread()
            except RuntimeError as error:  # the system has no thread left
                self._threads -= 1
                self._has_leader = False
                log.warning("cannot start a thread: %s", error)

    def _give_way(self, watch: Watch) -> None:
        """Lets another thread lead before a turn of a class that is not trusted to be quick."""
        watch.caution.spend(self._turns)
        with self._lock:
            self._mark_away(watch, threading.get_ident())
        self._promote()

    def _mark_away(self, watch: Watch, ident: int) -> None:
        """From here on the turn is not the leader's. Several threads may accept at once, so a listener is not busy."""
        watch.busy = not watch.is_listener
        self._away[ident] = watch

    def _end_turn(self, watch: Watch) -> None:
        """Behind a turn that was not the leader's: hands the connection back, as the last thing done to it."""
        turner = watch.turner
        has_ended = turner.close_connection
        with self._lock:
            self._away.pop(threading.get_ident(), None)
            if has_ended:
                self._unwatch(watch)
            else:
                watch.busy = False
                if watch.events != watch.wanted or turner.deadline < watch.scheduled:
                    self._arrivals.append(watch)
        if has_ended:
            self._forget(watch)
        if self._arrivals or self._stopping or self._held is not None:
            self._waker.wake()

    # ---- the leader -------------------------------------------------------------------------------------------------

    def _lead(self) -> Watch | None:
        """Polls and runs turns until another thread leads: gives the watch whose turn is over then; None at the end."""
        poll, watches, turn, clock = self._poller.poll, self._watches, self._turn, self.clock
        timeout: float | None = 0
        while not self._ended:
            events = poll(timeout, MAX_EVENTS)
            self._turns += len(events)
            if self.on_activity is not None:
                self._notify()
            now = clock()
            for fd, _ in events:
                watch = watches.get(fd)
                if watch is None or watch.busy or (watch.is_listener and len(watches) > self.max_connections):
                    self._set_aside(fd, watch)
                    continue
                if watch.caution.turns:
                    self._give_way(watch)
                    watch.turner.take_turn()
                    return watch
                self._turn_started = now
                turn.append(watch)
                watch.turner.take_turn()
                try:
                    turn.pop()
                except IndexError:
                    return watch
                before, now = now, clock()
                if now - before > QUICK_TURN:
                    watch.caution.fail(self._turns)
                self._settle(watch)
            overtaken = self._tend(now)
            if overtaken is not None:
                return overtaken
            timeout = max(self._deadlines[0][0] - now, 0) if self._deadlines else None
        return None

    def _settle(self, watch: Watch) -> None:
        """Behind a turn of the leader's own: watches the connection on, for what it needs now, or no longer."""
        turner = watch.turner
        if turner.close_connection:
            self._forget(watch)
        elif watch.events != (WRITE if turner.wants_write else READ) or turner.deadline < watch.scheduled:
            self._admit(watch)

    def _tend(self, now: float) -> Watch | None:
        """What is to be done between two polls; gives the watch in whose turn leadership was lost, if it was."""
        while self._arrivals:
            self._admit(self._arrivals.popleft())
        if self._held is not None and len(self._watches) < self.max_connections:
            held, self._held = self._held, None
            self._admit(held)
        while (watch := self._next_due(now)) is not None:
            self._turn_started = self.clock()
            self._turn.append(watch)
            watch.turner.expire()
            try:
                self._turn.pop()
            except IndexError:
                return watch
            self._settle(watch)
        if self._stopping:
            with self._lock:
                self._wind_down()
        return None

    def _admit(self, watch: Watch) -> None:
        """Registers what a connection waits for, and its deadline."""
        turner, fd = watch.turner, watch.fd
        if turner is None or watch.busy:
            return
        wanted = watch.wanted
        if not wanted:
            self._unwatch(watch)
        elif not watch.events:
            self._poller.register(fd, wanted)
            self._watches[fd] = watch
        elif wanted != watch.events:
            self._poller.modify(fd, wanted)
        watch.events = wanted
        if turner.deadline < watch.scheduled:
            watch.scheduled = turner.deadline
            self._sequence += 1
            heapq.heappush(self._deadlines, (turner.deadline, self._sequence, watch))

    def _forget(self, watch: Watch) -> None:
        """Closes a connection; by whoever has its turn. Unregistered first: its number may be given out again."""
        self._unwatch(watch)
        turner, watch.turner = watch.turner, None  # an entry among the deadlines may keep the watch for a while
        self._close(turner)

    def _unwatch(self, watch: Watch) -> None:
        if watch.events:
            watch.events = 0
            self._watches.pop(watch.fd, None)
            self._unregister(watch.fd)

    def _unregister(self, fd: int) -> None:
        try:
            self._poller.unregister(fd)
        except OSError:
            pass  # somebody has closed it behind our back, and so ended its registration

    def _set_aside(self, fd: int, watch: Watch | None) -> None:
        """Ready, but not for a turn now: the waker, a number out of date, a turn elsewhere, too many connections."""
        if fd == self._waker.fileno():
            return self._waker.clear()
        if watch is None:
            return self._unregister(fd)
        if watch.is_listener:
            return self._hold(watch)
        with self._lock:
            if watch.busy:
                self._unwatch(watch)

    def _next_due(self, now: float) -> Watch | None:
        """A connection whose deadline has passed. Deadlines that were moved are entered again."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, watch = heapq.heappop(self._deadlines)
            watch.scheduled = math.inf
            if watch.turner is None or watch.busy:
                continue  # the end of a busy turn enters the deadline again
            if watch.turner.deadline <= now:
                return watch
            self._admit(watch)
        return None

    def _hold(self, listener: Watch) -> None:
        """Accepts no more until there are fewer connections; they wait in the backlog."""
        self._held = listener
        self._unwatch(listener)

    def _wind_down(self) -> None:
        """Closes what is idle; when nothing is left the threads end. Under the lock."""
        for watch in list(self._watches.values()):
            if not watch.busy and watch.turner.is_idle:
                watch.turner.abandon()
                self._forget(watch)
        self._ended = not self._watches and not self._away and not self._arrivals and not self._waiting

    def _notify(self) -> None:
        notify, self.on_activity = self.on_activity, None
        if notify is not None:
            notify()

    # ---- the monitor, on the thread of serve_forever ----------------------------------------------------------------

    @property
    def activity(self) -> int:
        """Changes whenever something has happened."""
        return self._turns

    @property
    def needs_monitor(self) -> bool:
        """Whether a turn runs that may be overtaken, or turns wait for a thread."""
        return bool(self._turn) or not self._has_leader or self._stopping

    def check(self) -> None:
        """Called every OVERTAKE_AFTER while there is activity: overtakes a long turn, refuses what waits too long."""
        now = self.clock()
        if self._turn and now - self._turn_started >= OVERTAKE_AFTER:
            with self._lock:  # the thread whose turn it is waits for the lock in _end_turn
                try:
                    watch = self._turn.pop()
                except IndexError:
                    return  # it has just ended
                self._mark_away(watch, self._leader_ident)
            watch.caution.fail(self._turns)
            self._promote()
        elif not self._has_leader:
            self._act_for_leader(now)

    def _act_for_leader(self, now: float) -> None:
        """All threads are in turns: notes who is ready and since when, and turns away who has waited too long."""
        late: list[Watch] = []
        listeners: list[Watch] = []
        refused: list[Watch] = []
        with self._lock:
            if self._has_leader:
                return
            while self._arrivals:
                self._admit(self._arrivals.popleft())
            while (watch := self._next_due(now)) is not None:
                watch.busy = True
                late.append(watch)
            for fd, _ in self._poller.poll(0, MAX_EVENTS):
                self._queue(fd, listeners, now)
            while self._waiting and now - self._waiting[0][0] > self.max_wait:
                refused.append(self._waiting.popleft()[1])
            if self._stopping:
                self._wind_down()
        for watch in listeners:
            watch.turner.refuse_turn()
        for watch in late:
            watch.turner.expire()
            self._end_turn(watch)
        for watch in refused:
            watch.turner.refuse_turn()
            self._end_turn(watch)

    def _queue(self, fd: int, listeners: list[Watch], now: float) -> None:
        """Puts a ready connection in the line for a thread, out of the poller's sight."""
        watch = self._watches.get(fd)
        if fd == self._waker.fileno():
            self._waker.clear()
        elif watch is not None and watch.is_listener:
            if len(self._watches) <= self.max_connections:
                listeners.append(watch)
        elif watch is not None:
            self._unwatch(watch)
            if not watch.busy:
                watch.busy = True
                self._waiting.append((now, watch))
