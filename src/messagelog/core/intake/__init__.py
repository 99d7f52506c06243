"""A request becomes rows of the journal, and an answer."""
