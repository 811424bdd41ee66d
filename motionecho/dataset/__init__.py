"""A data set out of runs: rows chosen, split, rid of near-duplicates, and handed on in a form that loads."""
