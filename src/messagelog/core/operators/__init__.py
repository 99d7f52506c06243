"""Who runs the server, and what they may do."""
