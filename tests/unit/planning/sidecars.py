"""Services of a moat.yaml, and their plans."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moat_nb.config.model import Config
from moat_nb.errors import ConfigError
from moat_nb.host.machine import Host
from moat_nb.planning.capabilities import Capabilities
from moat_nb.planning.kernel import plan_kernel
from moat_nb.planning.services import SidecarPlan, plan_services

Read = Callable[[str], Config]


def plans(config: Config, host: Host) -> dict[str, SidecarPlan]:
    kernel = plan_kernel(config, host, Capabilities(name="docker")).spec
    return {plan.name: plan for plan in plan_services(config, kernel, host)}


def refused(read: Read, host: Host, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        plans(read(text), host)
    return str(raised.value)


OLLAMA = "dependencies: [ollama]\nservices: {ollama: {models: [tiny, 'qwen:7b']}}\n"

MOUNTING = """
mounts:
  - source: .
    target: /workspace
    exclude: [.env, secrets, "a/*/deep"]
kernel:
  services:
    a:
      image: a:1
      mounts: {mounts}
"""
PASSWORD = "pw0"
OWN = """
dependencies: [postgres]
kernel:
  services:
    search:
      image: example/search:2
      command: [serve, --verbose]
      ports: [9200, 9300]
      env: {MODE: single}
      memory: 512
      wait: false
      user: 1000:1001
      ready: {log: started, timeout: 5}
    postgres:
      ready: {command: [pg_isready], timeout: 9}
      user: "70"
"""
