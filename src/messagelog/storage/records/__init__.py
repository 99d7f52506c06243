"""The values that go in and out of the journal. Times are epoch milliseconds, UTC, on the database's clock."""
