"""The package's version, and the place of its files."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PACKAGE", "__version__"]

__version__ = "0.1.0"

PACKAGE = Path(__file__).parent.parent
"""The directory ``moat_nb``."""
