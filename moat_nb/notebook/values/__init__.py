"""Values that ``--in`` and ``--out`` bring in and out."""
