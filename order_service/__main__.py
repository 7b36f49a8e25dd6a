"""`python -m order_service api|worker|relay|consumer|migrate|all`"""

import argparse
import sys

from contracts.chassis import lifecycle, telemetry
from order_service.bootstrap import ROLES, Settings, migrate, role_of


def main(arguments: list[str] | None = None) -> int:
    """Runs one role of the order service, or all of them in this process; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m order_service",
        description="The order service: one process for each role. Settings are TANDEM_ variables.",
    )
    parser.add_argument("role", choices=[*ROLES, "migrate", "all"], help="what this process does")
    role: str = parser.parse_args(arguments).role
    settings = Settings()
    flush = telemetry.configure("order-service", role, settings.telemetry, settings.logs)
    if role == "migrate":
        migrate(settings)
        flush()
        return 0
    modules = [role_of(name) for name in (ROLES if role == "all" else (role,))]
    return lifecycle.run(
        lambda health: lifecycle.together(*(module.open_role(settings, health) for module in modules)),
        settings.health,
        flush,
    )


if __name__ == "__main__":
    sys.exit(main())
