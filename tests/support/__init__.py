COUNTS = "campaign"
"""The property of a test's report that tells how the schedules of the crash campaign ended."""

MATRIX = "lost connections"
"""The property of a test's report that tells how a server came through a lost connection."""
