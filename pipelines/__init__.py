"""The meeting of samples and machines: Ray lives here alone. Start: `generate.py`, then `driver/loop.py`."""
