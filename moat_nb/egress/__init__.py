"""Egress: the proxy through which alone a sandbox reaches hosts, and how it is brought inside.

    sandbox | a unix socket | the proxy (a process of its own) | the host

A program in the sandbox speaks to a port on 127.0.0.1 there, and the guest carries its bytes to
the socket. In the launcher:

    settings.py        what moat.yaml asks for, as a NetworkPlan: one visit, one value
    network_policy.py  its policy, rules and ports, as the spec, the order and the judge hold it
    environment.py     the variables that programs in the sandbox are given
    trust.py           the certificates that the host trusts
    furnish.py         the directory that the sandbox sees, and the proxy's order
    isolated.py        the proxy's command, which nothing of the launcher's surroundings gets into
    gate.py            the socket, and the proxy's process behind it
    news.py            which refusals a user is told of

:class:`order.Order` is all that the process is told (``Order(...).line()`` on its stdin);
``records.Record`` is what it tells, on stdout and in its file. A port of this machine that
``network.host`` lists is reached by ``CONNECT host.moat:PORT``. Where ``intercept.needed(rules)``,
``intercept.missing()`` says what is to be installed, and ``authority.make_authority(directory)``
makes what ``Order.intercept`` takes: its ``certificate`` is what the sandbox must trust. Addresses
that are not public are refused, unless ``order.reachable_from(os.environ)`` has them.
"""
