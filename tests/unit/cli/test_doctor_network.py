"""What doctor says of the network."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from moat_nb.cli.doctor_network import examine
from moat_nb.host.machine import Host

HOST = replace(Host.current(), trust=("/etc/ours.pem",))


def test_a_machine_that_reaches_hosts_directly_has_nothing_to_mend():
    found = {subject: (detail, hint) for subject, detail, hint in examine(HOST, {})}
    assert found["certificates"] == ("sandboxes trust what is in /etc/ours.pem", "")
    assert found["way out"][0].startswith("hosts are reached directly")
    assert "reachable" not in found
    assert [hint for _, hint in found.values() if hint] == []


def test_a_companys_proxy_is_named_without_its_password_and_what_is_wrong_has_a_mend():
    environ = {
        "HTTPS_PROXY": "http://ada:hunter2@proxy.test:3128",
        "MOAT_NB_REACHABLE": "10.1.2.3/8",
    }
    found = {s: (detail, hint) for s, detail, hint in examine(replace(HOST, trust=()), environ)}
    assert found["way out"][0].startswith("hosts are reached through the proxy at proxy.test:3128,")
    assert "hunter2" not in str(found)
    assert found["certificates"][1].startswith("install ca-certificates")
    assert found["reachable"][1] == "correct the variable"


@pytest.mark.parametrize("url", ["http://ada:hunt/er2@proxy:3128", "http://ada:7/hunter2@proxy"])
def test_a_proxy_that_cannot_be_used_is_named_without_any_of_its_password(url):
    found = {s: (detail, hint) for s, detail, hint in examine(HOST, {"HTTPS_PROXY": url})}
    assert found["way out"][0].startswith("hosts cannot be reached: HTTPS_PROXY of the launcher")
    assert found["way out"][1] == "correct the variable"
    assert not {"hunt", "er2", "ada"} & set(re.findall(r"\w+", str(found["way out"])))
