"""What runs inside a sandbox: it proves the excludes, then starts processes.

    __main__.py   where it begins
    proof.py      the excludes' proof
    loop.py       the launcher's messages, and what happens in the sandbox
    process.py    a child process: its start, its pipes, its end
    kernel.py     Python kernels in the guest's own interpreter
    spare.py      such a kernel made ahead of need
    vitals.py     the kernels' memory and CPU
    carrier.py    connections carried to the launcher, which alone has a network

The directory is mounted read-only into the sandbox and needs nothing but a python3 >= 3.8. The
launcher holds the guest's stdin and stdout (the attach stream). JSON objects run over them, one a
line. When stdin ends, by whatever death of the launcher, the guest exits and the sandbox with it.

To the guest:
    spawn  {id, argv, env, cwd, fork, connection, stdin}   start a process
    spare  {prefix, after} make a kernel ahead of need, listening on the sockets PREFIX-N, after so
                           many seconds; the next spawn that it fits is handed over to it
    input  {id, data}      bytes (base64) for its stdin; data null ends it
    signal {id, signum}    to its whole process group
    note   {text}          show a line in the cells that run
    usage  {id}            ask for the mounts' use
    prove  {id}            prove the excludes once more
    vitals {id}            ask for the kernels' memory and CPU
    stop   {}              end everything
From the guest:
    ready    {mounts, sources, python}   the excludes' promises hold; sources: what is mounted at
                                   each mount point, [device, path in its filesystem]
    refused  {mounts}              they do not; the guest exits
    spawned  {id, pid} / failed {id, error, missing}   missing: there is no such program
    spare    {}                    the spare kernel is ready
    output   {id, stream, data}    bytes (base64) of its stdout (1) or stderr (2)
    input_taken {id}               the last ``input`` was written; send the next
    exited   {id, code, signal, oom}
    mount_lost {path}              an exclude came undone
    usage    {id, mounts}
    proved   {id, mounts, sources}
    vitals   {id, memory, kernels: [{id, samples}]}   see vitals.py

Everything the launcher reads from here is hostile to it: kernels run as the guest's own user.
"""
