"""The whole system in one thread: real workflows, decisions and activities on twins of everything outside."""
