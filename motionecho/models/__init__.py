"""The model pairs: what is known of them, where their weights are, a folder a family."""
