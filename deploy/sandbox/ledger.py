"""What one provider did, in a file that is only ever added to.

The ledger is the provider's only memory: whether an authorization is captured or a label voided is read from
its rows, so it cannot tell another story than the provider acts on. A row, the state it means and the answer
stored under the key are one transaction; the answer leaves after the commit. WAL with `synchronous=NORMAL`
keeps what is committed when the process is killed (a power cut may lose the last moments).
"""

import json
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.sandbox.misbehaviour import Trouble
from deploy.sandbox.verdicts import Answer, Call, Effect, Entry, Verdict, problem, refuse, timestamp

PAGE = 1000

_SCHEMA = """
create table if not exists ledger (
    seq integer primary key autoincrement,
    at text not null,
    key text,
    operation text not null,
    effect text not null check (effect in ('applied', 'replayed', 'refused', 'failed')),
    code text,
    reference text,
    subject text,
    amount_minor integer,
    currency text,
    zip_code text,
    script text,
    expires_at text
);
create index if not exists ledger_reference on ledger (reference) where effect = 'applied';
create index if not exists ledger_trouble on ledger (subject, operation)
    where effect in ('refused', 'failed');
create trigger if not exists ledger_kept before delete on ledger
    begin select raise(abort, 'the ledger is append-only'); end;
create trigger if not exists ledger_unchanged before update on ledger
    begin select raise(abort, 'the ledger is append-only'); end;
create table if not exists answers (
    key text primary key,
    seq integer not null references ledger (seq),
    fingerprint blob not null,
    http_status integer not null,
    status text not null,
    reference text,
    body text not null
) without rowid;
"""

_APPEND = """
insert into ledger (at, key, operation, effect, code, reference, subject, amount_minor, currency, zip_code,
                    script, expires_at)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

# The same row once more: what was asked again is told from what was done by `effect` alone.
_APPEND_REPLAY = """
insert into ledger (at, key, operation, effect, code, reference, subject, amount_minor, currency, zip_code)
select ?, key, operation, 'replayed', code, reference, subject, amount_minor, currency, zip_code
from ledger where seq = ?
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """What the applied rows of one authorization or label add up to."""

    made: Entry
    done: frozenset[str]
    """Operations that took effect on it."""


