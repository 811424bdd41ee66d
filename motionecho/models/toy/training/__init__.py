"""How the embedded pair was trained, from procedural video alone."""
