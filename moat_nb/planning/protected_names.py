"""Names that programs of the host run or obey, most of them as soon as a directory is opened.

A sandbox that could write them would act with the user's rights. The table is data: the look at
the host (``protected.py``), the watch, ``moat-nb changes`` and docs/security.md all follow it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = [
    "CHECKPOINTS",
    "GIT_FILES",
    "JUPYTER_CONFIGS",
    "LAUNCH",
    "LAUNCH_MODULES",
    "LITERALS",
    "NAMES",
    "VENV",
    "Name",
    "below_any",
    "is_imported",
    "is_init",
    "is_suspect",
    "reason",
    "starts_kernels",
]

CHECKPOINTS = ".ipynb_checkpoints"
VENV = "pyvenv.cfg"
"""A directory that holds it is an environment: editors run its python when they open it."""


@dataclass(frozen=True)
class Name:
    """``pattern`` is relative to a directory; only its last part may hold ``*``."""

    pattern: str
    by: str
    """Who runs or obeys it."""

    @property
    def is_glob(self) -> bool:
        return "*" in self.pattern


LAUNCH = "python -m, as any kernel of a notebook that is opened there"

LAUNCH_MODULES = frozenset(
    {
        *("_collections_abc", "_heapq", "_typing", "_weakrefset", "collections", "contextlib"),
        *("copyreg", "enum", "fnmatch", "functools", "genericpath", "glob", "grp", "heapq"),
        *("importlib", "ipaddress", "ipykernel_launcher", "keyword", "math", "ntpath", "operator"),
        *("os", "pathlib", "pkgutil", "posixpath", "re", "reprlib", "runpy", "sre_compile"),
        *("sre_constants", "sre_parse", "stat", "types", "typing", "urllib", "warnings"),
        "weakref",
    }
)
"""What ``python -m ipykernel_launcher`` imports before it takes the directory that it starts in
from its path: of CPython 3.8 to 3.13, without what is compiled in."""

NAMES = (
    Name("moat.yaml", "moat-nb: what the next sandbox sees and may reach"),
    Name("agent.yaml", "moat-nb, as moat.yaml"),
    Name(".git", "git: a repository's config and hooks, or a file that names where they are"),
    Name(".gitmodules", "git submodule: from where code is fetched"),
    Name(".hg/hgrc", "Mercurial: hooks and extensions"),
    Name(".githooks", "git, where core.hooksPath names it"),
    Name(".husky", "git, as husky's hooks"),
    Name("lefthook.yml", "lefthook, at a commit"),
    Name(".pre-commit-config.yaml", "pre-commit, at a commit"),
    Name(".github/workflows", "GitHub, with the repository's secrets"),
    Name(".github/actions", "GitHub, as a workflow's step"),
    Name(".gitlab-ci.yml", "GitLab, with the project's variables"),
    Name(".circleci", "CircleCI, with the project's variables"),
    Name(".vscode", "VS Code: tasks, the interpreter, settings of extensions"),
    Name("*.code-workspace", "VS Code, as .vscode"),
    Name(".devcontainer", "VS Code: initializeCommand runs on the host"),
    Name(".devcontainer.json", "VS Code, as .devcontainer"),
    Name(".idea", "JetBrains' editors: run configurations, startup tasks"),
    Name(".zed", "Zed: language servers, tasks"),
    Name(".exrc", "vim with 'exrc'"),
    Name(".nvim.lua", "Neovim with 'exrc'"),
    Name(".dir-locals.el", "Emacs"),
    Name(".envrc", "direnv, in the shell"),
    Name("mise.toml", "mise, in the shell"),
    Name(".mise.toml", "mise, in the shell"),
    Name(".claude", "Claude Code: hooks"),
    Name(".mcp.json", "coding agents: commands of tool servers"),
    Name(".cursor", "Cursor: commands of tool servers"),
    Name(".jupyter", "Jupyter, where JUPYTER_CONFIG_DIR names it"),
    Name("jupyter_config.*", "programs of Jupyter that start there"),
    Name("jupyter_*_config.*", "programs of Jupyter that start there"),
    Name(".ipython", "IPython, where IPYTHONDIR names it"),
    Name("ipython_config.py", "IPython below 8.0.1 that starts there"),
    Name("profile_default", "IPython below 8.0.1 that starts there"),
    Name("ipykernel_launcher.py", "Jupyter: the kernel of a notebook that is opened there"),
    Name("ipykernel_launcher", "Jupyter, as ipykernel_launcher.py"),
    Name("runpy.py", LAUNCH),
    Name(".jupytext.py", "jupytext, at a notebook that is opened there"),
    Name(".Rprofile", "R, as the kernel of a notebook that is opened there"),
    Name(".octaverc", "Octave that starts there"),
    Name(".pdbrc", "pdb that starts there"),
    Name(".vimrc", "vim with 'exrc'"),
    Name(".nvimrc", "Neovim with 'exrc'"),
    Name(".helix", "Helix: language servers"),
    Name(".gemini", "Gemini CLI: commands of tool servers"),
    Name(".codex", "Codex: commands of tool servers"),
    Name("opencode.json", "opencode: commands of tool servers"),
    Name("mise.local.toml", "mise, in the shell"),
    Name(".mise", "mise, in the shell"),
    Name("lefthook.yaml", "lefthook, at a commit"),
    Name("lefthook.toml", "lefthook, at a commit"),
    Name("lefthook.json", "lefthook, at a commit"),
    Name(".lefthook.yml", "lefthook, at a commit"),
    Name("lefthook-local.yml", "lefthook, at a commit"),
)

JUPYTER_CONFIGS = re.compile(r"jupyter_(\w+_)?config\.(py|json)")
"""What the globs of Jupyter's mean; any other file of such a name is none."""

