"""Tide-aware berth scheduling for a small harbour.

A harbour has a handful of berths, each with a sill depth and a length, and a
queue of vessels that want to come alongside for some number of hours.  The
awkward part is the tide: a deep-draught coaster may only cross the sill of
the inner basin during the two hours either side of high water, although once
she is inside she can happily sit through the low.

The module contains three things that are useful on their own:

* ``IntervalSet``   -- a set of half-open, non-overlapping time intervals;
* ``TideTable``     -- linear/cosine interpolation between turning points;
* ``BerthPlanner``  -- a greedy planner with limited backtracking.

Times are plain integers: minutes since the start of the planning horizon.
Converting to wall-clock time is the business of the caller, who knows about
time zones and the annual argument with the clock on the customs house.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import logging
import math
from collections import defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

__all__ = [
    "Berth",
    "BerthPlanner",
    "Booking",
    "IntervalSet",
    "PlanningError",
    "TideTable",
    "Vessel",
    "Priority",
]

log = logging.getLogger(__name__)

#: Minimum water under the keel while crossing a sill, in metres.
UNDER_KEEL_CLEARANCE = 0.40

#: Gap kept between two vessels on the same berth, in minutes.
TURNAROUND = 30

# How many times a confirmed-but-movable booking may be bumped before we give
# up on being clever and just tell the later vessel to anchor outside.
MAX_BUMPS = 3


class PlanningError(Exception):
    """Raised when a request can never be satisfied, whatever the tide does."""


class Priority(Enum):
    LIFEBOAT = 0
    FERRY = 1
    CARGO = 2
    FISHING = 3
    VISITOR = 4

    def outranks(self, other: "Priority") -> bool:
        return self.value < other.value


# ---------------------------------------------------------------------------
# Intervals
# ---------------------------------------------------------------------------

class IntervalSet:
    """A sorted set of disjoint half-open intervals ``[start, end)``.

    Touching intervals are merged, so after adding ``[0, 10)`` and ``[10, 20)``
    the set holds the single interval ``[0, 20)``.  All operations keep the two
    parallel lists sorted; that makes lookups a bisection and keeps the memory
    layout dull, which is how I like it.

    >>> s = IntervalSet([(0, 10), (20, 30)])
    >>> s.add(8, 22)
    >>> list(s)
    [(0, 30)]
    >>> s.remove(5, 6)
    >>> list(s)
    [(0, 5), (6, 30)]
    """

    __slots__ = ("_starts", "_ends")

    def __init__(self, spans: Iterable[Tuple[int, int]] = ()):
        self._starts: List[int] = []
        self._ends: List[int] = []
        for lo, hi in spans:
            self.add(lo, hi)

    def __iter__(self) -> Iterator[Tuple[int, int]]:
        return zip(self._starts, self._ends)

    def __len__(self) -> int:
        return len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __contains__(self, instant: int) -> bool:
        i = bisect.bisect_right(self._starts, instant) - 1
        return i >= 0 and instant < self._ends[i]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    def __repr__(self) -> str:
        inner = ", ".join(f"[{a}, {b})" for a, b in self)
        return f"IntervalSet({{{inner}}})"

    def copy(self) -> "IntervalSet":
        twin = IntervalSet()
        twin._starts = self._starts[:]
        twin._ends = self._ends[:]
        return twin

    @property
    def total(self) -> int:
        """Number of minutes covered by the set."""
        return sum(self._ends) - sum(self._starts)

    def add(self, lo: int, hi: int) -> None:
        if hi < lo:
            raise ValueError(f"interval runs backwards: {lo} > {hi}")
        if hi == lo:
            return
        # First interval that could touch us is the one ending at or after lo,
        # last is the one starting at or before hi.
        first = bisect.bisect_left(self._ends, lo)
        last = bisect.bisect_right(self._starts, hi)
        if first < last:
            lo = min(lo, self._starts[first])
            hi = max(hi, self._ends[last - 1])
        self._starts[first:last] = [lo]
        self._ends[first:last] = [hi]

    def remove(self, lo: int, hi: int) -> None:
        if hi <= lo:
            return
        first = bisect.bisect_right(self._ends, lo)
        last = bisect.bisect_left(self._starts, hi)
        if first >= last:
            return  # nothing there to remove
        keep_starts: List[int] = []
        keep_ends: List[int] = []
        if self._starts[first] < lo:
            keep_starts.append(self._starts[first])
            keep_ends.append(lo)
        if self._ends[last - 1] > hi:
            keep_starts.append(hi)
            keep_ends.append(self._ends[last - 1])
        self._starts[first:last] = keep_starts
        self._ends[first:last] = keep_ends

    def covers(self, lo: int, hi: int) -> bool:
        """True when every minute of ``[lo, hi)`` is in the set."""
        if lo >= hi:
            return True
        i = bisect.bisect_right(self._starts, lo) - 1
        return i >= 0 and self._ends[i] >= hi

    def intersect(self, other: "IntervalSet") -> "IntervalSet":
        out = IntervalSet()
        a, b = list(self), list(other)
        i = j = 0
        while i < len(a) and j < len(b):
            lo = max(a[i][0], b[j][0])
            hi = min(a[i][1], b[j][1])
            if lo < hi:
                out._starts.append(lo)
                out._ends.append(hi)
            # Advance whichever runs out first.
            if a[i][1] < b[j][1]:
                i += 1
            else:
                j += 1
        return out

    def gaps(self, lo: int, hi: int) -> Iterator[Tuple[int, int]]:
        """Yield the parts of ``[lo, hi)`` that are *not* in the set."""
        cursor = lo
        for start, end in self:
            if end <= cursor:
                continue
            if start >= hi:
                break
            if start > cursor:
                yield cursor, start
            cursor = end
        if cursor < hi:
            yield cursor, hi


# ---------------------------------------------------------------------------
# Tides
# ---------------------------------------------------------------------------

@dataclass(frozen=True, order=True)
class TurningPoint:
    minute: int
    height: float = field(compare=False)


class TideTable:
    """Heights interpolated between the published high and low waters.

    The published table gives only turning points.  Between two of them the
    height follows half a cosine, which is the approximation printed on the
    back of every tide booklet and good to about ten centimetres here.
    """

    def __init__(self, points: Sequence[Tuple[int, float]]):
        if len(points) < 2:
            raise ValueError("a tide table needs at least two turning points")
        self._points = sorted(TurningPoint(m, h) for m, h in points)
        self._minutes = [p.minute for p in self._points]
        for a, b in zip(self._points, self._points[1:]):
            if a.minute == b.minute:
                raise ValueError(f"two turning points at minute {a.minute}")
            gap = b.minute - a.minute
            if not 240 <= gap <= 540:
                log.warning("suspicious gap of %d min between tides", gap)

    @property
    def horizon(self) -> Tuple[int, int]:
        return self._minutes[0], self._minutes[-1]

    def height(self, minute: int) -> float:
        lo, hi = self.horizon
        if not lo <= minute <= hi:
            raise ValueError(f"minute {minute} is outside the table ({lo}..{hi})")
        i = max(1, bisect.bisect_left(self._minutes, minute))
        a, b = self._points[i - 1], self._points[i]
        phase = math.pi * (minute - a.minute) / (b.minute - a.minute)
        mid = (a.height + b.height) / 2.0
        return mid + (a.height - b.height) / 2.0 * math.cos(phase)

    def windows_above(self, level: float, step: int = 5) -> IntervalSet:
        """Every stretch during which the water stands at ``level`` or more.

        Solved in closed form for each half-cycle rather than by sampling; the
        ``step`` argument only rounds the answer *inwards* to whole multiples,
        because no pilot has ever thanked anyone for a window at 04:13.
        """
        out = IntervalSet()
        for a, b in zip(self._points, self._points[1:]):
            top, bottom = max(a.height, b.height), min(a.height, b.height)
            if bottom >= level:
                out.add(a.minute, b.minute)
                continue
            if top < level:
                continue
            swing = (a.height - b.height) / 2.0
            mid = (a.height + b.height) / 2.0
            fraction = math.acos((level - mid) / swing) / math.pi
            crossing = a.minute + fraction * (b.minute - a.minute)
            if a.height > b.height:           # ebbing: usable until crossing
                out.add(a.minute, max(a.minute, _floor_to(crossing, step)))
            else:                             # flooding: usable from crossing
                out.add(min(b.minute, _ceil_to(crossing, step)), b.minute)
        return out


def _floor_to(value: float, step: int) -> int:
    return int(math.floor(value / step)) * step


def _ceil_to(value: float, step: int) -> int:
    return int(math.ceil(value / step)) * step


# ---------------------------------------------------------------------------
# The things being planned
# ---------------------------------------------------------------------------

@dataclass
class Berth:
    name: str
    length: float
    sill: float                     # depth at chart datum; negative dries out
    facilities: frozenset = frozenset()
    closed: IntervalSet = field(default_factory=IntervalSet)

    def accepts(self, vessel: "Vessel") -> bool:
        if vessel.length > self.length:
            return False
        return vessel.needs <= self.facilities


@dataclass
class Vessel:
    name: str
    length: float
    draught: float
    priority: Priority = Priority.VISITOR
    needs: frozenset = frozenset()

    def __post_init__(self) -> None:
        if self.length <= 0 or self.draught <= 0:
            raise ValueError(f"{self.name}: dimensions must be positive")


@dataclass
class Booking:
    vessel: Vessel
    berth: Berth
    start: int
    end: int
    movable: bool = True
    bumps: int = 0

    def overlaps(self, lo: int, hi: int) -> bool:
        return self.start < hi + TURNAROUND and lo < self.end + TURNAROUND

    def describe(self) -> str:
        d1, m1 = divmod(self.start, 1440)
        d2, m2 = divmod(self.end, 1440)
        return (
            f"{self.vessel.name:<18} {self.berth.name:<12} "
            f"d{d1} {m1 // 60:02d}:{m1 % 60:02d} - d{d2} {m2 // 60:02d}:{m2 % 60:02d}"
        )


@dataclass(order=True)
class _Request:
    rank: int
    earliest: int
    serial: int
    vessel: Vessel = field(compare=False)
    stay: int = field(compare=False)
    latest: int = field(compare=False)
    bumps: int = field(compare=False, default=0)


# ---------------------------------------------------------------------------
# Planner
# ---------------------------------------------------------------------------

class BerthPlanner:
    """Assign vessels to berths, best-ranked first.

    Usage::

        planner = BerthPlanner(berths, tides)
        planner.request(coaster, earliest=300, stay=600)
        planner.request(yacht, earliest=0, stay=1440, latest=2000)
        for booking in planner.solve():
            print(booking.describe())
    """

    def __init__(self, berths: Sequence[Berth], tides: TideTable):
        names = [b.name for b in berths]
        if len(set(names)) != len(names):
            raise ValueError("berth names must be unique")
        self.berths = list(berths)
        self.tides = tides
        self.refused: List[Tuple[Vessel, str]] = []
        self._queue: List[_Request] = []
        self._serial = itertools.count()
        self._plan: Dict[str, List[Booking]] = defaultdict(list)
        self._windows: Dict[Tuple[str, float], IntervalSet] = {}

    # -- public --------------------------------------------------------------

    def request(self, vessel: Vessel, earliest: int, stay: int,
                latest: Optional[int] = None) -> None:
        """Put a vessel in the queue.

        ``latest`` is the last acceptable *arrival*.  Without it the vessel is
        taken to be patient, and may be kept at anchor to the end of the table.
        """
        if stay <= 0:
            raise PlanningError(f"{vessel.name} asked for a stay of {stay} min")
        if not any(b.accepts(vessel) for b in self.berths):
            raise PlanningError(
                f"no berth can take {vessel.name} "
                f"({vessel.length:.1f} m, needs {sorted(vessel.needs) or 'nothing'})"
            )
        if latest is None:
            latest = self.tides.horizon[1] - stay
        heapq.heappush(self._queue, _Request(
            vessel.priority.value, earliest, next(self._serial),
            vessel, stay, latest))

    def fix(self, booking: Booking) -> None:
        """Insert a booking that nobody is allowed to move (e.g. the ferry)."""
        booking.movable = False
        for other in self._plan[booking.berth.name]:
            if other.overlaps(booking.start, booking.end):
                raise PlanningError(
                    f"{booking.vessel.name} collides with {other.vessel.name} "
                    f"on {booking.berth.name}"
                )
        bisect.insort(self._plan[booking.berth.name], booking,
                      key=lambda b: b.start)

    def solve(self) -> List[Booking]:
        while self._queue:
            req = heapq.heappop(self._queue)
            best = self._best_slot(req)
            if best is not None:
                self._commit(req, *best)
                continue
            victim = self._find_victim(req)
            if victim is None:
                reason = "no tide and berth coincide before latest arrival"
                log.info("refusing %s: %s", req.vessel.name, reason)
                self.refused.append((req.vessel, reason))
                continue
            self._bump(victim)
            heapq.heappush(self._queue, req)
        everything = itertools.chain.from_iterable(self._plan.values())
        return sorted(everything, key=lambda b: (b.start, b.berth.name))

    # -- internals -----------------------------------------------------------

    def _crossing(self, berth: Berth, vessel: Vessel) -> IntervalSet:
        """When may this vessel pass the sill of this berth? (memoised)"""
        needed = round(vessel.draught + UNDER_KEEL_CLEARANCE - berth.sill, 2)
        key = (berth.name, needed)
        if key not in self._windows:
            self._windows[key] = self.tides.windows_above(needed)
        return self._windows[key]

    def _occupied(self, berth: Berth) -> IntervalSet:
        taken = berth.closed.copy()
        for b in self._plan[berth.name]:
            taken.add(max(0, b.start - TURNAROUND), b.end + TURNAROUND)
        return taken

    def _best_slot(self, req: _Request) -> Optional[Tuple[Berth, int, int]]:
        """Earliest arrival over all berths; ties go to the snuggest fit."""
        candidates = []
        for berth in self.berths:
            if not berth.accepts(req.vessel):
                continue
            slot = self._slot_on(berth, req)
            if slot is None:
                continue
            slack = berth.length - req.vessel.length
            candidates.append((slot[0], slack, slot[1], berth))
        if not candidates:
            return None
        start, _, end, berth = min(candidates, key=lambda c: c[:3])
        return berth, start, end

    def _slot_on(self, berth: Berth, req: _Request) -> Optional[Tuple[int, int]]:
        doors = self._crossing(berth, req.vessel)
        horizon_end = self.tides.horizon[1]
        for lo, hi in self._occupied(berth).gaps(req.earliest, horizon_end):
            for open_at, shut_at in doors:
                start = max(lo, open_at)
                if start >= min(hi, shut_at):
                    continue
                if start > req.latest:
                    return None
                # She may leave at the first open door after her stay is over.
                end = self._departure(doors, start + req.stay)
                if end is not None and end <= hi:
                    return start, end
        return None

    @staticmethod
    def _departure(doors: IntervalSet, ready: int) -> Optional[int]:
        if ready in doors:
            return ready
        return next((a for a, _ in doors if a >= ready), None)

    def _find_victim(self, req: _Request) -> Optional[Booking]:
        """The least important movable booking that stands in the way."""
        pool = [
            b
            for berth in self.berths if berth.accepts(req.vessel)
            for b in self._plan[berth.name]
            if b.movable
            and b.bumps < MAX_BUMPS
            and req.vessel.priority.outranks(b.vessel.priority)
            and b.overlaps(req.earliest, req.latest + req.stay)
        ]
        return max(pool, key=lambda b: (b.vessel.priority.value, b.start),
                   default=None)

    def _bump(self, booking: Booking) -> None:
        log.info("bumping %s off %s", booking.vessel.name, booking.berth.name)
        self._plan[booking.berth.name].remove(booking)
        heapq.heappush(self._queue, _Request(
            booking.vessel.priority.value, booking.start, next(self._serial),
            booking.vessel, booking.end - booking.start,
            self.tides.horizon[1], booking.bumps + 1))

    def _commit(self, req: _Request, berth: Berth, start: int, end: int) -> None:
        booking = Booking(req.vessel, berth, start, end, bumps=req.bumps)
        self._plan[berth.name].append(booking)
        self._plan[berth.name].sort(key=lambda b: b.start)


def _demo() -> None:  # pragma: no cover
    tides = TideTable([
        (0, 1.1), (372, 4.8), (748, 0.9), (1121, 5.0), (1495, 1.0),
        (1866, 4.9), (2243, 1.2), (2612, 4.6), (2990, 1.4),
    ])
    quay = Berth("North Quay", 62.0, 2.1, frozenset({"crane", "water"}))
    basin = Berth("Inner Basin", 38.0, 0.3, frozenset({"water", "power"}))
    steps = Berth("Fish Steps", 22.0, -0.5, frozenset({"ice"}))
    planner = BerthPlanner([quay, basin, steps], tides)
    planner.request(Vessel("Anna Karsten", 54.2, 3.6, Priority.CARGO,
                           frozenset({"crane"})), earliest=120, stay=540)
    planner.request(Vessel("Petrel", 11.4, 1.9), earliest=0, stay=1200)
    planner.request(Vessel("Gudrun", 19.8, 2.7, Priority.FISHING,
                           frozenset({"ice"})), earliest=400, stay=180)
    for booking in planner.solve():
        print(booking.describe())
    for vessel, why in planner.refused:
        print(f"{vessel.name}: {why}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    _demo()
