"""What operators see, decide, erase and export."""
