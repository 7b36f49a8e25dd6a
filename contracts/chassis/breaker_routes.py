"""The routes of the circuit breakers, the same on both doors: look, configure, trip and reset."""

from typing import Annotated, Any, Protocol, Self

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field, model_validator

from contracts.chassis import breakers
from contracts.chassis.breakers import Circuit
from contracts.chassis.errors import Invalid
from contracts.chassis.postgres import Database
from contracts.chassis.requests import Caller, caller
from contracts.order import Request as Body
from contracts.values import Reference, Text200

router = APIRouter()
NEWEST_TRANSITIONS = 20


class Door(Protocol):
    @property
    def database(self) -> Database: ...


class Reset(Body):
    reason: Text200
    """Kept with the transition; never a customer's name."""


class Trip(Reset):
    seconds: Annotated[float, Field(ge=1, le=86400)] | None = None
    """Then a probe goes out; without it the breaker stays open until somebody resets it."""


class Configure(Reset):
    threshold: Annotated[int, Field(ge=1, le=10000)] | None = None
    """So many calls in a row without an answer open it."""
    cool_down_seconds: Annotated[float, Field(ge=0.1, le=86400)] | None = None
    """So long it is open before a probe goes out."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.threshold is None and self.cool_down_seconds is None:
            raise ValueError("give threshold, coolDownSeconds or both")
        return self


def _database(request: Request) -> Database:
    door: Door = request.app.state.door
    return door.database


def _actor(by: Annotated[Caller, Depends(caller)]) -> str:
    if by.dry_run:
        raise Invalid("a circuit breaker is turned for real or not at all; nothing was done")
    return by.actor


OnDatabase = Annotated[Database, Depends(_database)]
ByActor = Annotated[str, Depends(_actor)]
Named = Annotated[Reference, Path(description="The provider: payments, or carrier.")]


@router.get("/circuit-breakers")
async def circuit_breakers(database: OnDatabase) -> dict[str, Any]:
    """The circuit breakers of this service, each for one provider."""
    rows = await database.fetch(breakers.LISTED)
    return {"circuitBreakers": [_shown(breakers.circuit_of(row)) for row in rows]}


@router.get("/circuit-breakers/{name}")
async def circuit_breaker(database: OnDatabase, name: Named) -> dict[str, Any]:
    """One of them, with its newest transitions first."""
    circuit = await breakers.find(database, name)
    rows = await database.fetch(breakers.HISTORY, name=name, limit=NEWEST_TRANSITIONS)
    transitions = [
        {
            "from": row["from_state"],
            "to": row["to_state"],
            **{key: row[key] for key in ("reason", "actor", "at")},
        }
        for row in rows
    ]
    return {**_shown(circuit), "transitions": transitions}


@router.patch("/circuit-breakers/{name}")
async def configure(database: OnDatabase, actor: ByActor, name: Named, body: Configure) -> dict[str, Any]:
    """After how many calls without an answer it opens, and for how long."""
    await breakers.configure(
        database,
        name,
        threshold=body.threshold,
        cool_down_seconds=body.cool_down_seconds,
        reason=body.reason,
        actor=actor,
    )
    return await circuit_breaker(database, name)


@router.post("/circuit-breakers/{name}/trip")
async def trip(database: OnDatabase, actor: ByActor, name: Named, body: Trip) -> dict[str, Any]:
    """The provider is not asked any more; whoever needs it waits."""
    await breakers.set_by_hand(database, name, "OPEN", reason=body.reason, actor=actor, seconds=body.seconds)
    return await circuit_breaker(database, name)


@router.post("/circuit-breakers/{name}/reset")
async def reset(database: OnDatabase, actor: ByActor, name: Named, body: Reset) -> dict[str, Any]:
    """The provider is asked again, by all at once."""
    await breakers.set_by_hand(database, name, "CLOSED", reason=body.reason, actor=actor)
    return await circuit_breaker(database, name)


def _shown(circuit: Circuit) -> dict[str, Any]:
    return {
        "name": circuit.name,
        "state": circuit.state,
        "failures": circuit.failures,
        "threshold": circuit.threshold,
        "coolDownSeconds": circuit.cool_down_seconds,
        "since": circuit.changed_at,
        "openUntil": circuit.open_until,
    }
