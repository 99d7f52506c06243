"""Mutants: the safeguards of exactly-once, removed one at a time. Each must make a named test fail."""
