"""What a server of somebody else needs before the services can use it."""

import socket
import subprocess
from collections.abc import Iterable

import psycopg
from psycopg import sql

from deploy.local import temporal
from deploy.local.child import StartError


def ensure_databases(url: str, names: Iterable[str]) -> None:
    """The server has all the databases. Raises StartError when we cannot see to that."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
            rows = connection.execute("select datname from pg_database").fetchall()
            for name in set(names) - {str(row[0]) for row in rows}:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise StartError(
            f"the PostgreSQL of --postgres cannot be used ({type(error).__name__})",
            "check the address, the password and that the user may create databases",
        ) from error


def ensure_namespaces(address: str, names: Iterable[str]) -> None:
    """The cluster has all the namespaces. Raises StartError when we cannot see to that."""
    for name in names:
        if _operator(address, "describe", name).returncode != 0:
            made = _operator(address, "create", name, f"--retention={temporal.RETENTION_SECONDS // 86400}d")
            if made.returncode != 0:
                raise StartError(
                    f"no namespace {name} on {address}, and none can be made:\n  {made.stderr.strip()}",
                    f"temporal operator namespace create --address {address} {name}",
                )


def _operator(address: str, what: str, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(temporal.binary()), "operator", "namespace", what, f"--address={address}", *options]
    return subprocess.run(
        [*command, f"--namespace={name}"], capture_output=True, text=True, timeout=30, check=False
    )


def ensure_reachable(servers: str) -> None:
    """One of the brokers accepts connections. Raises StartError otherwise."""
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=5):
                return
        except (OSError, ValueError):
            continue
    raise StartError(f"no Kafka broker answers at {servers}", "check --kafka HOST:PORT, or leave it out")
