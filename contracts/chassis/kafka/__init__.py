"""Kafka by one policy: nothing is lost, an order's records stay in order, a failure waits instead of passing.

Import the modules: each process loads only the side it is on, and FastStream alone takes half a second.
"""