GIT_FILES = (
    Name("config", "git: core.fsmonitor, core.pager, aliases, filters, at `git status` already"),
    Name("config.worktree", "git, as config"),
    Name("hooks", "git, at a commit, a checkout, a push"),
    Name("info/attributes", "git: which filter a file passes"),
    Name("commondir", "git: another directory's config and hooks in place of these"),
    Name("gitdir", "git: where a work tree stands"),
)
"""In a git directory: ``.git``, a submodule's in ``.git/modules``, a work tree's in
``.git/worktrees``."""


def below_any(path: str, names: Iterable[str]) -> bool:
    """Whether ``path`` is one of ``names`` or lies below one; all relative."""
    return any(path == name or path.startswith(f"{name}/") for name in names)


_PARTS = {
    *(part for name in (*NAMES, *GIT_FILES) for part in name.pattern.split("/")),
    *(CHECKPOINTS, VENV, "HEAD", "git-rebase-todo"),
}

LITERALS = frozenset(name for name in _PARTS if "*" not in name)
"""What is asked for by name in a directory with very many entries."""


def is_suspect(name: str) -> bool:
    """Whether :func:`reason` may have one for a path that ends so; quick, for very many names."""
    return (
        name in _PARTS
        or name.startswith("jupyter_")
        or is_init(name)
        or name.endswith(".code-workspace")
        or is_imported(name)
    )


def is_imported(name: str) -> bool:
    """Whether a file of this name is what an import of one of LAUNCH_MODULES takes."""
    stem, _, suffix = name.partition(".")
    return stem in LAUNCH_MODULES and (suffix in ("py", "pyc") or suffix.endswith("so"))


def is_init(name: str) -> bool:
    """Whether a file of this name makes its directory the package that an import takes."""
    return name.startswith("__init__.")


def starts_kernels(names: Collection[str], *, top: bool) -> bool:
    """Whether a directory with these entries may be where a kernel is started: LAUNCH holds only
    there. Else each package that has a ``types.py`` would be protected from its author."""
    return top or "__init__.py" not in names or any(name.endswith(".ipynb") for name in names)


def reason(path: str) -> str:
    """Who runs or obeys what stands at the relative ``path``; empty for an ordinary file."""
    parts = path.split("/")
    if parts[-1] == CHECKPOINTS:
        return "Jupyter's servers, which write copies of notebooks there"
    if parts[-1] == VENV:
        return "editors, which run the environment's python"
    if ".git" in parts[:-1]:
        return _in_git(parts[parts.index(".git") + 1 :])
    if parts[-1] == "HEAD" and parts[-2:-1] != ["logs"]:
        return "git, which takes a directory with HEAD, objects and refs for a repository"
    tails = (parts[start:] for start in range(len(parts)))
    found = next((name.by for tail in tails for name in NAMES if _matches(tail, name)), "")
    return found or (LAUNCH if _is_launched(parts) else "")


def _is_launched(parts: list[str]) -> bool:
    """A module, or a package by its ``__init__``: a directory without one is none."""
    *above, last = parts
    if is_init(last) and above:
        last = last.replace("__init__", above[-1], 1)
    return is_imported(last)


def _in_git(below: list[str]) -> str:
    """Of what lies below a ``.git``; a submodule's own name there may have several parts."""
    if below[-1] == "git-rebase-todo":
        return "git rebase --continue, line by line"
    deep = len(below) if below[0] == "modules" else 3 if below[0] == "worktrees" else 1
    tails = (below[start:] for start in range(deep))
    return next((name.by for tail in tails for name in GIT_FILES if _matches(tail, name)), "")


def _matches(parts: list[str], name: Name) -> bool:
    wanted = name.pattern.split("/")
    there = parts[: len(wanted)]
    if len(there) < len(wanted) or there[:-1] != wanted[:-1]:
        return False
    if name.pattern.startswith("jupyter_"):
        return len(parts) == 1 and JUPYTER_CONFIGS.fullmatch(parts[0]) is not None
    return fnmatch.fnmatchcase(there[-1], wanted[-1])
