"""What must hold of every recorded run: pure functions from the record to what is wrong with it.

They know facts, receipts and ledgers by the names these have on disk, and neither the services' code nor the
harness that made the record, so that a simulation and real processes are judged by the same words.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from tests.proof.record import Answer, Asked, Fact, ReceiptRow, Record

NEVER_BOTH = "never cancelled and handed over"
MONEY = "never captured and cancelled"
HELD = "no step starts under a hold"
ADDRESS = "the label carries the last accepted address"
RECEIPTS = "every command has one final receipt"
ENDS = "every order ends"
GAPLESS = "streams have no gaps"
FORWARD = "time goes forward in every stream"
STOCK = "the stock adds up"
ONE = "one effective fulfillment for each order and n"
STEPS = "each step is done once, in its order"
REPLAYS = "a replay asks for the same"
TOPICS = "every fact is on its topic, in order"
APPLIED = "every fact is applied once by the other service"
PRIVATE = "no topic names a person"
PLACED = "an accepted create is exactly one order"
FOLDED = "projections are the fold of the log"
TRACE = "every order is one connected trace"
LOGS = "no log names a person"
BUDGET = "histories stay in their budget"
STRUCK = "every fault strikes"
EXCEPTIONS = "whatever waits for a person is shown to one, and no longer"
AGAIN = "what a person resolves is tried again"
SKIPPED = "what a person leaves out is recorded as settled"
ANSWERS = "a door answers, and says what is so"
FOUND = "the reconciler finds nothing that it cannot repair"

PROMISES = (
    NEVER_BOTH, MONEY, HELD, ADDRESS, RECEIPTS, ENDS, GAPLESS, FORWARD, STOCK, ONE, STEPS, REPLAYS, TOPICS,
    APPLIED, PRIVATE, PLACED, FOLDED, TRACE, LOGS, BUDGET, STRUCK, EXCEPTIONS, AGAIN, SKIPPED, ANSWERS, FOUND,
)  # fmt: skip
"""Every invariant by its name."""

_BARE = re.compile(r".+/\d+")
"""The command id that a workflow gives to a bare signal."""
FINAL = ("REJECTED", "EFFECTIVE", "SUPERSEDED")
_STARTS = ("StepStarted", "LabelRequested", "HandOverStarted")
_ORDER_STARTS = ("StockHeld", "PaymentAuthorizationRequested", "OrderConfirmed")
_ORDER_UNDONE = ("OrderCancelled", "OrderFailed")
_WORKFLOWS = ("order-workflow-", "fulfillment-")
"""How the names of commands begin that a workflow gives to its own steps."""
_EVENTS, _BYTES = 400, 128 * 1024
"""Of one workflow, whatever befell it: the happy path takes 30 events, chaos has led to 144 and 30 KB."""
_TRIED_AGAIN = ("STEP_PARKED", "CAPTURE_FAILED", "VOID_FAILED")
_SETTLED = {"capture": "PaymentCaptured", "undo": "PaymentVoided", "void-label": "LabelVoided"}
_SOON = timedelta(minutes=8)
"""Before any timer of ours would look by itself, and longer than all that a run puts in the way."""
_PARCEL_UNDONE = ("FulfillmentCancelled", "FulfillmentFailed")


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold, and what shows it."""

    invariant: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.evidence}"


Check = Callable[[Record], Iterator[Violation]]


def violations(record: Record, checks: Sequence[Check] | None = None) -> list[Violation]:
    """Everything that is wrong with the run; a run with topics is given ON_TOPICS as well."""
    return [found for check in checks or CHECKS for found in check(record)]


def never_cancelled_and_handed_over(record: Record) -> Iterator[Violation]:
    """The carrier takes no parcel whose cancel was accepted, nor one of an order that ended without it."""
    undone = {_order_of(fact.stream): fact.type for fact in record.facts if fact.type in _ORDER_UNDONE}
    for stream, facts in record.parcels:
        about = stream.removeprefix("fulfillment-")
        taken = bool(_of(facts, "HandedOver")) or bool(record.effects_on(about, "hand-over"))
        for refusal in _of(facts, "CancelRequested", *_PARCEL_UNDONE):
            if taken:
                yield Violation(NEVER_BOTH, f"{stream} has {refusal.type} and the carrier took it")
        if taken and (order := about.rpartition("-")[0]) in undone:
            yield Violation(NEVER_BOTH, f"{order} has {undone[order]} and the carrier took {stream}")


