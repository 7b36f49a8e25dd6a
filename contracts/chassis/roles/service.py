"""The command line of a service: one process for each role, or all of them in one."""

import argparse
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Protocol, cast

from contracts.chassis import lifecycle, telemetry
from contracts.chassis.lifecycle import Health, Role
from contracts.chassis.roles import ServiceSettings

ROLES = ("api", "worker", "relay", "consumer")


class RoleModule(Protocol):
    """What `<package>.bootstrap.<role>` offers."""

    def open_role(self, settings: ServiceSettings, health: Health) -> AbstractAsyncContextManager[Role]: ...


class Bootstrap(Protocol):
    """What `<package>.bootstrap` offers."""

    def migrate(self, settings: ServiceSettings) -> None: ...


def main(package: str, settings: ServiceSettings, arguments: Sequence[str] | None = None) -> int:
    """Runs one role of the service, or all of them in this process; its exit code.

    Only the modules of that role are loaded; all of them together take seconds."""
    name = package.replace("_", "-")
    parser = argparse.ArgumentParser(
        prog=f"python -m {package}",
        description="One process for each role; settings are TANDEM_ variables.",
    )
    parser.add_argument("role", choices=[*ROLES, "migrate", "all"], help="what this process does")
    role: str = parser.parse_args(arguments).role
    flush = telemetry.configure(name, role, settings.telemetry, settings.logs)
    if role == "migrate":
        cast("Bootstrap", import_module(f"{package}.bootstrap")).migrate(settings)
        flush()
        return 0
    names = ROLES if role == "all" else (role,)
    modules = [cast("RoleModule", import_module(f"{package}.bootstrap.{each}")) for each in names]
    return lifecycle.run(
        lambda health: lifecycle.together(*(module.open_role(settings, health) for module in modules)),
        settings.health,
        flush,
    )
