"""What a project's files ask for, whatever stands in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.cli.init import wanted
from moat_nb.cli.init.wanted import look
from moat_nb.config.dependencies import parse


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "requirements.txt",
            "pandas>=2,<3\nnumpy # fast\n\n# no\n",
            ("pip:pandas<3,>=2", "pip:numpy"),
        ),
        ("requirements.txt", "a==1 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n", ("pip:a==1",)),
        ("requirements.txt", "psycopg[binary]; python_version > '3'\n", ("pip:psycopg[binary]",)),
        ("requirements.txt", "a; sys_platform == 'win32'\n", ()),
        ("requirements.txt", "Pandas\npandas>=1\n", ("pip:Pandas",)),
        ("pyproject.toml", "[project]\ndependencies = ['a>1', 7]\n", ("pip:a>1",)),
        ("pyproject.toml", "[project]\ndependencies = 'a'\n", ()),
        (
            "pyproject.toml",
            "[tool.poetry.dependencies]\npython = '^3.11'\na = '^1.2'\nb = '>=2'\n"
            "c = {version = '==3', extras = []}\nd = {git = 'https://x.example'}\n",
            ("pip:a", "pip:b>=2", "pip:c==3", "pip:d"),
        ),
        ("package.json", '{"dependencies": {"left-pad": "1"}}', ("node",)),
    ],
)
def test_what_is_asked_for_becomes_a_dependency(
    tmp_path: Path, name: str, text: str, expected: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text(text)
    found = look(tmp_path)
    assert found.dependencies == expected
    assert found.files == ((name,) if expected else ())
    assert found.left == ()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("requirements.txt", "-r more.txt\n", "-r more.txt: options of pip's"),
        ("requirements.txt", "--index-url https://x.example\n", "options of pip's"),
        ("requirements.txt", "./here.whl\n", "./here.whl: is not a requirement by name"),
        ("requirements.txt", "a @ https://x.example/a.whl\n", "has an address"),
        ("requirements.txt", "JupyterLab>=4\n", "JupyterLab: is not for the kernel"),
        ("pyproject.toml", "[project\n", "is not TOML"),
        ("package.json", "{", "is not JSON"),
        ("environment.yml", "name: x\n", "conda's environments are not read"),
    ],
)
def test_what_cannot_be_one_is_said(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    found = look(tmp_path)
    (words,) = found.left
    assert found.dependencies == ()
    assert words.startswith(f"{name}: ") and reason in words


def test_no_link_is_followed_and_no_pipe_waited_for(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("pandas\n")
    (tmp_path / "requirements.txt").symlink_to("real")
    os.mkfifo(tmp_path / "pyproject.toml")
    (tmp_path / "package.json").write_bytes(b" " * (wanted.MAX_BYTES + 1))
    assert look(tmp_path) == wanted.Wanted()


REQUIREMENTS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["a", "evil", "A.b", "x @ https://x.example/"]),
    st.sampled_from(["", ".zip", ".tar.gz", "[e]", "==1", ">=1,<2", "===x.whl"]),
    st.sampled_from(["", "; python_version > '3'", " --hash=sha256:0", " # why"]),
)


@given(text=st.text() | st.lists(REQUIREMENTS).map("\n".join))
def test_whatever_a_file_says_each_dependency_is_one(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for read in wanted._READERS.values():
        for one in read(text):
            assert not isinstance(one, str) or isinstance(parse(one, where=""), tuple)
