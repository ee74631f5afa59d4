"""The :class:`Sandbox` of ``import moat_nb``: the one that can start kernels by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moat_nb.sandbox import sandbox

if TYPE_CHECKING:
    from moat_nb.jupyter.kernel_manager import Kernel

__all__ = ["Sandbox"]


class Sandbox(sandbox.Sandbox):
    __doc__ = sandbox.Sandbox.__doc__

    def start_kernel(self, **options: Any) -> Kernel:
        """Start one more kernel here, and return its manager with a connected client."""
        # Who runs commands alone does not pay for the import of Jupyter's client.
        from moat_nb.jupyter.kernel_manager import Kernel

        return Kernel.start(self, **options)
