"""The words that the editor shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moat_nb.excludes.draft import Draft
from moat_nb.excludes.suggest import Candidate
from moat_nb.excludes.widget import messages as widget_words
from moat_nb.sandbox.mount_proof import MountProof
from tests.unit.excludes.widget.editors import Edit, W


def proof(path: str, used: int, kind: str = "tmpfs") -> MountProof:
    return MountProof(
        path=path, type=kind, mode=0o1777, writable=True, executable=True, size=1 << 30, used=used
    )


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a", "3 MiB of 1 GiB used inside"),
        ("./a/", "3 MiB of 1 GiB used inside"),
        ("**/c", "7 MiB used inside, in 2 places"),
        (".env", "covered inside"),
        ("a/x", ""),
        ("other", ""),
    ],
)
def test_the_use_inside_is_found_by_the_pattern(pattern: str, words: str) -> None:
    proofs = [
        proof(f"{W}/a", 3 << 20),
        proof(f"{W}/b/c", 3 << 20),
        proof(f"{W}/c", 4 << 20),
        proof(f"{W}/.env", 0, "file"),
        proof("/workspace2/other", 1),
    ]
    assert widget_words.inside(W, pattern, proofs) == words


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "not looked for yet"),
        (Candidate(pattern="a"), "not on the host"),
        (Candidate(pattern="a", complete=False), "not looked for yet"),
        (Candidate(pattern="a", kind="file", places=1), "file on the host, being measured"),
        (
            Candidate(pattern="a", kind="directory", places=3, size=5 << 20, complete=False),
            "3 directories on the host, at least 5 MiB",
        ),
    ],
)
def test_what_is_on_the_host_is_said_as_far_as_it_is_known(
    found: Candidate | None, words: str
) -> None:
    assert widget_words.on_host(found) == words


def test_a_loss_is_told_with_its_largest_parts() -> None:
    memory = "The sandbox restarts: what its kernels hold in memory is lost"
    assert widget_words.loss([proof(W, 0)], known=True) == f"{memory}; its excludes are empty."
    assert widget_words.loss([], known=False).startswith(f"{memory}, and all that was written")
    proofs = [proof(f"/{n}", n << 20) for n in (1, 4, 2, 3)]
    assert widget_words.loss(proofs, known=True) == (
        f"{memory}, and 10 MiB that were written into its excludes "
        "(4 MiB in /4, 3 MiB in /3, 2 MiB in /2, and 1 more)."
    )


def test_where_no_widget_can_show_there_are_the_excludes_and_the_commands(
    edit: Edit, project: Path
) -> None:
    data, _ = edit(project)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    file = f"{project}/moat.yaml"
    lines = [re.sub(r", \d+ KiB", "", line) for line in data["text/plain"].splitlines()]
    assert lines == [
        f"Excludes of {file}",
        f"/workspace (from {project})",
        "  node_modules: directory on the host",
        "  gone: not on the host",
        "  suggested: .env (passwords and tokens)",
        "  suggested: venv (packages built for this machine; the sandbox installs its own)",
        f"  moat-nb exclude add PATH --project {file}",
        f"  moat-nb exclude remove PATH --project {file}",
        f"/data (from {project}/data)",
        "  nothing is excluded",
        f"  moat-nb exclude add PATH --target /data --project {file}",
        f"  moat-nb exclude remove PATH --target /data --project {file}",
    ]


def test_the_text_says_while_the_directory_is_being_looked_at_and_quotes_for_the_shell(
    tmp_path: Path,
) -> None:
    project = tmp_path / "my project"
    project.mkdir()
    (project / "moat.yaml").write_text("mounts: [{source: ., target: /a b}]")
    suggestions = {"/a b": [{"pattern": "**/*.pem", "reason": "a key"}], W: []}
    lines = widget_words.plain(
        Draft.read(project), {"/a b": {}, W: {}}, suggestions, looking=True
    ).splitlines()
    assert "  suggested: '**/*.pem' (a key)" in lines
    assert f"  moat-nb exclude add PATH --target '/a b' --project '{project}/moat.yaml'" in lines
    assert lines[-1] == "The directories are still being looked at: there may be more to suggest."
