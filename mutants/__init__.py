"""Mutants: the safeguards of exactly-once, taken out one at a time. Each must make a named test red."""
