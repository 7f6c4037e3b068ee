"""Who may go: the flows by band, within a band by their tenants' counters.

A request begins in the band of its priority and rises by one for every `ageing_s` that it waits. The highest priority
that anybody asked for is the top: whatever rose to it or beyond is equal there, and only counters decide. So a step of
priority is a head start of `ageing_s` and not a larger share, and where all have one priority, age changes nothing.

A flow stands where its first request stands. Bands are sorted lists: for some thousand tenants moving half of one is
cheaper than any tree.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort

from matrixinfer.handlers.dispatch.fair.flow import Account, Entry, Flow, Timer
from matrixinfer.handlers.dispatch.request import Request


class Bands:
    """Of a tenant with several flows only the served one is put to its new counter at once: a counter that grew makes
    an entry stand too far in front, where it is found and put right. One that shrank is told by `touch_account`."""

    def __init__(self, lowest: int, highest: int, ageing_s: float) -> None:
        self._lowest = lowest
        self._highest = highest
        self._ageing_s = ageing_s
        self._bands: list[list[Entry]] = [[] for _ in range(lowest, highest + 1)]
        self._flows_of: dict[int, int] = {}
        """Priority → flows with somebody who may go."""
        self._timers: list[Timer] = []
        """Sorted, one at most for each flow."""
        self._timer_number = 0
        self._touched: dict[Flow, None] = {}
        self._now = 0.0

    def touch(self, flow: Flow) -> None:
        """Its line changed: before the next question it is put where it belongs."""
        self._touched[flow] = None

    def touch_account(self, account: Account) -> None:
        """Its counter shrank."""
        for flow in account.flows.values():
            self._touched[flow] = None

    def forget(self, flow: Flow) -> None:
        """Nobody of it waits any more."""
        self._touched.pop(flow, None)
        if flow.entry is not None:
            self._count(flow.priority, -1)
            self._take_out(flow, flow.entry)
        self._unset_timer(flow)

    def band(self, request: Request, priority: int) -> int:
        """By priority and age at the time of the last `advance`."""
        return min(self._highest, priority + int(max(0.0, self._now - request.since) / self._ageing_s))

    def advance(self, now: float) -> int:
        """Let those rise whose time has come, and tell how many were looked at. Time does not run backwards."""
        self._now = now = max(now, self._now)
        timers = self._timers
        if not timers or timers[0][0] > now:
            return 0
        due = [flow for _, _, flow in itertools.takewhile(lambda timer: timer[0] <= now, timers)]
        del timers[: len(due)]
        for flow in due:
            flow.timer = None
            if flow.entry is not None:
                self._count(flow.priority, -1)
                self._take_out(flow, flow.entry)
                self._touched[flow] = None
        return len(due)

    def top(self) -> int:
        """The highest priority of those who may go."""
        if self._touched:
            self._settle()
        return max(self._flows_of, default=self._highest)

    def least(self) -> float | None:
        """The smallest counter in any band."""
        first = self._first_of(self._lowest)
        return first[0] if first is not None else None

    def leader(self) -> Flow | None:
        """Of the flows in the top, that of the smallest counter; of equals that of the older request."""
        first = self._first_of(self.top())
        return first[2] if first is not None else None

    def within(self, limit: float, most: int) -> list[Flow]:
        """The first `most` flows in the top whose counters are at most `limit`, in fair order."""
        found: list[Entry] = []
        for entries in self._bands[self.top() - self._lowest :]:
            at = 0
            while at < len(entries) and at < most:
                counter, _, flow = entries[at]
                if counter > limit:
                    break
                if counter == flow.account.counter:
                    at += 1
                else:
                    self._put_right(entries, at)
            found += entries[:at]
        found.sort()
        return [entry[2] for entry in found[:most]]

    def _first_of(self, lowest: int) -> Entry | None:
        """In fair order, of this band and those above."""
        if self._touched:
            self._settle()
        first = None
        for entries in self._bands[lowest - self._lowest :]:
            while entries and entries[0][0] != entries[0][2].account.counter:
                self._put_right(entries, 0)
            if entries and (first is None or entries[0] < first):
                first = entries[0]
        return first

    def _put_right(self, entries: list[Entry], at: int) -> None:
        _, order, flow = entries.pop(at)
        flow.entry = (flow.account.counter, order, flow)
        insort(entries, flow.entry)

    def _settle(self) -> None:
        for flow in self._touched:
            first, entry = flow.first(), flow.entry
            if entry is None or first is None or entry[1] != first.order or entry[0] != flow.account.counter:
                if (entry is None) != (first is None):
                    self._count(flow.priority, 1 if entry is None else -1)
                if entry is not None:
                    self._take_out(flow, entry)
                if first is not None:
                    self._put_in(flow, first)
        self._touched.clear()

    def _put_in(self, flow: Flow, first: Request) -> None:
        band = self.band(first, flow.priority)
        flow.band = band
        flow.entry = (flow.account.counter, first.order, flow)
        insort(self._bands[band - self._lowest], flow.entry)
        if band < self._highest:
            flow.rises_at = first.since + (band - flow.priority + 1) * self._ageing_s
            self._set_timer(flow)

    def _set_timer(self, flow: Flow) -> None:
        """One that goes off too early sets the next: a flow whose first request changes often needs no more."""
        if flow.timer is None or flow.rises_at < flow.timer[0]:
            self._unset_timer(flow)
            self._timer_number += 1
            flow.timer = (flow.rises_at, self._timer_number, flow)
            insort(self._timers, flow.timer)

    def _unset_timer(self, flow: Flow) -> None:
        if flow.timer is not None:
            del self._timers[bisect_left(self._timers, flow.timer)]
            flow.timer = None

    def _take_out(self, flow: Flow, entry: Entry) -> None:
        entries = self._bands[flow.band - self._lowest]
        del entries[bisect_left(entries, entry)]
        flow.entry = None

    def _count(self, priority: int, by: int) -> None:
        left = self._flows_of.get(priority, 0) + by
        if left:
            self._flows_of[priority] = left
        else:
            del self._flows_of[priority]
