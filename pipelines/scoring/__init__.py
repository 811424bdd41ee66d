"""Scoring videos that exist."""
