"""Programs of the host's on bubblewrap: what their links into /etc lead to is there inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Launcher

LOOK = """
import os, sys
print([path for path in sys.argv[1:] if not os.path.exists(path)])
"""


def test_links_of_programs_into_etc_lead_there_inside(on_bubblewrap: Launcher) -> None:
    found = [*Path("/usr/lib").glob("python3*/sitecustomize.py"), *Path("/usr/lib/ssl").glob("*")]
    java = [*Path("/usr/lib/jvm").glob("java-*-openjdk-*/conf/security/java.security")]
    links = [str(path) for path in (*found, *java) if path.exists() and path.name != "private"]
    if not links:
        pytest.skip("no program here has a link into /etc")
    box = on_bubblewrap.launch(on_bubblewrap.project())
    assert box.run(["python3", "-c", LOOK, *links], check=True).stdout == b"[]\n"
    for home in {path.parents[2] for path in java}:
        assert box.run([f"{home}/bin/java", "-version"]).returncode == 0
        if (home / "bin/jshell").exists():  # a JDK's alone
            script = "echo 'System.out.println(java.security.Security.getProviders().length > 5);'"
            done = box.run(["sh", "-c", f"{script} | {home}/bin/jshell -s -"], check=True)
            assert done.stdout.strip() == b"true"
