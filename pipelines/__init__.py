"""How samples meet machines: Ray lives here and nowhere else. Start with `generate.py`, then `loop.py`."""
