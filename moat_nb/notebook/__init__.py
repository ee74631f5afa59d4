"""`%moat` and `%%moat`: cells of an ordinary notebook, run in a sandbox."""
