"""The excludes editor: a widget for notebooks, and what it says and shows."""
