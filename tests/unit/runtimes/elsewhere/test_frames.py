"""What the two ends of another machine's connection send."""

from __future__ import annotations

import io
import pickle
from pathlib import Path, PurePosixPath

import pytest

from moat_nb.runtimes.elsewhere.frames import framed, pickled, read_frame


def test_a_frame_is_read_as_it_was_written_and_no_longer_one_than_there_may_be() -> None:
    assert read_frame(io.BytesIO(framed(b"abc")).read) == b"abc"
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        read_frame(io.BytesIO(b"\xff" * 8).read)


def test_a_path_is_named_as_every_python_can_read_it() -> None:
    """Python 3.13 names its own by a module that no other has."""
    data = pickled({"path": Path("/a/b"), "pure": PurePosixPath("c")})
    assert b"pathlib" not in data
    assert pickle.loads(data) == {"path": Path("/a/b"), "pure": Path("c")}