class Ledger:
    """One provider's rows and stored answers; one process at a time may hold the file."""

    def __init__(
        self, path: Path, *, subject_field: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ):
        self._subject_field = subject_field
        self.now = now
        self._database = sqlite3.connect(path, isolation_level=None, timeout=5)
        for pragma in ("locking_mode=exclusive", "journal_mode=wal", "synchronous=normal"):
            self._database.execute(f"pragma {pragma}")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        self._database.close()

    def perform(self, call: Call, trouble: Trouble, decide: Callable[[], Verdict]) -> Answer:
        """What the key's first call answered or, for a new key, what `decide` says is now in the ledger."""
        with self._transaction():
            if call.key and (stored := self._stored(call)):
                return stored
            verdict = self._troubled(call, trouble, decide())
            seq = self._append(call, verdict.entry)
            if call.key and verdict.entry.effect != "failed":
                self._keep(call, call.key, seq, verdict)
            return Answer(verdict.http_status, verdict.body, applied=verdict.entry.effect == "applied")

    def is_stored(self, key: str | None) -> bool:
        found = self._database.execute("select 1 from answers where key = ?", (key,)).fetchone()
        return found is not None

    def subject(self, reference: str) -> Subject | None:
        """What became of an authorization or label so far; None when there never was one."""
        rows = self._database.execute(
            "select operation, subject, amount_minor, currency, zip_code, script, expires_at from ledger"
            " where reference = ? and effect = 'applied' order by seq",
            (reference,),
        ).fetchall()
        if not rows:
            return None
        _, subject, amount_minor, currency, zip_code, script, expires_at = rows[0]
        made = Entry(
            "applied",
            reference=reference,
            subject=subject,
            amount_minor=amount_minor,
            currency=currency,
            zip_code=zip_code,
            script=script,
            expires_at=expires_at,
        )
        return Subject(made, frozenset(row[0] for row in rows))

    def operation(self, key: str) -> dict[str, Any] | None:
        """What was done or refused under this key, with the stored answer; None when nothing was yet."""
        row = self._database.execute(
            "select operation, status, answers.reference, http_status, body, amount_minor, currency"
            " from answers join ledger using (seq) where answers.key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        operation, status, reference, http_status, body, amount_minor, currency = row
        money = {} if amount_minor is None else {"amountMinor": amount_minor, "currency": currency}
        return {
            "key": key,
            "operation": operation,
            "status": status,
            "reference": reference,
            "httpStatus": http_status,
            "answer": json.loads(body),
            **money,
        }

    def pages(self, since: int) -> Iterator[list[dict[str, Any]]]:
        """Rows after `since`, oldest first, as far as the ledger reached when the reading began."""
        last: int = self._database.execute("select coalesce(max(seq), 0) from ledger").fetchone()[0]
        while since < last:
            rows = self._database.execute(
                "select seq, at, key, operation, effect, reference, subject, amount_minor, currency,"
                " zip_code, code from ledger where seq > ? and seq <= ? order by seq limit ?",
                (since, last, PAGE),
            ).fetchall()
            yield [self._shown(row) for row in rows]
            since = rows[-1][0]

    def _shown(self, row: tuple[Any, ...]) -> dict[str, Any]:
        seq, at, key, operation, effect, reference, subject, *rest = row
        always = {
            "seq": seq,
            "at": at,
            "key": key,
            "operation": operation,
            "effect": effect,
            "reference": reference,
            self._subject_field: subject,
        }
        sometimes = zip(("amountMinor", "currency", "zipCode", "code"), rest, strict=True)
        return always | {name: value for name, value in sometimes if value is not None}

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")

    def _stored(self, call: Call) -> Answer | None:
        row = self._database.execute(
            "select seq, fingerprint, http_status, body from answers where key = ?", (call.key,)
        ).fetchone()
        if row is None:
            return None
        seq, fingerprint, http_status, body = row
        if fingerprint != call.fingerprint:
            refused = refuse(422, "key_reused", "This Idempotency-Key belongs to another request.")
            self._append(call, refused.entry)
            return Answer(refused.http_status, refused.body)
        self._database.execute(_APPEND_REPLAY, (self._moment(), seq))
        return Answer(http_status, json.loads(body), replayed=True)

    def _troubled(self, call: Call, trouble: Trouble, verdict: Verdict) -> Verdict:
        """The verdict, unless the script has the call fail or refuses what it would have done."""
        subject = verdict.entry.subject
        undone = replace(verdict.entry, reference=call.about)
        if trouble.failures and self._count(call.operation, subject, "failed") < trouble.failures:
            detail = "The provider failed, as scripted; nothing was done."
            return problem(500, "provider_error", detail, undone, effect="failed")
        no = trouble.refusal
        if no is None or verdict.entry.effect != "applied":
            return verdict
        if no.after and self._applied(call.operation, subject) < no.after:
            return verdict
        if no.times is not None and self._count(call.operation, subject, "refused", no.code) >= no.times:
            return verdict
        return refuse(no.http_status, no.code, no.detail, undone)

    def _count(self, operation: str, subject: str | None, effect: Effect, code: str | None = None) -> int:
        return self._database.execute(
            "select count(*) from ledger where subject = ? and operation = ?"
            " and effect in ('refused', 'failed') and effect = ? and coalesce(?, code) is code",
            (subject, operation, effect, code),
        ).fetchone()[0]

    def _applied(self, operation: str, subject: str | None) -> int:
        return self._database.execute(
            "select count(*) from ledger where subject = ? and operation = ? and effect = 'applied'",
            (subject, operation),
        ).fetchone()[0]

    def _append(self, call: Call, entry: Entry) -> int:
        done = self._database.execute(
            _APPEND,
            (
                self._moment(),
                call.key,
                call.operation,
                entry.effect,
                entry.code,
                entry.reference,
                entry.subject,
                entry.amount_minor,
                entry.currency,
                entry.zip_code,
                entry.script,
                entry.expires_at,
            ),
        )
        assert done.lastrowid is not None
        return done.lastrowid

    def _keep(self, call: Call, key: str, seq: int, verdict: Verdict) -> None:
        self._database.execute(
            "insert into answers (key, seq, fingerprint, http_status, status, reference, body)"
            " values (?, ?, ?, ?, ?, ?, ?)",
            (
                key,
                seq,
                call.fingerprint,
                verdict.http_status,
                verdict.status,
                verdict.reference or verdict.entry.reference,
                json.dumps(verdict.body),
            ),
        )

    def _moment(self) -> str:
        return timestamp(self.now())
