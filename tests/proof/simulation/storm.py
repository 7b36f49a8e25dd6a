"""One plan, played to the end of all its orders, with relays and consumers, and the record of it."""

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from random import Random
from typing import Any, TypeVar

from contracts import fulfillment
from contracts.chassis import breakers
from contracts.chassis.errors import TandemError
from contracts.chassis.receipts import Granted
from contracts.chassis.telemetry import attached
from contracts.order import PlaceOrder
from fulfillment_service.settings import WarehouseSettings
from order_service.demo import demo_order
from order_service.order import Order
from tests.proof.people import ACTOR, Operator, Wished
from tests.proof.record import LogLine, Placed, Record, Sent
from tests.proof.simulation import plan as plans
from tests.proof.simulation.clerk import Clerk
from tests.proof.simulation.clock import virtual
from tests.proof.simulation.database import Row
from tests.proof.simulation.house import House, traceparent
from tests.proof.simulation.plan import Plan, WishFor
from tests.proof.simulation.play import LONGEST, PATIENCE
from tests.proof.simulation.providers import Provider
from tests.proof.simulation.schedule import Injection
from tests.proof.simulation.scheduler import BEGINNING
from tests.proof.simulation.temporal import Endless, Room
from tests.proof.simulation.writing import write, write_topics, write_views

T = TypeVar("T")
_ASKS = WarehouseSettings(cancel_policy="ask", cancel_answer_seconds=600)
MOST_STEPS = 2_000
"""Of each order; one takes about 200."""
MOST_HELPS = 200
HELPS = 0.02
"""How likely an operator does something between two steps."""


@dataclass
class Stormed:
    """A plan's record, and what of it took place."""

    plan: Plan
    record: Record
    steps: int
    replays: int
    happened: Counter[str]
    """How often each kind of happening did take place."""


def play(plan: Plan) -> Stormed:
    """All orders of the plan have ended, whatever came between, or the record says that they did not."""
    return _Storm(plan).play()


@dataclass
class _Standing:
    """An order of the plan that was placed."""

    order_id: str
    operator: Operator
    looked_at: Row | None = None
    """The parcel's stream, as it was when its operator had nothing to do; None: there was none."""

    @property
    def stream(self) -> str:
        return fulfillment.stream(fulfillment.fulfillment_id(self.order_id, 1))


