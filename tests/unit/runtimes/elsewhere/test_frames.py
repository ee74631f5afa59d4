"""What the two ends of another machine's connection send."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path, PurePosixPath

import pytest

from moat_nb.runtimes.elsewhere.frames import Frames, exactly, framed, pickled, read_frame, write


def test_a_frame_is_read_as_it_was_written_and_no_longer_one_than_there_may_be() -> None:
    assert read_frame(io.BytesIO(framed(b"abc")).read) == b"abc"
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        read_frame(io.BytesIO(b"\xff" * 8).read)


def test_a_path_is_named_as_every_python_can_read_it() -> None:
    """Python 3.13 names its own by a module that no other has."""
    data = pickled({"path": Path("/a/b"), "pure": PurePosixPath("c")})
    assert b"pathlib" not in data
    assert pickle.loads(data) == {"path": Path("/a/b"), "pure": Path("c")}


def test_frames_come_out_of_pieces_of_any_length() -> None:
    sent = [b"one", b"", b"x" * 70000, b"two"]
    data = b"".join(map(framed, sent))
    for length in (1, 3, 4, 5, 65536, len(data)):
        frames = Frames()
        pieces = (data[at : at + length] for at in range(0, len(data), length))
        assert [frame for piece in pieces for frame in frames.feed(piece)] == sent
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        list(Frames().feed(b"\xff" * 4))


def test_so_many_bytes_are_read_and_all_are_written() -> None:
    read, written = os.pipe()
    write(written, b"abcdef")
    os.close(written)
    assert [exactly(read)(4), exactly(read)(2)] == [b"abcd", b"ef"]
    with pytest.raises(EOFError):
        exactly(read)(1)
    os.close(read)
