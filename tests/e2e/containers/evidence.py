"""After each story and each fault: what REST, ledgers, topics and databases tell, and the checks of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts import order
from tests.e2e.containers import topics
from tests.e2e.containers.house import House
from tests.e2e.people import Engineer, Json, Shop, eventually
from tests.proof import recording
from tests.proof.checks import CHECKS, ON_TOPICS, violations
from tests.proof.record import Record, Service

ALL_CHECKS = (*CHECKS, *ON_TOPICS)
STORES: tuple[Service, ...] = ("orders", "fulfillments")
SETTLED_SECONDS = 150
"""What a dead worker had in hand is given to another one after 40 seconds; waits between tries double."""
_ENDS = {"OrderShipped": "SHIPPED", "OrderCancelled": "CANCELLED", "OrderFailed": "FAILED"}

_OPEN = """
    select order_id, status, step, fulfillment ->> 'status' as parcel
    from order_view
    where order_id = any(%s) and step <> 'end'
    """
_LEFT = """
    select (select count(*) from outbox where published_at is null) as unpublished,
           (select count(*) from knocks) as knocks,
           (select count(*) from parked where outcome is null) as parked
    """


@dataclass(frozen=True)
class Finding:
    """What was looked at after a story or a fault, and nothing was wrong with it."""

    what: str
    orders: int
    facts: int
    records: int
    checks: int

    def __str__(self) -> str:
        return (
            f"{self.what}: {self.checks} checks over {self.orders} orders, "
            f"{self.facts} facts, {self.records} records on the topics"
        )


class Auditor:
    """Looks at orders once they are over, and remembers what it looked at."""

    def __init__(self, house: House, shop: Shop) -> None:
        self.engineer = Engineer(house)
        self.findings: list[Finding] = []
        self._house = house
        self._shop = shop

    def audit(self, what: str, orders: Sequence[str], *, shipped: bool = False) -> None:
        """All has ended and been told, and no check finds anything; `shipped`: each must have been."""
        self.audit_each({what: orders}, shipped=shipped)

    def audit_each(self, rounds: Mapping[str, Sequence[str]], *, shipped: bool = False) -> None:
        """The same for several rounds, which end together and are read once."""
        everyone = [name for orders in rounds.values() for name in orders]
        whole = self.settled(everyone)
        parts = {what: whole.about(orders) for what, orders in rounds.items()}
        found = {what: self._wrong_with(parts[what], orders, shipped) for what, orders in rounds.items()}
        wrong = {what: these for what, these in found.items() if these}
        assert not wrong, wrong
        for what, part in parts.items():
            self._found_nothing(what, part, len(rounds[what]), len(ALL_CHECKS) + 1 + int(shipped))

    def audit_stock(self) -> None:
        """Of every order there ever was: what left is what the stock has lost, and nothing is held."""
        everyone = [
            row["order_id"] for row in self.engineer.rows("orders", "select order_id from order_view")
        ]
        record = self.settled(everyone)
        recording.add_stock(record, self._shop.stock().values())
        wrong = [str(each) for each in violations(record, ALL_CHECKS)]
        assert not wrong, wrong
        self._found_nothing("all of it, with the stock", record, len(everyone), len(ALL_CHECKS))

    def settled(self, orders: Sequence[str]) -> Record:
        """All that can be known of these orders, once they have ended and everybody was told."""
        self._wait_for_the_end(orders)
        eventually(self._untold, lambda untold: not untold, within_seconds=SETTLED_SECONDS)
        return self.record(orders)

    def record(self, orders: Sequence[str]) -> Record:
        record = Record(personal=self._personal(orders))
        for service in STORES:
            rows = self.engineer.rows
            recording.add_facts(record, service, rows(service, recording.EVENTS), orders)
            recording.add_receipts(record, service, rows(service, recording.RECEIPTS), orders)
            recording.add_addresses(record, rows(service, recording.ADDRESSES))
            recording.add_applied(record, service, rows(service, recording.APPLIED), orders)
            recording.add_exceptions(record, service, rows(service, recording.EXCEPTIONS), orders)
        for provider in ("payments", "carrier"):
            ledger = [row for rows in self.engineer.books(provider).values() for row in rows]
            recording.add_effects(record, ledger, orders)
        for topic, records in topics.read(self._house.kafka_servers).items():
            recording.add_published(record, topic, records, orders)
        return record

    def _found_nothing(self, what: str, record: Record, orders: int, checks: int) -> None:
        self.findings.append(Finding(what, orders, len(record.facts), len(record.published), checks))

    def _wait_for_the_end(self, orders: Sequence[str]) -> None:
        eventually(
            lambda: self.engineer.rows("orders", _OPEN, list(orders)),
            lambda found: not found,
            within_seconds=SETTLED_SECONDS,
        )
        for service in STORES:
            eventually(
                lambda service=service: self.engineer.rows(service, _LEFT),
                lambda found: not any(found[0].values()),
                within_seconds=SETTLED_SECONDS,
            )

    def _untold(self) -> list[str]:
        """Facts that the other service has not taken in: how many of each service, and the first ones."""
        found: list[str] = []
        for service, other in (STORES, STORES[::-1]):
            facts = self.engineer.rows(service, "select stream, version from events order by position")
            taken = self.engineer.rows(other, "select stream, sequence from inbox")
            known = {(row["stream"], row["sequence"]) for row in taken}
            missing = [row for row in facts if (row["stream"], row["version"]) not in known]
            found += [f"{len(missing)} of {service} since {missing[:3]}"] if missing else []
        return found

    def _wrong_with(self, record: Record, orders: Sequence[str], shipped: bool) -> list[str]:
        found = [str(each) for each in violations(record, ALL_CHECKS)]
        ends = {
            name: [_ENDS[fact.type] for fact in facts if fact.type in _ENDS]
            for name, facts in ((stream.removeprefix("order-"), facts) for stream, facts in record.orders)
        }
        assert ends.keys() == set(orders)
        for name, end in ends.items():
            told = self._shop.status(name)["stage"]
            if end != [told]:
                found.append(f"{name}: REST says {told}, the facts {end}")
            if shipped and end != ["SHIPPED"]:
                found.append(f"{name} is not shipped")
        return found

    def _personal(self, orders: Sequence[str]) -> set[str]:
        """Streets, names and addresses of mail that these orders gave."""
        found: set[str] = set()
        for row in self.engineer.rows("orders", "select ref, content from pii"):
            if row["ref"].startswith(tuple(map(order.stream, orders))):
                content: Json = row["content"]
                found |= {str(content[key]) for key in ("street", "name", "email") if content.get(key)}
        assert found
        return found