@dataclass
class _Storm:
    plan: Plan
    sent: list[Sent] = field(default_factory=list[Sent])
    accepted: list[Placed] = field(default_factory=list[Placed])
    replays: int = 0
    happened: Counter[str] = field(default_factory=Counter[str])
    helps: int = 0

    def __post_init__(self) -> None:
        plan = self.plan
        self.chance = Random(plan.seed)
        self.house = House(
            # 0 would go first come, first served.
            seed=plan.seed + 1,
            room=Room(plan.room),
            warehouse=_ASKS if plan.answer else None,
            stock=plan.stock,
            threshold=plan.threshold,
            attempts=plan.attempts,
        )
        self.clerk = Clerk(self.house, self.chance)
        self.scheduler = self.house.scheduler
        self.placed: dict[int, _Standing] = {}
        self.last_help = self.scheduler.now
        self.seen = {"order": 0, "parcel": 0}
        self._prepare()

    def _prepare(self) -> None:
        plan, house = self.plan, self.house
        house.connect_kafka(relays=plan.relays, members=plan.members)
        house.payments.lifetime = plan.lifetime
        house.payments.knows_keys = house.carrier.knows_keys = plan.knows_keys
        house.server.times_out = True
        house.server.is_evicted = self._is_evicted
        self.scheduler.lingers = self._lingers
        self.orders = [each for each in plan.happenings if isinstance(each, plans.PlaceOrder)]
        self.due: dict[int, list[plans.Happening]] = {}
        self.after: dict[str, list[WishFor | plans.Crash]] = {}
        for each in plan.happenings:
            match each:
                case plans.Misbehave():
                    provider = self._provider(each.provider)
                    _plan(provider.behaviours.setdefault(each.operation, []), each.n, each.how)
                case plans.Cut():
                    self._cut(each)
                case plans.PlaceOrder() | plans.Stop() | plans.Rebalance() | plans.Break() | plans.Trip():
                    self.due.setdefault(each.step, []).append(each)
                case plans.WishFor() | plans.Crash() if each.when.step is not None:
                    self.due.setdefault(each.when.step, []).append(each)
                case plans.WishFor() | plans.Crash():
                    self.after.setdefault(each.when.fact or "", []).append(each)
        self.stops = 0.0

    def _cut(self, cut: plans.Cut) -> None:
        side = self.house.orders if cut.side == "order" else self.house.parcels
        match cut.what:
            case "database":
                _plan(side.database.behaviours, cut.n, cut.how)
            case "temporal":
                _plan(side.twin_client.behaviours, cut.n, cut.how)
            case "kafka":
                _plan(self.house.broker.behaviours, cut.n, cut.how)

    def _to_come(self) -> Counter[str]:
        """What is to go wrong with the n-th call, as long as that call has not come."""
        providers = (self.house.payments, self.house.carrier)
        sides = (self.house.orders, self.house.parcels)
        calls = [planned for each in providers for planned in each.behaviours.values()]
        sent = [
            planned for each in sides for planned in (each.database.behaviours, each.twin_client.behaviours)
        ]
        sent.append(self.house.broker.behaviours)
        return Counter(
            misbehave=sum(how != "ok" for planned in calls for how in planned),
            cut=sum(how != "ok" for planned in sent for how in planned),
        )

    def play(self) -> Stormed:
        record, printed, to_come = Record(), StringIO(), self._to_come()
        with virtual(self.scheduler), redirect_stdout(printed):
            try:
                self._run()
            except Endless as error:
                record.troubles.append(f"no end: {error}")
            finally:
                self.house.close()
        record.sent, record.placed = self.sent, self.accepted
        write(record, self.house)
        write_topics(record, self.house)
        write_views(record, self.house)
        record.lines = [LogLine("stdout", line) for line in printed.getvalue().splitlines()]
        self.happened += to_come - self._to_come()
        return Stormed(self.plan, record, self.scheduler.steps, self.replays, self.happened)

    def _run(self) -> None:
        most = MOST_STEPS * max(1, len(self.orders))
        for _ in range(most):
            while not self.scheduler.is_idle:
                self._happen(self.due.pop(self.scheduler.steps, ()))
                if not self.scheduler.is_idle:
                    self.scheduler.step()
                self._notice()
                if self.chance.random() < HELPS:
                    self._work()
                if self.clerk.has_work and self.chance.random() < HELPS:
                    self.scheduler.run(self.clerk.help())
                if self.scheduler.steps > most:
                    raise Endless(f"{most} steps")
            if self._place_next() or self._work():
                continue
            if self._is_over:
                if not self._late():
                    return
            else:
                self._wait_or_help()
        raise Endless(f"looked {most} times what to do next")

    @property
    def _is_over(self) -> bool:
        house = self.house
        if any(each.is_open for each in house.server.executions):
            return False
        sides = (house.orders.machinery, house.parcels.machinery)
        waits = sum(each.unpublished + each.undelivered for each in sides)
        return not waits and not house.readers.lag and not house.parcel_readers.lag

    # What happens.

    def _happen(self, happenings: Sequence[plans.Happening]) -> None:
        for each in happenings:
            match each:
                case plans.PlaceOrder():
                    self._place(each)
                    continue
                case WishFor():
                    self._wish(each)
                    continue
                case plans.Crash():
                    self.scheduler.kill(each.worker)
                case plans.Stop():
                    self.stops = each.seconds
                case plans.Rebalance():
                    group = self.house.readers if each.side == "order" else self.house.parcel_readers
                    group.shift += 1
                    group.rewind(each.rewind)
                    for side in (self.house.orders, self.house.parcels):
                        side.machinery.rung("records")
                case plans.Break():
                    self._provider(each.provider).broken[each.operation] = each.how
                case plans.Trip():
                    self.scheduler.run(self._trip(each))
                case plans.Misbehave() | plans.Cut():
                    raise AssertionError("comes with a call, and not at a step")
            self.happened[each.kind] += 1

    def _provider(self, name: plans.Provider) -> Provider:
        return self.house.payments if name == "payments" else self.house.carrier

    async def _trip(self, trip: plans.Trip) -> None:
        side = self.house.orders if trip.provider == "payments" else self.house.parcels
        with suppress(TandemError):
            await breakers.set_by_hand(
                side.real_database, trip.provider, "OPEN", reason="drill", actor=ACTOR, seconds=trip.seconds
            )

    def _place(self, asked: plans.PlaceOrder) -> None:
        place = _place_of(asked, self.orders)
        if place in self.placed:
            return
        told: list[str] = []
        command_id = f"place-{place + 1}"
        for _ in range(asked.times):
            with attached(traceparent(place + 1)):
                answer = self._answered(partial(self._ask_for, asked, command_id))
            told.append(str((answer.answer or {})["orderId"]))
            self.placed[place] = _Standing(told[-1], Operator(self.house, told[-1], self.plan.answer))
        self.accepted.append(Placed(command_id, command_id, told))
        self.happened[asked.kind] += 1

    def _ask_for(self, asked: plans.PlaceOrder, command_id: str) -> Coroutine[Any, Any, Granted[Order]]:
        return self.house.order_intake.place(
            _body(asked),
            command_id=command_id,
            actor=ACTOR,
            request_hash="",
            mode=asked.mode,
            pace_seconds=asked.pace_seconds,
        )

    def _place_next(self) -> bool:
        """Nothing goes on, so the next order comes now."""
        waiting = [each for place, each in enumerate(self.orders) if place not in self.placed]
        if waiting:
            self._place(waiting[0])
        return bool(waiting)

    def _wish(self, wish: WishFor) -> None:
        standing = self.placed.get(wish.order)
        if standing is None:
            return
        number = _place_of(wish, self.plan.happenings) + 1
        injection = Injection("", wish.message, wish.door, wish.times)
        wished = Wished(injection, number, standing.order_id, self.scheduler.now)
        for _ in range(wish.times):
            with attached(traceparent(1000 + number)):
                sent = self._answered(lambda: wished.send(self.house))
            self.sent += [sent] if sent else []
            self.happened[wish.kind] += sent is not None

    def _answered(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer; whoever gets none asks again."""
        while True:
            with suppress(TandemError):
                return self.scheduler.run(ask())

    def _notice(self) -> None:
        """What was to come right after a fact comes, once for each."""
        for side in (self.house.orders, self.house.parcels):
            facts = side.database.tables.count("events")
            new = facts - self.seen[side.name]
            if not new:
                continue
            for row in side.database.tables.newest("events", new):
                self._happen(self._after(row["stream"], row["type"]))
            self.seen[side.name] = facts

    def _after(self, stream: str, fact: str) -> Sequence[plans.Happening]:
        waiting = self.after.get(fact, [])
        due = [
            each
            for each in waiting
            if (standing := self.placed.get(each.order)) and standing.order_id in stream
        ]
        self.after[fact] = [each for each in waiting if each not in due]
        return due

    def _late(self) -> bool:
        """What waited for something that did not come is wished at the end; nothing more is broken."""
        waiting = [each for happenings in (*self.due.values(), *self.after.values()) for each in happenings]
        self.due.clear()
        self.after.clear()
        late = [each for each in waiting if isinstance(each, WishFor)]
        self._happen(late)
        return bool(late)

    def _lingers(self) -> float:
        seconds, self.stops = self.stops, 0.0
        return seconds

    def _is_evicted(self) -> bool:
        evicted = self.chance.random() < self.plan.evicted
        self.replays += evicted
        return evicted

    # People.

    def _work(self) -> bool:
        """True when an operator completed a step that waited for somebody's word."""
        standing = list(self.placed.values())
        self.chance.shuffle(standing)
        return any(self._works(each) for each in standing)

    def _works(self, standing: _Standing) -> bool:
        """True when this operator did; nobody looks at the same facts again."""
        stream = self.house.parcels.database.tables.get("streams", standing.stream)
        if stream is standing.looked_at:
            return False
        step_key = self.scheduler.run(standing.operator.awaited())
        if step_key is None:
            standing.looked_at = stream
            return False
        return self.scheduler.run(standing.operator.complete(step_key))

    def _wait_or_help(self) -> None:
        """What time will do soon is waited for; what it will not do, people do."""
        moment = self.scheduler.next_moment
        if moment is not None and moment <= self.last_help + PATIENCE:
            self.scheduler.advance()
        elif self.scheduler.run(self.clerk.help(repairs=True)) or any(
            self.scheduler.run(each.operator.set_free()) for each in self.placed.values()
        ):
            self.last_help = self.scheduler.now
            self.helps += 1
            if self.helps > MOST_HELPS:
                raise Endless(f"{MOST_HELPS} times somebody helped")
        elif moment is None or moment - BEGINNING > LONGEST:
            raise Endless("nothing will ever happen again")
        else:
            self.scheduler.advance()


def _place_of(happening: plans.Happening, among: Sequence[plans.Happening]) -> int:
    """Of this very one: a plan may have two that are alike, and both happen."""
    return next(place for place, each in enumerate(among) if each is happening)


def _plan(behaviours: list[Any], n: int, how: str) -> None:
    """The n-th one goes like this."""
    behaviours += ["ok"] * (n - len(behaviours))
    behaviours[n - 1] = how


def _body(asked: plans.PlaceOrder) -> PlaceOrder:
    demo = demo_order("happy")
    prices = {item.sku: item for item in demo.items}
    items = [prices[sku].model_copy(update={"quantity": quantity}) for sku, quantity in asked.lines]
    return demo.model_copy(update={"items": items})
