"""What a kernel starts without: told in a sentence for each reason."""

from __future__ import annotations

from pathlib import Path

from moat_nb.config.model import Config, Dependency, KernelOptions
from moat_nb.planning.lacks import lack_of, lack_of_hook, told, wanted

CONFIG = Config(
    path=Path("/srv/demo/moat.yaml"),
    name="demo",
    dependencies=(
        Dependency(kind="tool", name="git", where="moat.yaml:3:5"),
        Dependency(kind="agent", name="claude-code", where="moat.yaml:4:5"),
        Dependency(kind="unavailable", name="helm", bundle="k8s", where="moat.yaml:5:5"),
    ),
    where={"hooks": "moat.yaml:8:1"},
)


def test_those_for_one_reason_are_told_in_one_sentence() -> None:
    git, _, helm = CONFIG.dependencies
    lacks = (
        lack_of(git, "not here", "install it"),
        lack_of_hook(CONFIG, "post_build_root", "no root", "use docker"),
        lack_of(helm, "not here", "install it"),
        lack_of(git, "not here", "install it"),
    )
    assert [lack.where for lack in lacks[:3]] == ["moat.yaml:3:5", "moat.yaml:8:1", "moat.yaml:5:5"]
    assert told(lacks) == (
        "the kernel starts without git, helm (k8s): not here; install it",
        "the kernel starts without hooks.post_build_root: no root; use docker",
    )


def test_neither_what_is_skipped_nor_a_coding_agent_is_wanted() -> None:
    assert [item.name for item in wanted(CONFIG)] == ["git", "helm"]
    skipping = Config(
        path=CONFIG.path,
        name="demo",
        dependencies=CONFIG.dependencies,
        kernel=KernelOptions(skip_dependencies=("helm",)),
    )
    assert [item.name for item in wanted(skipping)] == ["git"]
