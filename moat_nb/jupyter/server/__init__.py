"""A Jupyter server with the rights of a project's sandbox and no more.

Whatever script runs in its pages finds kernels of the project's moat.yaml, and files as a sandbox
of it sees them. :mod:`~moat_nb.jupyter.server.serve` starts it.
"""
