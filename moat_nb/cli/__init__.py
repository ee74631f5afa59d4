"""The command line, `moat-nb`: one module for each of its larger commands."""
