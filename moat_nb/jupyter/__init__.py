"""How Jupyter's clients come to a kernel in a sandbox: provisioner, kernelspec, and the shim."""
