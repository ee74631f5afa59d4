"""bubblewrap: a sandbox of this machine's own files, without a daemon."""
