COUNTS = "campaign"
"""The property of a test's report that tells how the schedules of the crash campaign ended."""
