"""The images of kernels: planned as values, built from wheels that this machine fetched."""
