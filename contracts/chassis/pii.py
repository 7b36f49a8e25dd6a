"""What names a person lives here and nowhere else; facts, records and logs carry a reference to it."""

from typing import Any, Literal

from psycopg.types.json import Jsonb

from contracts.chassis.postgres import Connection

Kind = Literal["address", "contact", "instructions", "payment", "note"]


async def put(connection: Connection, ref: str, kind: Kind, version: int, content: dict[str, Any]) -> None:
    """The content is kept under its version; a version that is already there stays as it is."""
    await connection.queue(
        """
        insert into pii (ref, kind, version, content)
        values (%s, %s, %s, %s)
        on conflict (ref, kind, version) do nothing
        """,
        (ref, kind, version, Jsonb(content)),
    )


async def get(connection: Connection, ref: str, kind: Kind, version: int) -> dict[str, Any] | None:
    """The content of one version; None when it was never kept or has been erased."""
    row = await (
        await connection.execute(
            "select content from pii where ref = %s and kind = %s and version = %s", (ref, kind, version)
        )
    ).fetchone()
    return row["content"] if row else None
