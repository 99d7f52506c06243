"""Who asks: session tokens, OAuth state, limits of attempts."""
