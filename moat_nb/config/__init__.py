"""What moat.yaml says: values, the reader, one module a section, exclude patterns, overrides."""
