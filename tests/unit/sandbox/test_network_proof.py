from __future__ import annotations

import pytest

from moat_nb.errors import ProofError
from moat_nb.sandbox.network_proof import prove_closed


def test_only_what_was_tried_in_vain_is_a_proof() -> None:
    prove_closed(("tcp 10.0.0.1:443",), ())
    with pytest.raises(ProofError, match=r"reached tcp 10\.0\.0\.1:443 by itself"):
        prove_closed(("tcp 10.0.0.1:443",), ("tcp 10.0.0.1:443",))
    with pytest.raises(ProofError, match="nothing that the sandbox could try"):
        prove_closed((), ())
