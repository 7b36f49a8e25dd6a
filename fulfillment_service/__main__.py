"""`python -m fulfillment_service api|worker|relay|consumer|migrate|all`"""

import sys

from contracts.chassis.roles.service import main
from fulfillment_service.bootstrap import Settings

if __name__ == "__main__":
    sys.exit(main("fulfillment_service", Settings()))