def never_captured_and_cancelled(record: Record) -> Iterator[Violation]:
    """Captured at most once, in full and for what was shipped; what is not captured is voided at the end.

    One that was replaced and that the provider would not void lapses by itself, soon after."""
    for stream, facts in record.orders:
        order = _order_of(stream)
        total = facts[0].data["total_minor"]
        captures = record.effects_on(order, "capture")
        taken = {each.reference for each in captures}
        if len(captures) > 1 or any(each.amount_minor != total for each in captures):
            yield Violation(MONEY, f"{order} captured {[each.amount_minor for each in captures]} of {total}")
        if captures and _of(facts, *_ORDER_UNDONE):
            yield Violation(MONEY, f"{order} was captured and ended without a parcel")
        if _of(facts, "OrderShipped") and not captures and not _of(facts, "CaptureRefused"):
            yield Violation(MONEY, f"{order} was shipped and never paid for")
        gone = taken | {each.reference for each in record.effects_on(order, "void")} | _lapsing(facts)
        for each in record.effects_on(order, "authorize"):
            if _has_ended(facts) and each.reference not in gone:
                yield Violation(MONEY, f"{order} ended and {each.reference} is still authorized")


def _lapsing(facts: Sequence[Fact]) -> set[str]:
    """The authorizations whose void was refused when a newer one stood already."""
    refused = {fact.data["n"] for fact in _of(facts, "VoidRefused")}
    newest, lapsing = None, set[str]()
    for fact in _of(facts, "PaymentAuthorized", "VoidRequested"):
        reference = fact.data["reference"]
        if fact.type == "PaymentAuthorized":
            newest = reference
        elif fact.data["n"] in refused and reference != newest:
            lapsing.add(reference)
    return lapsing


def no_step_starts_under_a_hold(record: Record) -> Iterator[Violation]:
    """Between a hold and its release nothing begins; a hold from before the parcel existed came with it."""
    parcels = dict(record.parcels)
    for stream, facts in parcels.items():
        yield from _starts_under_a_hold(stream, facts, _STARTS)
    for stream, facts in record.orders:
        yield from _starts_under_a_hold(stream, facts, _ORDER_STARTS)
        lifted = {
            handle for fact in _of(facts, "FulfillmentHoldsReleased") for handle in fact.data["handles"]
        }
        waiting = {_handle(fact) for fact in _of(facts, "FulfillmentHoldPlaced")} - lifted
        for parcel, of_parcel in parcels.items():
            if parcel.startswith(f"fulfillment-{_order_of(stream)}-"):
                missing = waiting - {fact.data["handle"] for fact in _of(of_parcel, "HoldPlaced")}
                if missing:
                    yield Violation(HELD, f"{parcel} began without {missing}, placed on its order")
    yield from _pauses_that_left_no_hold(record)


def _starts_under_a_hold(stream: str, facts: Sequence[Fact], starts: Sequence[str]) -> Iterator[Violation]:
    """A cancel that a person has not answered stands like a hold."""
    standing: set[str] = set()
    for fact in facts:
        match fact.type:
            case "HoldPlaced":
                standing.add(_handle(fact))
            case "HoldReleased":
                standing.discard(_handle(fact))
            case "CancelAsked":
                standing.add(fact.data["command_id"])
            case "CancelRequested" | "CancelRejected":
                standing.discard(fact.data["command_id"])
            case found if found in starts and standing and not _is_renewal(fact):
                yield Violation(
                    HELD, f"{stream} has {_named(fact)} at version {fact.version} under {standing}"
                )
            case _:
                pass


def _is_renewal(fact: Fact) -> bool:
    return fact.type == "PaymentAuthorizationRequested" and fact.data["n"] > 1


