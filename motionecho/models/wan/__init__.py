"""Wan: flow-matching video transformers, and the pairs of them."""
