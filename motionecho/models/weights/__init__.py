"""Where weights are, what a checkpoint holds, and weights drawn at random."""
