"""Requests and decisions that a generator thinks up, not we.

`FUZZ_SEED=7` tries other ones, `FUZZ_TIMES=20` twenty times as many; without them every run is the same.
"""
