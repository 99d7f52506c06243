"""A check for known advisories about every pinned requirement."""
