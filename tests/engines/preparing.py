"""What the engines are made of, made in the background while tests run on those before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests import base_image
from tests.engines.kinds import Kind
from tests.engines.namespace import root_filesystem

AT_ONCE = 2
"""Most of the time is one core's, unpacking; two leave something to the tests."""


@dataclass(frozen=True, kw_only=True)
class Preparations:
    roots: Mapping[str, Future[Path]]
    """``{suite: the root filesystem that its engines run on}``."""
    image: Future[Path]
    """The tar of the base image, which is the same on all of them."""


@contextlib.contextmanager
def preparing(kinds: Iterable[Kind], cache: Path) -> Iterator[Preparations]:
    """All that ``kinds`` need, made in their order and kept in ``cache``.

    At the end what has not begun is not begun any more.
    """
    first, *others = dict.fromkeys(kind.suite for kind in kinds)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        roots = {first: pool.submit(root_filesystem, first, cache)}
        image = pool.submit(base_image.root_filesystem, None, cache)
        roots |= {suite: pool.submit(root_filesystem, suite, cache) for suite in others}
        try:
            yield Preparations(roots=roots, image=image)
        finally:
            pool.shutdown(cancel_futures=True)
