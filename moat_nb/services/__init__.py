"""Services beside a kernel: what they are, how they are planned, started and watched."""
