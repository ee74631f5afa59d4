"""This machine: who and where we are, its certificates, run directories, and the reaper."""
