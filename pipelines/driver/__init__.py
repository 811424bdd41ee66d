"""The one process that decides: gives tasks, judges outcomes, commits, says how it goes."""
