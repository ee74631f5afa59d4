"""Egress: the proxy, a sandbox's only way to other hosts.

    sandbox | a unix socket | the proxy (a process of its own) | the host

A program in the sandbox connects to a port on 127.0.0.1 there, and the guest forwards its bytes to
the socket. Launcher and proxy share ``options.py``, ``records.py`` and ``upstream.py``. The
launcher runs the proxy by ``process.py``. ``policy/`` decides on requests, and ``proxy/`` is the
process itself.

The process gets one :class:`options.ProxyOptions`, a line on its stdin. It writes
:class:`records.Record` lines to stdout and to its file. Only public addresses can be reached, and
those in ``options.reachable_from(os.environ)``.
"""
