"""Between every sandboxed kernel and its clients: a process that lets only harmless output pass."""
