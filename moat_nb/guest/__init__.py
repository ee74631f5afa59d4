"""What runs inside a sandbox: it proves the excludes, then starts processes.

    __main__.py      where it begins
    settings.py      what the launcher tells it on its command line
    protocol.py      the messages between the two
    attach_stream.py the stream that they come and go by
    proof.py         the excludes' proof
    watch.py         the watch over the excludes, once they are proved
    mountinfo.py     the table of mounts
    loop.py          the launcher's messages, and what happens in the sandbox
    process.py       a child process: its start, its pipes, its end
    kernel.py        Python kernels in the guest's own interpreter
    spare.py         such a kernel made ahead of need
    usage.py         the kernels' memory and CPU
    port_forward.py  connections carried to the launcher, which alone has a network

The directory is mounted read-only into the sandbox and needs nothing but a python3 >= 3.8.
"""
