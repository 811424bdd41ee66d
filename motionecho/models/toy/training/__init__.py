"""The training of the embedded pair, from procedural video alone."""