def _pauses_that_left_no_hold(record: Record) -> Iterator[Violation]:
    by_command = {
        fact.data.get("command_id") or fact.command_id
        for fact in record.facts
        if fact.type in ("HoldPlaced", "FulfillmentHoldPlaced")
    }
    for receipt in record.receipts:
        took_effect = receipt.name.startswith("pause") and receipt.status == "EFFECTIVE"
        if took_effect and receipt.command_id not in by_command:
            yield Violation(HELD, f"{receipt.command_id} is EFFECTIVE and held nothing")


def the_label_carries_the_last_accepted_address(record: Record) -> Iterator[Violation]:
    """What the carrier took goes where the last accepted change says, or where the order said at first."""
    for stream, facts in record.parcels:
        if not _of(facts, "HandedOver"):
            continue
        changes = _of(facts, "AddressChanged")
        last = changes[-1].data["version"] if changes else facts[0].data["address_version"]
        n = _of(facts, "HandOverStarted")[-1].data["label_n"] if _of(facts, "HandOverStarted") else None
        asked = {fact.data["n"]: fact.data["address_version"] for fact in _of(facts, "LabelRequested")}
        if asked.get(n) != last:
            yield Violation(
                ADDRESS, f"{stream} left with version {asked.get(n)}, the last accepted is {last}"
            )
        booked = {fact.data["n"]: fact.data["tracking_reference"] for fact in _of(facts, "LabelBooked")}
        printed = [
            each.address
            for each in record.effects_on(stream.removeprefix("fulfillment-"), "book")
            if each.reference == booked.get(n) and each.address is not None
        ]
        kept = record.addresses.get((stream, last), {})
        if any({name: kept.get(name) for name in each} != each for each in printed):
            yield Violation(ADDRESS, f"{stream} left with another address than its version {last}")
    yield from _addresses_that_differ(record)


def _addresses_that_differ(record: Record) -> Iterator[Violation]:
    """Both services mean the same address by a version, and the order learns of the last one."""
    parcels = dict(record.parcels)
    for parcel, facts in parcels.items():
        order = f"order-{parcel.removeprefix('fulfillment-').rpartition('-')[0]}"
        for version in [facts[0].data["address_version"]] + [
            fact.data["version"] for fact in _of(facts, "AddressChanged")
        ]:
            ours, theirs = record.addresses.get((parcel, version)), record.addresses.get((order, version))
            if theirs is not None and ours != theirs:
                yield Violation(ADDRESS, f"version {version} of {parcel} is another one in its order")


def every_command_has_one_final_receipt(record: Record) -> Iterator[Violation]:
    """Whoever was not told that nobody is there finds one final answer, the same in both stores."""
    for receipt in record.receipts:
        if receipt.status not in FINAL:
            yield Violation(RECEIPTS, f"{receipt.command_id} is {receipt.status} in {receipt.service}")
    known = {(each.service, each.command_id): each for each in record.receipts}
    for sent in record.sent:
        service = "orders" if sent.door.startswith("order") else "fulfillments"
        if sent.told != "nobody" and sent.command_id and (service, sent.command_id) not in known:
            yield Violation(RECEIPTS, f"{sent.command_id} by {sent.door} has none in {service}")
    named = {each.command_id for each in record.receipts if _BARE.fullmatch(each.command_id)}
    bare = [each for each in record.sent if each.command_id is None and each.told == "sent"]
    if len(named) != len(bare):
        yield Violation(RECEIPTS, f"{len(bare)} bare signals were taken, {len(named)} have one")
    for (service, command_id), ours in known.items():
        theirs = known.get(("fulfillments", command_id)) if service == "orders" else None
        if theirs and not _agree(ours.status, theirs.status):
            yield Violation(
                RECEIPTS, f"{command_id} is {ours.status} in orders and {theirs.status} in fulfillments"
            )


def _agree(order: str, fulfillment: str) -> bool:
    return order == fulfillment


