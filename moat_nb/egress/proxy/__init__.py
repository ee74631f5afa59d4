"""The proxy: a process of its own that serves one sandbox."""
