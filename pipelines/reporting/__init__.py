"""The report of a run: `write.py` gathers it from records; the pages are in `motionecho/report/`."""
