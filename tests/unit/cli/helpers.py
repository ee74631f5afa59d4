"""How the tests of the commands call them, and the project that they call them for."""

import os
import subprocess
import sys

NOWHERE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
YAML = """\
name: box
base_image: python:3.11-slim
claude: {sync_logs: true}
env: {GREETING: hello}
mounts:
  - source: .
    target: /workspace
    exclude: [node_modules]
"""


def moat(*words, env=None, python=(), **options):
    argv = [sys.executable, *python, "-m", "moat_nb", *map(str, words)]
    options = {"capture_output": True, "text": True, "timeout": 60, **options}
    return subprocess.run(
        argv, env={**os.environ, **NOWHERE, **(env or {})}, check=False, **options
    )
