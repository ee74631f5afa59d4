"""The messages between the launcher and the guest, by name.

The launcher holds the guest's stdin and stdout. JSON objects run over them, one a line, with the
message's name as ``type``; behind one that has a ``size`` come so many bytes. When stdin ends, by
whatever death of the launcher, the guest exits and the sandbox with it.

To the guest:
    spawn  {id, argv, env, cwd, fork, connection, stdin, terminal, tcp}   start a process; terminal:
                             [rows, columns] of one of its own, which is its stdin and all output;
                             tcp: a kernel that listens on loopback ports, to which the sockets
                             of its connection lead
    spare  {prefix, after}   make a kernel ahead of need, listening on the sockets PREFIX-N, after
                             so many seconds; the next spawn that it fits is handed over to it;
                             without PREFIX there is to be none
    input  {id, size}        bytes for its stdin; without a size that is its end
    resize {id, rows, columns}   its terminal has another size now
    signal {id, signum}      to its whole process group
    note   {text}            show a line in the cells that run
    usage  {id}              ask for the mounts' use
    prove  {id}              prove the excludes once more
    vitals {id}              ask for the kernels' memory and CPU
    spaces {id}              ask which places are full
    file   {path, size}      make this file, of the bytes that follow
    end    {}                as the end of stdin, where that may not be seen
    alive  {}                the launcher lives; where it is elsewhere, a few times in each grace
From the guest:
    ready    {mounts, sources, python}   the excludes' promises hold; sources: what is mounted at
                                         each mount point, [device, path in its filesystem,
                                         read-only]
    refused  {mounts}                    they do not; the guest exits
    spawned  {id, pid}                   the process runs
    failed   {id, error, missing}        it does not; missing: there is no such program
    spare    {}                          the spare kernel is ready
    alive    {}                          each 5 s, from the end of its imports on
    output   {id, stream, size}          bytes of its stdout (1) or stderr (2)
    input_taken {id}                     the last ``input`` was written; send the next
    exited   {id, code, signal, oom, spaces}   the process ended, by itself or by a signal; oom:
                                         the sandbox's memory limit was reached; spaces: where
                                         a full one may be why
    installed {packages}     what is installed in the sandbox's own virtual environment now:
                             [[name of its .dist-info, whether it was asked for]]
    outside  {tried, reached}            where the network was to be closed: what was tried, and
                                         what of that answered
    mount_lost {path}                    an exclude came undone
    usage    {id, mounts}                the answer: [{path, mode, size, used}], in bytes
    proved   {id, mounts, sources}       the answer to prove, as in ready
    vitals   {id, memory, kernels}       the answer: see usage.py for [{id, samples}]
    spaces   {id, spaces}                the answer: [{path, used, full}], used in bytes
To and from the guest:
    open   {channel, name}   somebody has connected here to what leads to NAME there
    data   {channel, size}   bytes of that connection
    window {channel, count}  bytes that were taken, so that as many more may come
    eof    {channel}         no further bytes come
    reset  {channel}         the connection has ended
The attach stream carries connections as channels; both ends are in tunnel.py.

``id`` is the launcher's: of a process, or of a question, which its answer repeats. All that the
launcher reads is hostile to it, as kernels run as the guest's own user: sandbox/guest_client.py
checks each field.
"""

from __future__ import annotations

SPAWN = "spawn"
SPARE = "spare"
INPUT = "input"
RESIZE = "resize"
SIGNAL = "signal"
NOTE = "note"
USAGE = "usage"
PROVE = "prove"
VITALS = "vitals"
SPACES = "spaces"
FILE = "file"

READY = "ready"
REFUSED = "refused"
SPAWNED = "spawned"
FAILED = "failed"
OUTPUT = "output"
INPUT_TAKEN = "input_taken"
EXITED = "exited"
ALIVE = "alive"
INSTALLED = "installed"
END = "end"
OUTSIDE = "outside"
MOUNT_LOST = "mount_lost"
PROVED = "proved"

OPEN = "open"
DATA = "data"
WINDOW = "window"
EOF = "eof"
RESET = "reset"

PROXY = "proxy"
"""The one name that leads to a socket of the launcher's."""

OF_TUNNEL = frozenset({OPEN, DATA, WINDOW, EOF, RESET})
TO_GUEST = frozenset(
    {SPAWN, SPARE, INPUT, RESIZE, SIGNAL, NOTE, USAGE, PROVE, VITALS, SPACES, FILE, ALIVE, END}
)
OF_STREAM = frozenset({ALIVE, END})
"""Of those, what the attach stream itself takes."""
FROM_GUEST = frozenset(
    {
        *(READY, REFUSED, SPAWNED, FAILED, SPARE, OUTPUT, INPUT_TAKEN, EXITED, MOUNT_LOST),
        *(USAGE, PROVED, VITALS, SPACES, ALIVE, INSTALLED, OUTSIDE),
    }
)
