"""What a sandbox shows, made harmless for a page of the user's."""
