"""Fixed-point recurrences: a cheap diagonal recurrence, iterated to a fixed point that is a dense one."""
