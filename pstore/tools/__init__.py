"""Command line, inspection and demos; they stand on the public names (layer 5)."""
