"""Programs that run in sandboxes, never here: their text is sent there.

They need nothing but a python3 >= 3.8; numpy, pandas and IPython where a test has theirs.
"""
