"""The report of a run: `write.py` gathers it from records, `motionecho/report/` has the pages that show it."""
