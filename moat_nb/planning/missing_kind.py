"""Whether an exclude that the host has nothing for is a file or a directory. Pure.

Something must stand on the host for a mount to cover it, and who makes the real one later
(`cp .env.example .env`) must not find a thing of another kind there. Only the name can tell.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from fnmatch import fnmatchcase

from moat_nb.config.model import Exclude
from moat_nb.planning.host_files import Kind

__all__ = ["directories_of", "missing_kind"]

_DIRECTORIES = (
    # Environments, and what package managers and builds keep.
    *(".venv*", ".virtualenv*", ".*cache*", ".pixi", ".conda", ".mamba", ".micromamba", ".tox"),
    *(".nox", ".eggs", ".npm", ".nvm", ".yarn", ".pnpm*", ".bun", ".deno", ".cargo", ".rustup"),
    *(".gradle", ".m2", ".ivy2", ".sbt", ".bloop", ".metals", ".bundle", ".gem", ".rbenv"),
    *(".pyenv", ".poetry", ".uv", ".local", ".build", ".output", ".next", ".nuxt", ".svelte-kit"),
    *(".turbo", ".parcel-*", ".expo", ".dart_tool", ".stack-work", ".cabal", ".julia", ".renv"),
    # Version control, editors, tools.
    *(".git", ".hg", ".svn", ".bzr", ".jj", ".github", ".gitlab", ".husky", ".circleci"),
    *(".idea", ".vscode", ".vs", ".zed", ".fleet", ".cursor", ".claude", ".devcontainer"),
    *(".ipynb_checkpoints", ".ipython", ".jupyter", ".virtual_documents", ".direnv", ".Rproj.user"),
    *(".hypothesis", ".pyre", ".pytype", ".ropeproject", ".spyproject", ".nyc_output", ".dvc"),
    *(".terraform", ".terragrunt-*", ".vagrant", ".serverless", ".aws-sam", ".pulumi", ".chef"),
    # Where keys and data are kept.
    *(".ssh", ".gnupg", ".aws", ".azure", ".gcloud", ".kube", ".docker", ".config", ".mozilla"),
    *(".password-store", ".secrets", ".credentials", ".keys", ".certs", ".envs", ".env.d"),
    *(".data", ".tmp", ".temp", ".logs", ".trash", ".Trash*", ".snapshots", ".mlruns", ".wandb"),
    # Extensions of directories.
    *("*.d", "*.git", "*.egg-info", "*.dist-info", "*.app", "*.framework", "*.xcodeproj"),
    *("*.xcworkspace", "*.lproj", "*.zarr", "*.mlmodelc", "*.mlpackage", "*.runfiles"),
)
_FILES = (
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ed25519_sk", "id_ecdsa_sk"),
    *("authorized_keys", "known_hosts", "kubeconfig", "_netrc", "Dockerfile", "Containerfile"),
    *("Makefile", "Procfile", "Vagrantfile", "Jenkinsfile", "Pipfile", "Gemfile", "LICENSE"),
)
_SETTINGS = ("config", "credentials")
"""Files in a tool's own directory, as .aws/credentials and .ssh/config are."""

_EXTENSION = re.compile(r"\.(?=[^.]*[A-Za-z])[A-Za-z0-9_-]+$")
"""Of a file: it has a letter, unlike the end of ``python3.11`` or ``v1.2``."""


def missing_kind(exclude: Exclude, ignored: Collection[str] = ()) -> Kind:
    """``ignored``: what :func:`directories_of` found in the mount's ``.gitignore``.

    A directory where the exclude, or a line of ``.gitignore``, ends in a slash; else as the name's
    table says; else a file where the name begins with a dot or has an extension.
    """
    above, _, name = exclude.pattern.rpartition("/")
    if exclude.kind is not None:
        return exclude.kind
    if name in ignored or exclude.pattern in ignored:
        return "directory"
    if any(fnmatchcase(name, known) for known in _DIRECTORIES):
        return "directory"
    if name in _SETTINGS and above.rpartition("/")[2].startswith("."):
        return "file"
    if name in _FILES or name.startswith(".") or _EXTENSION.search(name):
        return "file"
    return "directory"


def directories_of(gitignore: str) -> frozenset[str]:
    """The names and paths that lines of a ``.gitignore`` say are directories."""
    lines = (line.strip() for line in gitignore.splitlines())
    return frozenset(
        line.strip("/") for line in lines if line.endswith("/") and line[0] not in "#!"
    )
