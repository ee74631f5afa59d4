"""The behaviours of sandboxes on every engine; ``make test-engines`` runs them.

They are the tests of tests/integration/, with the launcher of tests/engines/conftest.py, and what
is asked of engines only. Its name keeps it out of `make test`.
"""

import pytest

from moat_nb import Sandbox
from moat_nb.errors import MoatError
from tests.engines.conftest import BUBBLEWRAP
from tests.integration.test_cli_run import *  # noqa
