"""The payment and the carrier provider, simulated over HTTP, with true ledgers and scripted misbehaviour."""
