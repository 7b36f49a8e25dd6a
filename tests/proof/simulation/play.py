"""One schedule, played to the end of its order, and the record of it."""

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from contracts.chassis.telemetry import attached
from contracts.order import PlaceOrder
from fulfillment_service.settings import WarehouseSettings
from order_service.demo import demo_order
from tests.proof.people import ACTOR, Operator, Wished
from tests.proof.record import Record, Sent
from tests.proof.simulation.clock import virtual
from tests.proof.simulation.house import House, traceparent
from tests.proof.simulation.schedule import SCRIPTS, Injection, Schedule, Script
from tests.proof.simulation.scheduler import BEGINNING
from tests.proof.simulation.temporal import Endless, Room
from tests.proof.simulation.writing import write

ORDER = demo_order("happy").model_copy(update={"items": demo_order("happy").items[:1]})
PATIENCE = timedelta(minutes=20)
"""So long things are left to time, since somebody last did something; then people help whoever is stuck."""
LONGEST = timedelta(days=60)
_ASKS = WarehouseSettings(cancel_policy="ask", cancel_answer_seconds=600)
_WAREHOUSES = {None: WarehouseSettings(), "accept": _ASKS, "reject": _ASKS}
SECONDS = (0.1, 1.0, 4.0)
"""Of whoever does nothing for a while: less than what may take how long."""
HESITATES = 0.5
"""How likely somebody lingers where something was wished, in a run in which anybody does."""
MOST_STEPS = 3_000
"""A run takes about 250."""


@dataclass
class Played:
    """A schedule's record, and the points it came through, in their order."""

    schedule: Schedule
    record: Record
    points: list[str]


def order_of(script: Script) -> PlaceOrder:
    """What the script's customer asks for; its token and its postal code are for a real sandbox."""
    address = ORDER.shipping_address.model_copy(update={"zip_code": script.zip_code})
    payment = ORDER.payment.model_copy(update={"token": script.token})
    return ORDER.model_copy(update={"shipping_address": address, "payment": payment})


def play(schedule: Schedule, *, lingers: float = 0.0) -> Played:
    """The order of the script has ended, whatever came between, or the record says that it did not.

    So likely is it that whoever is next does nothing for some seconds first."""
    return _Play(schedule, lingers).play()


@dataclass
class _Play:
    schedule: Schedule
    lingers: float = 0.0
    points: list[str] = field(default_factory=list[str])
    sent: list[Sent] = field(default_factory=list[Sent])

    def __post_init__(self) -> None:
        self.script = SCRIPTS[self.schedule.script]
        self.house = House(
            seed=self.schedule.seed, room=Room(self.script.room), warehouse=_WAREHOUSES[self.script.answer]
        )
        self.house.payments.lifetime = self.script.lifetime
        self.house.payments.behaviours = {what: list(how) for what, how in self.script.payments.items()}
        self.house.carrier.behaviours = {what: list(how) for what, how in self.script.carrier.items()}
        self.scheduler = self.house.scheduler
        self.waiting: dict[str, list[tuple[int, Injection]]] = {}
        for number, injection in enumerate((*self.script.opening, *self.schedule.injections), start=1):
            self.waiting.setdefault(injection.point, []).append((number, injection))
        self.last_help = self.scheduler.now
        self.chance = Random(self.schedule.seed)
        self.scheduler.lingers = self._lingers

    def play(self) -> Played:
        record = Record()
        with virtual(self.scheduler):
            try:
                self._place()
                self._run()
            except Endless as error:
                record.troubles.append(f"no end: {error}")
            finally:
                self.house.close()
        record.sent = self.sent
        write(record, self.house)
        return Played(self.schedule, record, self.points)

    def _place(self) -> None:
        placing = self.house.order_intake.place(
            order_of(self.script),
            command_id="place",
            actor=ACTOR,
            request_hash="",
            mode=self.script.mode,
            pace_seconds=self.script.pace_seconds,
        )
        with attached(traceparent(1)):
            granted = self.scheduler.run(placing)
        self.order_id = str((granted.answer or {})["orderId"])
        self.operator = Operator(self.house, self.order_id, self.script.answer)
        # Wishes may come from here on: before that there is nothing to wish about.
        self.scheduler.at_point = self._came_to

    def _run(self) -> None:
        while True:
            while not self.scheduler.is_idle:
                self.scheduler.step()
                if self.scheduler.steps > MOST_STEPS:
                    raise Endless(f"{MOST_STEPS} steps")
            if self.scheduler.is_held_up:
                self.scheduler.advance()
            elif self._is_over:
                if not self._late_wishes():
                    return
            elif not self.scheduler.run(self.operator.work()):
                self._wait_or_help()

    @property
    def _is_over(self) -> bool:
        executions = self.house.server.executions
        return bool(executions) and not any(each.is_open for each in executions)

    def _lingers(self) -> float:
        return self.chance.choice(SECONDS) if self.lingers and self.chance.random() < self.lingers else 0.0

    # What comes between.

    def _came_to(self, point: str) -> float:
        """How long it is then, before whoever came there goes on; what was wished may be done before that."""
        self.points.append(point)
        here = self.waiting.pop(point, ())
        for number, injection in here:
            self._inject(number, injection)
        hesitates = bool(self.lingers and here) and self.chance.random() < HESITATES
        return self.chance.choice(SECONDS) if hesitates else 0.0

    def _inject(self, number: int, injection: Injection) -> None:
        if injection.kill == "kill-before":
            self.scheduler.kill(injection.worker)
        wished = Wished(injection, number, self.order_id, self.scheduler.now)
        sent = [self.scheduler.run(wished.send(self.house)) for _ in range(injection.times)]
        self.sent += [each for each in sent if each]
        if injection.kill == "kill-after":
            self.scheduler.kill(injection.worker)

    def _late_wishes(self) -> bool:
        """What waits for a point that this run does not come to is wished at its end."""
        late = [each for wishes in self.waiting.values() for each in wishes]
        self.waiting.clear()
        for number, injection in late:
            self._inject(number, injection)
        return bool(late)

    def _wait_or_help(self) -> None:
        """What time will do soon is waited for; what it will not do, people do."""
        moment = self.scheduler.next_moment
        if moment is not None and moment <= self.last_help + PATIENCE:
            self.scheduler.advance()
        elif self.scheduler.run(self.operator.set_free()):
            self.last_help = self.scheduler.now
        elif moment is None or moment - BEGINNING > LONGEST:
            raise Endless("nothing will ever happen again")
        else:
            self.scheduler.advance()
