"""Why something failed, in six words: by them it is decided whether it is tried again, and who must act."""

from typing import Literal, get_args

Fault = Literal["transient", "dependency-down", "refusal", "bad-data", "bug", "mismatch"]
"""`transient`: an answer was lost or late · `dependency-down`: the other side is known to be away ·
`refusal`: the other side said no, as it may · `bad-data`: it could not understand what we sent ·
`bug`: our own mistake · `mismatch`: two records of the same thing do not agree."""
FAULTS: tuple[Fault, ...] = get_args(Fault)

Resolution = Literal["retry", "skip", "change-data", "cancel"]
"""What an operator may do about it."""
