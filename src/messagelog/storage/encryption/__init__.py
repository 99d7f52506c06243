"""What is stored sealed: the sealer, its keys, and their rotation."""
