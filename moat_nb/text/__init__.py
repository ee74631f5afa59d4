"""Text for people, and text from hostile sources: tables, summaries, progress, redaction."""
