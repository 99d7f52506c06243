"""The people who run the server, and what they may do."""
