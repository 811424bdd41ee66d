"""How samples meet machines: Ray lives here alone. Start with `generate.py`, then `driver/loop.py`."""
