"""The benchmark: this server and the Node package that it is a counterpart of. `make bench` runs it."""
