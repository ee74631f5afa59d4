"""`moat-nb completion`: the script by which a shell completes commands and options.

It is made once, so that no Python is started for a press of the Tab key.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from moat_nb.cli.parser import parser
from moat_nb.runtimes.registry import RUNTIMES

__all__ = ["SHELLS", "completion", "script"]

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
SHELLS = {"bash": "", "zsh": _ZSH}
"""What goes before the script."""

_SCRIPT = """\
_moat_nb() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} words="" at
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do [[ ${{COMP_WORDS[at]}} == -- ]] && return; done
  if ((COMP_CWORD == 1)); then words={commands}
  elif [[ $before == --runtime ]]; then words={runtimes}
  elif ((COMP_CWORD > 1)); then
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    [[ $word != -* && ${{COMP_WORDS[1]}} != @({nested}) ]] && words=""
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _moat_nb moat-nb
"""


def completion(shell: str) -> int:
    print(script(shell), end="")
    return 0


def script(shell: str) -> str:
    """For one of SHELLS; what is no option or command is left to the shell, as a name of a file."""
    commands = _commands(parser())
    nested = {name: found for name, one in commands.items() if (found := _commands(one))}
    cases = (
        f"      {name}) words={shlex.quote(' '.join((*nested.get(name, ()), *_options(one))))} ;;"
        for name, one in commands.items()
    )
    return SHELLS[shell] + _SCRIPT.format(
        commands=shlex.quote(" ".join(commands)),
        runtimes=shlex.quote(" ".join(RUNTIMES)),
        cases="\n".join(cases),
        nested="|".join(nested),
    )


def _commands(of: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _options(of: argparse.ArgumentParser) -> Iterator[str]:
    parsers = (of, *_commands(of).values())
    found = (
        option for one in parsers for action in one._actions for option in action.option_strings
    )
    yield from dict.fromkeys(option for option in found if option.startswith("--"))
