"""Upgrades and rollbacks: orders parked by the workers of one release are finished by those of another.

This code is one release. The others are copies of it with what a next release would change, written down in
`releases.py`; their workers are real processes, on the engines, doors, relays and consumers of one stack.
"""
