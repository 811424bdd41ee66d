"""The embedded pair: a tiny text-to-video teacher and its few-step student on procedural video."""
