"""The queue of one pool: who is next, what it costs, and who has had what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from matrixinfer.bus.contracts.decision import Fairness
from matrixinfer.bus.contracts.load import WorkKey
from matrixinfer.handlers.dispatch.fair.accounts import Accounts, FairnessSnapshot
from matrixinfer.handlers.dispatch.fair.bands import Bands
from matrixinfer.handlers.dispatch.fair.billing import Billing
from matrixinfer.handlers.dispatch.fair.deadlines import Deadlines
from matrixinfer.handlers.dispatch.fair.early_rejection import too_late
from matrixinfer.handlers.dispatch.fair.flow import Account, Flow, Ticket
from matrixinfer.handlers.dispatch.fair.locality import Affinity, longest_cached
from matrixinfer.handlers.dispatch.fair.output_lengths import OutputLengths
from matrixinfer.handlers.dispatch.fair.refusal import Held, Refusal, over_bounds
from matrixinfer.handlers.dispatch.fair.sessions import Sessions
from matrixinfer.handlers.dispatch.fair.settings import FairSettings
from matrixinfer.handlers.dispatch.fair.whereabouts import Whereabouts
from matrixinfer.handlers.dispatch.request import Request


class FairQueue:
    """Virtual token counters with locality within a quantum, priority bands, and order within sessions.

    **Who is next.** Of the flows in the top band (`bands`) the fair order takes that of the tenant with the smallest
    counter, of equal ones that of the older request, and of the flow the oldest request that its session lets go (VTC).
    With `affinity`, the choice is among the first requests of all tenants whose counter is at most `quantum_tokens`
    above the smallest, and the one with the longest cached prefix goes first (DLPM).

    **The deficits of DLPM** (arXiv 2501.14312, algorithm 1). The paper gives each client i a deficit q_i, dispatches
    the longest prefix match among clients with q_i > 0, takes off what is computed, and adds the quantum Q to all when
    nobody has any left. Here q_i = m + Q - c_i, where c_i is the counter and m the smallest of those waiting: a charge
    takes off as much, and as m moves on, all are refilled by as much. It differs in three ways: the refill comes bit
    by bit and not by whole quanta, which never lets two deficits be further apart; a whole request is taken off when
    it goes to a pod, its output as predicted, and corrected at its end; and after `most_passes` choices of locality
    the fair order has one. A quantum of 0 is plain VTC.

    **The bound.** Let U be the largest charge of one request divided by its tenant's weight. A tenant is charged only
    when its counter is at most m + Q, and so never gets above m + Q + U. With exact charges m never falls, and one that
    becomes active is lifted to m at least, never to above the largest. So two waiting tenants are never more than Q + U
    apart, and in any interval in which both wait |W_a / w_a - W_b / w_b| <= 2 (Q + U), where W is what was charged and
    w the weight. The paper's bound, 2 max(w_p L_in, w_q M), has Q = 0 and charges output token by token; here U is at
    most w_p L_in + w_q L_out. With predicted charges, let F be the most requests that a tenant has at pods and E the
    largest error of one, divided by the weight. A counter differs from what was really used by F E at most; so when a
    is served, its real use is at most Q + 2 F E + U ahead of b's afterwards, and the same the other way round. For
    tenants that begin to wait together the bound is 2 (Q + U + 2 F E).

    **No starvation.** A request is in the top band after (highest - lowest priority) * `ageing_s` at the latest. From
    then on each turn of the fair order goes to its tenant or to one with a smaller counter (or an equal one and an
    older request), which it raises by d = 1 / weight at least. Of those there are the present ones, and
    `most_newcomers` that come later. With D the largest difference of counters, its tenant has its turn after at most
    (tenants + most_newcomers) (D / d + 1) turns of the fair order, of which there is one in `most_passes` + 1 choices.
    That is about choices: whoever no pod suits when its turn comes is passed over (`dispatch/passing_over`), and one
    that waits long for room has a pod kept for it (`dispatch/reservation`).
    """

    def __init__(self, settings: FairSettings | None = None) -> None:
        self._settings = settings = settings or FairSettings()
        self.size_bytes = 0
        self.earliest_deadline = math.inf
        self._tickets: dict[int, Ticket] = {}
        self._lone: Ticket | None = None
        """The only one that waits stands in no line: most leave before a second one comes."""
        self._passed_over: dict[int, Ticket] = {}
        self._held: list[Flow] = []
        self._deadlines = Deadlines(self._tickets)
        self._sessions = Sessions()
        self._bands = Bands(settings.lowest_priority, settings.highest_priority, settings.ageing_s)
        self._accounts = Accounts(settings.weights, self._bands, settings.most_newcomers, settings.remembered_tenants)
        self._lengths = OutputLengths(settings.expected_output_tokens, settings.remembered_tenants)
        self._billing = Billing(self._accounts, self._lengths, settings)
        self._whereabouts = Whereabouts(self._tickets, self._accounts, self._bands)
        self._leader = self._choice = -1
        """By `order`: whom the fair order and whom locality chose last."""
        self._passes = 0
        self._cost = 0.0

    @property
    def quantum_tokens(self) -> float:
        """Virtual tokens that a tenant may be ahead of the last one and still go first."""
        return self._settings.quantum_tokens

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[Request]:
        return (ticket.request for ticket in self._tickets.values())

    # -- in and out
    def push(self, request: Request) -> None:
        """Take it in at its place by `order`; one that is in is left there."""
        if request.order in self._tickets:
            return
        self._line_up()
        account = self._accounts.enter(request.tenant)
        flow = account.flow(self._priority(request))
        ticket = Ticket(request, flow, self._billing.expected_cost(request))
        self._tickets[request.order] = ticket
        self._count(ticket, 1)
        self.earliest_deadline = min(self.earliest_deadline, request.deadline)
        if len(self._tickets) == 1 and not flow.held:
            self._lone = ticket
        else:
            self._put_in_line(ticket)

    def head(self, now: float, affinity: Affinity | None = None) -> Request | None:
        """The next one; it stays in the queue. `affinity` is asked for `window` requests at most."""
        self._whereabouts.changes += self._bands.advance(now)
        if self._lone is not None:
            self._leader = self._lone.request.order
            return self._lone.request
        flow = self._bands.leader()
        leader = flow.line.first() if flow is not None else None
        if flow is None or leader is None:
            return None
        choice, quantum = leader, self._settings.quantum_tokens
        if affinity is not None and quantum > 0 and self._passes < self._settings.most_passes:
            flows = self._bands.within(flow.account.counter + quantum, self._settings.window)
            choice = longest_cached(flows, affinity, self._settings.window) or leader
        self._leader, self._choice = leader.order, choice.order
        return choice

    def remove(self, request: Request) -> bool:
        """Take it out wherever it is; False when it was not there. Its session's next one may go now."""
        ticket = self._tickets.pop(request.order, None)
        if ticket is None:
            return False
        self._count(ticket, -1)
        self._count_passes(ticket.request.order)
        if ticket is self._lone:
            self._lone = None
        else:
            self._take_out_of_line(ticket)
        self._close_if_empty(ticket)
        if not self._tickets:
            self.earliest_deadline = math.inf
        return True

    def pass_over(self, request: Request) -> None:
        """No pod suits this head now: it is not offered, nor anything of its session, until `recall`. In all else it
        stays in the queue, and so its tenant keeps a counter that removal and another push might lift."""
        self._line_up()
        ticket = self._tickets[request.order]
        self._withdraw(ticket)
        self._passed_over[request.order] = ticket

    def hold(self, request: Request) -> None:
        """Offer nothing of its flow (the same tenant and priority) until `recall`."""
        self._line_up()
        flow = self._tickets[request.order].flow
        flow.held = True
        self._held.append(flow)
        self._bands.touch(flow)

    def recall(self) -> None:
        """All that was passed over or held may go again."""
        for flow in self._held:
            flow.held = False
            self._bands.touch(flow)
        self._held.clear()
        self.recall_some(list(self._passed_over))

    def recall_some(self, orders: Iterable[int]) -> None:
        """Those that were passed over of these may go again."""
        for order in orders:
            ticket = self._passed_over.pop(order, None)
            if ticket is not None:
                self._offer(ticket)

    def take_overdue(self, now: float) -> list[Request]:
        """Remove and return those whose deadline has come."""
        if now < self.earliest_deadline:
            return []
        self._line_up()
        overdue = self._deadlines.take_due(now)
        for request in overdue:
            self.remove(request)
        self.earliest_deadline = self._deadlines.earliest()
        return overdue

    # -- what it costs
    def charge(self, request: Request, work: WorkKey, pod: str, cached_tokens: int = 0) -> None:
        """It goes as `work` to a pod that has so many tokens of its prompt cached: its tenant pays what it is expected
        to cost. The same work charged again, only the last charge counts."""
        self._line_up()
        account = self._accounts.find(request.tenant)
        self._billing.charge(request, account, work, pod, cached_tokens)
        self._whereabouts.changes += 1

    def start(self, work: WorkKey) -> bool:
        """Its first token is there: it is not given back any more. False when there is no open charge."""
        return self._billing.start(work)

    def refund(self, work: WorkKey) -> bool:
        """It used nothing: give the charge back, before it is pushed again if it is. False when there is none, or the
        work has started."""
        self._whereabouts.changes += 1
        return self._billing.refund(work)

    def amend(self, work: WorkKey, uncached_tokens: int) -> None:
        """Elsewhere so many tokens of its prompt were computed for it."""
        self._billing.amend(work, uncached_tokens)

    def correct(self, work: WorkKey, uncached_tokens: int | None, output_tokens: int, *, learns: bool = True) -> bool:
        """It ended, and this is what it used (None: of the prompt as much as was expected): the tenant pays the
        difference, the expectation of outputs `learns`. False when there is no open charge: it was corrected before,
        or is a predecessor's."""
        self._whereabouts.changes += 1
        return self._billing.correct(work, uncached_tokens, output_tokens, learns=learns)

    def leave(self, pod: str) -> None:
        """The pod died or is gone: no more will be heard of what it had. What started there stays as it was charged."""
        self._whereabouts.changes += 1
        self._billing.leave(pod)

    def open_bills(self) -> int:
        """Work that was charged and has not ended."""
        return len(self._billing)

    def waiting_cost(self, request: Request) -> float:
        """Virtual tokens that one which waits counts for in forecasts: what `DrainRate.placed` is told."""
        return self._tickets[request.order].cost

    def reweigh(self, weights: Mapping[str, float]) -> None:
        """Tenants that are not named weigh 1. What they had before stays as it was counted."""
        self._accounts.reweigh(weights)

    # -- questions
    def expected_output_tokens(self, tenant: str, max_tokens: int) -> int:
        """Of a request of this tenant, as far as its answers and those of the pool have taught; 0 is no bound."""
        return round(self._lengths.expect(tenant, max_tokens))

    def oldest(self) -> Request | None:
        """Who came first of those that wait, or soon after: one that was placed and came back counts anew."""
        ticket = next(iter(self._tickets.values()), None)
        return ticket.request if ticket is not None else None

    def position(self, request: Request) -> int:
        """How many are before one that waits, locality and age left aside; 0 is next. Above 256 an estimate."""
        self._line_up()
        return self._whereabouts.position(request)

    def refusal(self, request: Request, now: float, rate_per_s: float | None) -> Refusal | None:
        """Why it should not wait here: a bound, or a deadline that it would miss by the pool's rate (`DrainRate`).
        None when it should. To be asked before `push`."""
        if not self._tickets:
            return None  # it waits behind nobody
        self._line_up()
        account = self._accounts.find(request.tenant)
        own = Held(account.waiting, account.size_bytes, sum(flow.cost for flow in account.flows.values()))
        pool = Held(len(self), self.size_bytes, self._cost)
        rates = (self._accounts.share(account) * rate_per_s, rate_per_s) if rate_per_s else None
        refusal = over_bounds(request, own, pool, self._settings, rates)
        remaining_s = request.deadline - now
        if refusal is not None or not rate_per_s or self._cost <= remaining_s * rate_per_s:
            return refusal
        return too_late(
            self._whereabouts.ahead_of_new(request.tenant, self._priority(request)), rate_per_s, remaining_s
        )

    def fairness(self, request: Request) -> Fairness:
        """What its tenant has had, beside whoever waits and had least: for the record, before `charge`."""
        counter = self._accounts.find(request.tenant).counter
        least = self._bands.least() if self._lone is None else self._lone.flow.account.counter
        return Fairness(counter, counter if least is None else least, self._accounts.waiting())

    def remembered_tenants(self) -> int:
        """Those with requests here or at pods, and idle ones whose counters matter still: for a gauge."""
        return len(self._accounts)

    # -- a takeover
    def snapshot(self, most_tenants: int = 1000) -> FairnessSnapshot:
        """What a successor needs to go on in the same order; of more tenants, those for whom it matters most."""
        self._line_up()
        return msgspec.structs.replace(
            self._accounts.snapshot(most_tenants),
            output_tokens=self._lengths.pool_mean(),
            tenant_output_tokens=self._lengths.tenant_means(most_tenants),
        )

    def restore(self, snapshot: FairnessSnapshot) -> None:
        """To be called on an empty queue, before the waiting requests come again; `end_catching_up` when they have."""
        self._accounts.restore(snapshot)
        self._lengths.resume(snapshot.output_tokens, snapshot.tenant_output_tokens)

    def end_catching_up(self) -> None:
        """Every request that a predecessor had waiting has come, or never will."""
        self._accounts.end_resuming()

    # -- the books
    def _priority(self, request: Request) -> int:
        return max(self._settings.lowest_priority, min(self._settings.highest_priority, request.priority))

    def _count(self, ticket: Ticket, by: int) -> None:
        flow, size_bytes = ticket.flow, ticket.request.size_bytes
        account: Account = flow.account
        flow.waiting += by
        flow.cost = flow.cost + by * ticket.cost if flow.waiting else 0.0
        account.waiting += by
        account.size_bytes += by * size_bytes
        self.size_bytes += by * size_bytes
        self._cost = self._cost + by * ticket.cost if self._tickets else 0.0
        self._whereabouts.changes += 1

    def _count_passes(self, order: int) -> None:
        if order == self._leader:
            self._passes = 0
        elif order == self._choice:
            self._passes += 1

    def _line_up(self) -> None:
        """The lone one is to be compared with others."""
        if self._lone is not None:
            lone, self._lone = self._lone, None
            self._put_in_line(lone)

    def _put_in_line(self, ticket: Ticket) -> None:
        request = ticket.request
        self._deadlines.add(request)
        before, leader = self._sessions.join(request) if request.session else (None, request)
        if leader is request:
            if before is not None:
                self._withdraw(self._tickets[before.order])
            self._offer(ticket)

    def _take_out_of_line(self, ticket: Ticket) -> None:
        request = ticket.request
        self._withdraw(ticket)
        successor = self._sessions.leave(request) if request.session else None
        if successor is not None:
            self._offer(self._tickets[successor.order])
        self._deadlines.trim(len(self._tickets))

    def _offer(self, ticket: Ticket) -> None:
        ticket.flow.line.add(ticket.request)
        self._bands.touch(ticket.flow)

    def _withdraw(self, ticket: Ticket) -> None:
        """It may not go: it left, is passed over, or waits behind an older one of its session."""
        if self._passed_over.pop(ticket.request.order, None) is None and ticket.flow.line.discard(ticket.request):
            self._bands.touch(ticket.flow)

    def _close_if_empty(self, ticket: Ticket) -> None:
        flow = ticket.flow
        if not flow.waiting:
            del flow.account.flows[flow.priority]
            self._bands.forget(flow)
        if not flow.account.waiting:
            self._accounts.leave(flow.account)
