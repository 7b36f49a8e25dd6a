"""Copies of databases, taken and put back while everybody stays connected."""

from collections.abc import Sequence
from typing import LiteralString, cast

import psycopg

from deploy.local.stack import Stack


class Backups:
    """One backup of each of these databases."""

    def __init__(self, engines: Stack, urls: Sequence[str]) -> None:
        self._server = engines.postgres_url("postgres")
        self._names = [url.rsplit("/", 1)[1].partition("?")[0] for url in urls]

    def take(self) -> None:
        for name in self._names:
            self._copy(name, f"{name}_backup")

    def put_back(self) -> None:
        for name in self._names:
            self._run(f"alter database {name} allow_connections false", f"drop database {name} with (force)")
            self._copy(f"{name}_backup", name)

    def _copy(self, template: str, name: str) -> None:
        """PostgreSQL copies only a database to which nobody is connected."""
        self._run(
            f"alter database {template} allow_connections false",
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{template}'",
            f"create database {name} template {template}",
            f"alter database {template} allow_connections true",
        )

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            for statement in statements:
                connection.execute(cast("LiteralString", statement))
