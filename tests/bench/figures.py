"""Small statistics."""

from collections.abc import Sequence
from math import ceil
from statistics import median

__all__ = ["median", "percentile"]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]
