"""The places of weights, the contents of checkpoints, and weights drawn at random."""
