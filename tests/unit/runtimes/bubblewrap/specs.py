"""What bubblewrap may find on a machine."""

from moat_nb.runtimes.bubblewrap.machine import BubblewrapFacts

FACTS = BubblewrapFacts(
    machine="x86_64",
    bwrap="/usr/bin/bwrap",
    version=(0, 8, 0),
    prlimit="/usr/bin/prlimit",
    setpriv="/usr/bin/setpriv",
    unshare="/usr/bin/unshare",
    systemd_run="/usr/bin/systemd-run",
    system=(("--ro-bind", "/usr", "/usr"), ("--symlink", "usr/bin", "/bin")),
    package="/site/moat_nb",
)
