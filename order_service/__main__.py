"""`python -m order_service api|worker|relay|consumer|migrate|all`"""

import sys

from contracts.chassis.roles.service import main
from order_service.bootstrap import Settings

if __name__ == "__main__":
    sys.exit(main("order_service", Settings()))