def every_order_ends(record: Record) -> Iterator[Violation]:
    """Workflows, streams and the ends of both services tell the same story, and nobody waits for anything."""
    for ended in record.workflows:
        if ended.status != "completed":
            yield Violation(ENDS, f"{ended.workflow_id} is {ended.status}")
    if record.undelivered:
        yield Violation(ENDS, f"{record.undelivered} knocks were not delivered")
    shipped = {
        stream.removeprefix("fulfillment-").rpartition("-")[0]
        for stream, facts in record.parcels
        if _of(facts, "HandedOver")
    }
    for what in record.waiting:
        yield Violation(ENDS, what)
    for stream, facts in record.parcels:
        if not _of(facts, "HandedOver", *_PARCEL_UNDONE):
            yield Violation(ENDS, f"{stream} stops after {facts[-1].type}")
    for stream, facts in record.orders:
        if not _has_ended(facts):
            yield Violation(ENDS, f"{stream} stops after {facts[-1].type}")
        if bool(_of(facts, "OrderShipped")) != (_order_of(stream) in shipped):
            yield Violation(ENDS, f"{stream} and its parcel ended differently")


def streams_have_no_gaps(record: Record) -> Iterator[Violation]:
    """Versions of each stream count from one."""
    for stream, facts in record.streams():
        versions = [fact.version for fact in facts]
        if versions != list(range(1, len(facts) + 1)):
            yield Violation(GAPLESS, f"{stream} has versions {versions}")


def time_goes_forward(record: Record) -> Iterator[Violation]:
    """A fact is not older than the one before it, whatever the clock of the process that recorded it says."""
    for stream, facts in record.streams():
        for before, after in pairwise(facts):
            if after.at < before.at:
                yield Violation(FORWARD, f"{stream} {after.version} is of {after.at}, after {before.at}")


def the_stock_adds_up(record: Record) -> Iterator[Violation]:
    """Of each article initial = available + held + shipped; in the end exactly what left is shipped."""
    left: Counter[str] = Counter()
    for _, facts in record.orders:
        if _of(facts, "OrderShipped"):
            for line in facts[0].data["lines"]:
                left[line["sku"]] += line["quantity"]
    all_ended = all(_has_ended(facts) for _, facts in record.orders)
    for level in record.stock:
        if level.initial != level.available + level.held + level.shipped or level.available < 0:
            yield Violation(STOCK, f"{level}")
        elif all_ended and (level.held, level.shipped) != (0, left[level.sku]):
            yield Violation(STOCK, f"{left[level.sku]} of {level.sku} left: {level}")


def one_effective_fulfillment(record: Record) -> Iterator[Violation]:
    """An order's parcel is handed over at most once, and no label of it is left standing."""
    left = Counter(
        stream.removeprefix("fulfillment-").rpartition("-")[0]
        for stream, facts in record.parcels
        if _of(facts, "HandedOver")
    )
    for order, parcels in left.items():
        if parcels > 1:
            yield Violation(ONE, f"{parcels} parcels of {order} left")
    for stream, facts in record.parcels:
        about = stream.removeprefix("fulfillment-")
        if len(_of(facts, "FulfillmentAccepted")) != 1 or len(_of(facts, "HandedOver")) > 1:
            yield Violation(ONE, f"{stream} began or left more than once")
        taken = record.effects_on(about, "hand-over")
        if len(taken) > 1:
            yield Violation(ONE, f"the carrier took {stream} {len(taken)} times")
        gone = {each.reference for each in (*taken, *record.effects_on(about, "void-label"))}
        for label in record.effects_on(about, "book"):
            if label.reference not in gone and _of(facts, "HandedOver", *_PARCEL_UNDONE):
                yield Violation(ONE, f"{stream} ended and its label {label.reference} stands")


def each_step_is_done_once_in_its_order(record: Record) -> Iterator[Violation]:
    """A hold, a cancel or a lost worker makes no step again, and none is skipped: on it goes where it was."""
    for stream, facts in record.parcels:
        due = [f"pick:{line}" for line in range(1, len(facts[0].data["lines"]) + 1)] + ["quality", "pack"]
        done: list[str] = []
        for fact in facts:
            expected = due[len(done)] if len(done) < len(due) else None
            if fact.type in ("StepStarted", "StepCompleted") and fact.data["step_key"] != expected:
                yield Violation(STEPS, f"{stream} has {_named(fact)} when {expected} is due")
                break
            if fact.type == "StepCompleted":
                done.append(fact.data["step_key"])
            if fact.type in ("LabelRequested", "HandOverStarted") and expected is not None:
                yield Violation(STEPS, f"{stream} has {_named(fact)} when {expected} is due")
                break


