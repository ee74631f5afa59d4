"""What the launcher tells the guest on its command line. The launcher writes it with this too."""

from __future__ import annotations

IN_NO_HURRY = "--in-no-hurry"
"""A word after the guest's settings: nobody waits for a kernel of this sandbox yet, so what kernels
need is imported when nothing else wants the processor."""
