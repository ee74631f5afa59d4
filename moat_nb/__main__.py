"""``python -m moat_nb``, which kernelspecs run: it works wherever the package can be imported."""

from __future__ import annotations

import sys

from moat_nb.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
