"""The embedded transformer pair: a flow-matching teacher and its few-step student on procedural video."""
