"""The things that run inside a Ray actor."""
