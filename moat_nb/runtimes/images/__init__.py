"""The images of kernels: built from wheels that this machine fetched."""
