"""``python3 DIRECTORY SETTINGS [--in-no-hurry]``: the guest, wherever its directory lies."""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "moat_guest"


def load() -> None:
    """Make this directory a package, and keep it off the path that kernels import from."""
    sys.path.pop(0)
    spec = importlib.util.spec_from_file_location(
        NAME, os.path.join(HERE, "__init__.py"), submodule_search_locations=[HERE]
    )
    assert spec is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)


if __name__ == "__main__":
    load()
    importlib.import_module(NAME + ".begin").main()
