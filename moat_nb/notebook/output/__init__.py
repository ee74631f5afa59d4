"""What a sandbox shows, made harmless and displayed."""
