"""Everything that is alive: the sandbox, its sidecars, its proxy, the pool."""
