"""The words of the commands that are about this machine."""

from __future__ import annotations

from moat_nb.cli.options import Commands, add, add_directory, add_json, add_runtime

__all__ = ["add_machine_commands"]


def add_machine_commands(commands: Commands) -> None:
    parser = add(
        commands,
        "clean",
        "remove what killed launchers left",
        "Directories and containers whose launcher is dead, and approvals of projects that are\n"
        "gone; running sandboxes are not touched.",
        "moat-nb clean --images",
    )
    parser.add_argument(
        "--cache", action="store_true", help="what kernel.cache kept for projects, too"
    )
    parser.add_argument("--images", action="store_true", help="the images that were built, too")
    parser.add_argument(
        "--runtime", metavar="R", help="kubernetes: pods of the current context, too"
    )

    parser = add(
        commands,
        "doctor",
        "say what can be used here, and what to do about the rest",
        "Exit code 0 if any runtime is usable.",
        "moat-nb doctor --json",
    )
    add_json(parser)

    parser = add(
        commands,
        "completion",
        "print the script by which bash or zsh completes commands",
        "Its line for ~/.bashrc or ~/.zshrc is the example.",
        'eval "$(moat-nb completion bash)"',
    )
    parser.add_argument("shell", choices=("bash", "zsh"), help="which shell")

    _add_bench_command(commands)

    parser = add(
        commands,
        "demo",
        "run the quickstart notebook in a sandbox and show what was proved",
        "",
        "moat-nb demo",
    )
    words = "docker, podman, bubblewrap or apple (default: bubblewrap)"
    parser.add_argument("--runtime", default="bubblewrap", metavar="R", help=words)
    parser.add_argument("--image", metavar="TAG", help="a base image, where one is needed")


def _add_bench_command(commands: Commands) -> None:
    parser = add(
        commands,
        "bench",
        "measure how long kernels take, beside plain local ones",
        "On every runtime that is usable here, with the project's image. Takes about 8 s a run.",
        "moat-nb bench --runs 5",
    )
    add_directory(parser)
    parser.add_argument(
        "--runs", type=int, default=15, metavar="N", help="readings of each measure (default: 15)"
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="beside dockernel, gateway-provisioners and autogen too; pip installs them for that",
    )
    parser.add_argument(
        "--grade", action="store_true", help="instead: a class of 40, graded, beside plain kernels"
    )
    add_runtime(parser)
    add_json(parser)
