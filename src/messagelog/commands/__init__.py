"""Sub-commands of `messagelog`, a file for each, and what commands have in common."""
