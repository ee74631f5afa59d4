"""``kernel.on``: a machine in this one's place."""

from __future__ import annotations

import re

from moat_nb.config.cursor import Cursor
from moat_nb.config.model import OtherMachine, SlurmJob
from moat_nb.config.shapes import Block, Either, Integer, Keys, Number, Word, key

__all__ = ["MACHINE", "ON", "PROGRAM", "other_machine"]

MACHINE = re.compile(
    r"([A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_][A-Za-z0-9_.-]*(:[1-9][0-9]{0,4})?"
)
_MACHINE = Word(pattern=MACHINE, rule="a host that ssh knows: HOST, or USER@HOST:PORT")
PROGRAM = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]*|(/[A-Za-z0-9_.+-]+)+")
_PROGRAM = Word(
    pattern=PROGRAM,
    rule="a program there, such as python3.12 or /opt/conda/bin/python3",
)
_WORD = Word(
    pattern=re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,:=+-]{0,199}"), rule="a word that srun takes"
)


class _SlurmKeys(Keys):
    partition = key(_WORD, "Where to ask for a node.")
    time = key(_WORD, "How long it is wanted, such as 2:00:00.")
    mem = key(Integer(minimum=1, maximum=1 << 24, unit="MB"), "MB of its memory.")
    cpus = key(Integer(minimum=1, maximum=4096), "How many of its CPUs.")
    gres = key(_WORD, "Further resources, such as license:1.")


class _SshKeys(Keys):
    ssh = key(_MACHINE, "[USER@]HOST[:PORT], as ssh knows it.", required=True)
    python = key(_PROGRAM, "The Python there that kernels run on.", default=OtherMachine.python)
    grace = key(
        Number(maximum=10 * 365 * 86400),
        "Seconds without a sign of this machine after which a sandbox there ends.",
        default=OtherMachine.grace,
    )


class _NodeKeys(Keys):
    slurm = key(Block(_SlurmKeys), "What srun is asked for.", required=True)
    python = _SshKeys.python
    grace = _SshKeys.grace


ON = Either((Block(_SshKeys), Block(_NodeKeys)))


def other_machine(cursor: Cursor, runtime: str) -> OtherMachine | None:
    """None where none is given; ``runtime`` is what ``kernel.runtime`` says."""
    if cursor.node is None or not cursor.given:
        return None
    if runtime not in ("auto", "bubblewrap"):
        cursor.fail(
            f"bubblewrap runs what kernel.on starts, and kernel.runtime is {runtime}",
            "take one of them out; an engine elsewhere is DOCKER_HOST's, or a docker context's",
        )
    of_slurm = any(name.text == "slurm" for name, _ in cursor.node.entries)
    keys = _NodeKeys if of_slurm else _SshKeys
    fields = cursor.fields(keys.names())
    return OtherMachine(
        ssh="" if of_slurm else fields.read(_SshKeys.ssh) or "",
        slurm=_slurm(fields.at(_NodeKeys.slurm)) if of_slurm else None,
        python=fields.read(keys.python),
        grace=fields.read(keys.grace),
    )


def _slurm(cursor: Cursor) -> SlurmJob:
    cursor.require()
    fields = cursor.fields(_SlurmKeys.names())
    return SlurmJob(
        partition=fields.read(_SlurmKeys.partition),
        time=fields.read(_SlurmKeys.time),
        mem_mb=fields.read(_SlurmKeys.mem),
        cpus=fields.read(_SlurmKeys.cpus),
        gres=fields.read(_SlurmKeys.gres),
    )
