"""Programs that run in sandboxes, never here: their text is sent to kernels.

They need nothing but a python3 >= 3.8 and ipykernel; numpy and pandas only for their values.
"""