def every_fact_is_on_its_topic(record: Record) -> Iterator[Violation]:
    """At least once, first occurrences in the order of the stream, and nothing that is no fact."""
    seen: dict[str, list[int]] = {}
    ids: dict[tuple[str, int], set[str]] = {}
    for each in record.published:
        ids.setdefault((each.stream, each.sequence), set()).add(each.event_id)
        first = seen.setdefault(each.stream, [])
        if each.sequence not in first:
            first.append(each.sequence)
    stored = {stream: [fact.version for fact in facts] for stream, facts in record.streams()}
    for stream in stored.keys() | seen.keys():
        if seen.get(stream, []) != stored.get(stream, []):
            yield Violation(TOPICS, f"{stream} has {stored.get(stream)}, the topic told {seen.get(stream)}")
    for (stream, sequence), several in ids.items():
        if len(several) > 1:
            yield Violation(TOPICS, f"{stream} has {len(several)} events with sequence {sequence}")


def every_fact_is_applied_once(record: Record) -> Iterator[Violation]:
    """The other service has taken in each fact, and none twice."""
    other: dict[str, str] = {"orders": "fulfillments", "fulfillments": "orders"}
    due = Counter((other[fact.service], fact.stream, fact.version) for fact in record.facts)
    done: Counter[tuple[str, str, int]] = Counter(record.applied)
    for missing in due - done:
        yield Violation(APPLIED, f"{missing} was not")
    for extra in done - due:
        yield Violation(APPLIED, f"{extra} was once too often")


def no_topic_names_a_person(record: Record) -> Iterator[Violation]:
    """Names, addresses of mail and streets stay in the services' own tables."""
    for each in record.published:
        for personal in record.personal:
            if personal.encode() in each.body:
                yield Violation(PRIVATE, f"sequence {each.sequence} of {each.stream}")


def an_accepted_create_is_one_order(record: Record) -> Iterator[Violation]:
    """Whoever asked was told one order, which exists once; and nobody's order exists."""
    stored: dict[str | None, list[str]] = {}
    for fact in record.facts:
        if fact.type == "OrderPlaced":
            stored.setdefault(fact.command_id, []).append(_order_of(fact.stream))
    for placed in record.placed:
        found = stored.pop(placed.command_id, [])
        if set(placed.told) != set(found) or len(found) != 1:
            yield Violation(
                PLACED, f"{placed.key} was told {set(placed.told) or 'nothing'}, stored is {found}"
            )
    for command_id, orders in stored.items():
        if record.placed:
            yield Violation(PLACED, f"{orders} by {command_id} is nobody's")


def projections_are_the_fold(record: Record) -> Iterator[Violation]:
    """What is shown is what the facts add up to."""
    for view in record.views:
        shown = view.shown or {}
        differ = [name for name, value in view.folded.items() if shown.get(name) != value]
        if differ:
            yield Violation(FOLDED, f"{view.subject} in {view.service} differs in {differ}")


def every_order_is_one_connected_trace(record: Record) -> Iterator[Violation]:
    """What its workflows did is in the trace of the request that placed it, whoever started them."""
    placed: dict[str, str] = {}
    done: dict[str, set[str | None]] = {}
    for fact in record.facts:
        order = _order_of(fact.stream)
        if fact.stream.startswith("fulfillment-"):
            order = fact.stream.removeprefix("fulfillment-").rpartition("-")[0]
        if (fact.command_id or "").startswith(_WORKFLOWS):
            done.setdefault(order, set()).add(fact.trace)
        elif fact.trace and fact.version == 1 and fact.stream.startswith("order-"):
            placed[order] = fact.trace
    if any(fact.trace for fact in record.facts):
        for stream, facts in record.orders:
            if _order_of(stream) not in placed:
                yield Violation(
                    TRACE, f"{stream} begins with {facts[0].type} in no trace, and others are in one"
                )
    for order, trace in placed.items():
        traces = done.get(order, set())
        if not traces <= {trace}:
            yield Violation(TRACE, f"{order} went on in {traces}, placed in {trace}")


