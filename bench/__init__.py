"""The benchmark: this server beside the Node package that it is a counterpart of. `make bench` runs it."""
