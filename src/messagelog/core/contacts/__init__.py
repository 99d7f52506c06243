"""Find and make contacts, once."""