def no_log_names_a_person(record: Record) -> Iterator[Violation]:
    """Names, addresses of mail and streets are in no line of any process."""
    for line in record.lines:
        for personal in record.personal:
            if personal in line.text:
                yield Violation(LOGS, f"{line.file} names a person")


def histories_stay_in_budget(record: Record) -> Iterator[Violation]:
    """No workflow goes round in circles, whatever was away or asked of it."""
    for ended in record.workflows:
        if ended.events > _EVENTS or ended.bytes > _BYTES:
            yield Violation(BUDGET, f"{ended.workflow_id} has {ended.events} events, {ended.bytes} bytes")


def every_fault_strikes(record: Record) -> Iterator[Violation]:
    """A fault that nobody felt proves nothing."""
    for struck in record.struck:
        if not struck.fired and struck.skipped is None:
            yield Violation(STRUCK, f"{struck.number}: {struck.kind} of {struck.victim}: {struck.evidence}")


def exceptions_are_the_facts(record: Record) -> Iterator[Violation]:
    """A row for each time that something was raised, open as long as its stream says; none in the end."""
    raised: Counter[tuple[str, str, str | None]] = Counter()
    unresolved: set[tuple[str, str, str | None]] = set()
    for fact in record.facts:
        if fact.type in ("ExceptionRaised", "ExceptionResolved"):
            about = (fact.stream, fact.data["code"], fact.data["step_key"])
            raised[about] += fact.type == "ExceptionRaised" and about not in unresolved
            (unresolved.add if fact.type == "ExceptionRaised" else unresolved.discard)(about)
    rows = Counter((each.stream, each.code, each.step) for each in record.exceptions if not each.is_mismatch)
    for about in raised.keys() | rows.keys():
        if raised[about] != rows[about]:
            yield Violation(EXCEPTIONS, f"{about} was raised {raised[about]} times, {rows[about]} are shown")
    for each in record.exceptions:
        if each.is_open:
            yield Violation(EXCEPTIONS, f"{each.code} of {each.stream} at {each.step} is open in the end")


def what_is_resolved_is_tried_again(record: Record) -> Iterator[Violation]:
    """After a person's word the stream goes on soon, be it to the next exception."""
    for stream, facts in record.streams():
        for fact, after in pairwise(facts):
            is_ours = fact.type == "ExceptionResolved" and fact.data["code"] in _TRIED_AGAIN
            if is_ours and fact.data["resolution"] in ("retry", "skip") and after.at - fact.at > _SOON:
                yield Violation(AGAIN, f"{stream} did nothing for {after.at - fact.at} after {_named(fact)}")


def what_is_skipped_is_recorded(record: Record) -> Iterator[Violation]:
    """Beside the word of whoever settled it elsewhere is the fact that it is, or it would be done again."""
    for stream, facts in record.streams():
        for fact in facts:
            step = (fact.data.get("step_key") or "").partition(":")[0]
            settled = _SETTLED.get(step) if fact.data.get("resolution") == "skip" else None
            together = [each for each in facts if each.command_id == fact.command_id]
            if settled and not any(each.data.get("outside") for each in _of(together, settled)):
                yield Violation(SKIPPED, f"{stream} has {_named(fact)} by skip, and no {settled} with it")


def doors_answer_as_it_is(record: Record) -> Iterator[Violation]:
    """Nobody gets a 5xx that does not say when to come again, and what is answered is what is stored."""
    receipts = {(each.service, each.command_id): each for each in record.receipts}
    for asked in record.asked:
        about = f"{asked.method} {asked.path}"
        for answer in asked.answers:
            if not _is_fair(answer):
                yield Violation(ANSWERS, f"{about} was answered {answer.status}, {asked.key}")
        if asked.returned_at is not None and asked.answers[-1].status == 404 and asked.is_there:
            yield Violation(ANSWERS, f"{about} was not found, and it was there")
        if asked.told is None or asked.command_id is None:
            continue
        stored = receipts.get((asked.service, asked.command_id))
        if stored is None or not _may_become(asked, stored):
            yield Violation(ANSWERS, f"{about} was told {asked.told} {asked.code or ''}, stored is {stored}")


