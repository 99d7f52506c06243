"""Sealed storage: the sealer, its keys, and their rotation."""
