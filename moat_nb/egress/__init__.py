"""Egress: the proxy through which alone a sandbox reaches hosts.

    sandbox | a unix socket | the proxy (a process of its own) | the host

A program in the sandbox speaks to a port on 127.0.0.1 there, and the guest forwards its bytes to
the socket. Here stands what launcher and proxy share (``options.py``, ``records.py``,
``upstream.py``) and how the launcher runs the proxy (``process.py``); ``policy/`` decides what may
be asked for, and ``proxy/`` is the process itself.

:class:`options.ProxyOptions` is all that the process is told, in one line on its stdin.
:class:`records.Record` is what it tells, on stdout and in its file. Addresses that are not public
are refused, unless ``options.reachable_from(os.environ)`` has them.
"""
