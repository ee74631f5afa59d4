"""The ways to start a sandbox: one module or package each; ``registry.py`` chooses."""
