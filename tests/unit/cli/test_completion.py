"""What a shell completes, asked of a real bash."""

from __future__ import annotations

import subprocess

import pytest

from moat_nb.cli.completion import SHELLS, script
from moat_nb.cli.main import HANDLERS
from tests.unit.cli.helpers import moat


def completed(line: str) -> set[str]:
    """What bash offers for the last word of ``line``."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _moat_nb; printf '%s\\n' "
    program = f"set -u\n{script('bash')}\n{ask}" + '"${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("moat-nb pl", {"plan"}),
        ("moat-nb un", {"uninstall"}),
        ("moat-nb run --m", {"--mount"}),
        ("moat-nb run --runtime d", {"docker"}),
        ("moat-nb exclude a", {"add"}),
        ("moat-nb exclude add --dr", {"--dry-run"}),
        ("moat-nb run so", set()),
        ("moat-nb run -- --m", set()),
        ("moat-nb nonsense --", set()),
    ],
)
def test_commands_options_and_runtimes_are_offered(line: str, expected: set[str]) -> None:
    assert completed(line) == expected


def test_every_command_is_offered_and_the_command_prints_the_script() -> None:
    assert completed("moat-nb ") == set(HANDLERS)
    assert moat("completion", "bash").stdout == script("bash")
    assert moat("completion", "zsh").stdout == SHELLS["zsh"] + script("bash")
    assert moat("completion", "tcsh").returncode == 2
