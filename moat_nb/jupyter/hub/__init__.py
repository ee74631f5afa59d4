"""JupyterHub: each student has a server of ``moat-nb lab``'s kind, with the course's moat.yaml.

:class:`~moat_nb.jupyter.hub.spawner.MoatSpawner` is the hub's side, in its process and as root;
:mod:`~moat_nb.jupyter.hub.single_user` is what it starts as the student.
"""
