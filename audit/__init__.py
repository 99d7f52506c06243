"""Asks for known advisories about every pinned requirement."""
