"""Notebooks that others wrote, run and graded: what ``moat-nb grade`` does."""