def _is_fair(answer: Answer) -> bool:
    """Requests that are as they should be are granted, refused, unknown, too many or too early."""
    return answer.status in (200, 201, 202, 404, 408, 409, 429) or (
        answer.status == 503 and answer.retry_after is not None
    )


def _may_become(asked: Asked, stored: ReceiptRow) -> bool:
    """What is final stays; what was accepted is not refused any more."""
    match asked.told:
        case "RECEIVED":
            return True
        case "ACCEPTED":
            return stored.status != "REJECTED"
        case _:
            return (stored.status, stored.code) == (asked.told, asked.code)


def what_is_granted_is_recorded(record: Record) -> Iterator[Violation]:
    """The facts that a receipt names are in its stream, by its command."""
    facts = {(fact.stream, fact.version): fact for fact in record.facts}
    for receipt in record.receipts:
        # A standing hold is about no order.
        is_ours = receipt.stream.startswith(("order-", "fulfillment-"))
        if receipt.first_version is None or receipt.last_version is None or not is_ours:
            continue
        for version in range(receipt.first_version, receipt.last_version + 1):
            fact = facts.get((receipt.stream, version))
            if fact is None or fact.command_id != receipt.command_id:
                yield Violation(
                    ANSWERS, f"{receipt.command_id} led to version {version} of {receipt.stream}: {fact}"
                )


def reconcilers_find_nothing_else(record: Record) -> Iterator[Violation]:
    """Whatever breaks, once it is back the pair goes on by itself, and no two of its books disagree."""
    for each in record.reconciled:
        if each.action == "RAISED":
            yield Violation(FOUND, f"{each.kind} of {each.subject} in {each.service}")


def nothing_broke(record: Record) -> Iterator[Violation]:
    """No workflow raised, no replay differed, no run went round in circles."""
    for trouble in record.troubles:
        yield Violation(ENDS if trouble.startswith("no end") else REPLAYS, trouble)


CHECKS: Sequence[Check] = (
    nothing_broke,
    never_cancelled_and_handed_over,
    never_captured_and_cancelled,
    no_step_starts_under_a_hold,
    the_label_carries_the_last_accepted_address,
    every_command_has_one_final_receipt,
    every_order_ends,
    streams_have_no_gaps,
    time_goes_forward,
    the_stock_adds_up,
    one_effective_fulfillment,
    each_step_is_done_once_in_its_order,
    an_accepted_create_is_one_order,
    projections_are_the_fold,
    every_order_is_one_connected_trace,
    no_log_names_a_person,
    histories_stay_in_budget,
    every_fault_strikes,
    exceptions_are_the_facts,
    what_is_resolved_is_tried_again,
    what_is_skipped_is_recorded,
    doors_answer_as_it_is,
    what_is_granted_is_recorded,
    reconcilers_find_nothing_else,
)

ON_TOPICS: Sequence[Check] = (
    every_fact_is_on_its_topic,
    every_fact_is_applied_once,
    no_topic_names_a_person,
)
"""What a record with topics is checked for as well."""


def _of(facts: Sequence[Fact], *types: str) -> list[Fact]:
    return [fact for fact in facts if fact.type in types]


def _order_of(stream: str) -> str:
    return stream.removeprefix("order-")


def _has_ended(facts: Sequence[Fact]) -> bool:
    """The order has settled money and stock, or waits for a person to settle the money."""
    return bool(_of(facts, "PaymentCaptured", "CaptureRefused", *_ORDER_UNDONE))


def _handle(fact: Fact) -> str:
    hold: Mapping[str, Any] = fact.data.get("hold") or fact.data
    return hold["handle"]


def _named(fact: Fact) -> str:
    step = fact.data.get("step_key") or fact.data.get("n") or ""
    return f"{fact.type} {step}".strip()
