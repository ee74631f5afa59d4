"""Sidecars: real servers beside a kernel, in the network namespace of its sandbox."""

import json

import pytest

from tests.integration.conftest import wait_until

REDIS = """
import os, socket
address = os.environ["MOAT_REDIS_HOST"], int(os.environ["MOAT_REDIS_PORT"])
with socket.create_connection(address) as s:
    s.sendall(f"AUTH {os.environ['MOAT_REDIS_PASSWORD']}\\r\\nSET a 1\\r\\nGET a\\r\\n".encode())
    print(s.makefile("rb").read(5 + 5 + 7))
"""


@pytest.fixture
def with_redis(on_docker, services):
    """A project with a Redis beside its kernel."""
    return on_docker.project(
        dependencies=["redis@7"], services={"redis": {"image": services.redis}}
    )


def containers(engine, project):
    """``{role or service: inspection}`` of the project's containers."""
    found = {}
    for container in engine.client.api.containers(
        all=True, filters={"label": f"moat.nb.project={project}"}
    ):
        labels = container["Labels"]
        service = labels.get("moat.nb.service", labels["moat.nb.role"])
        found[service] = engine.client.api.inspect_container(container["Id"])
    return found


def test_redis_answers_in_the_first_command_and_goes_with_the_sandbox(on_docker, with_redis):
    with on_docker.launch(with_redis) as box:
        assert (
            box.run(["python3", "-c", REDIS], check=True).stdout
            == b"b'+OK\\r\\n+OK\\r\\n$1\\r\\n1\\r\\n'\n"
        )
        found = containers(on_docker.engine, with_redis)
        assert set(found) == {"kernel", "redis"}
        assert dict(found["redis"]["Config"]["Labels"])["moat.nb.role"] == "sidecar"
    assert on_docker.left(with_redis, seconds=0) == []


def test_a_sidecar_is_named_in_etc_hosts_and_shares_the_sandboxes_network_alone(
    on_docker, with_redis
):
    with on_docker.launch(with_redis) as box:
        hosts = box.run(["cat", "/etc/hosts"], check=True).stdout.decode()
        assert "127.0.0.1\tredis\n" in hosts
        found = containers(on_docker.engine, with_redis)
        kernel, redis = found["kernel"], found["redis"]
        assert kernel["HostConfig"]["NetworkMode"] == "none"
        assert redis["HostConfig"]["NetworkMode"] == f"container:{kernel['Id']}"


def test_the_password_is_in_no_record_of_the_engines_and_in_no_repr_log_or_process_list(
    on_docker, with_redis, engine
):
    with on_docker.launch(with_redis) as box:
        found = box.run(["printenv", "MOAT_REDIS_PASSWORD"], check=True).stdout
        password = found.decode().strip()
        assert len(password) == 32
        assert password.isalnum()
        started = box._started
        records = [
            json.dumps(containers(engine, with_redis)),
            repr(started),
            repr(list(started.sidecars)),
            repr(box.spec),
            *(path.read_text() for path in started.run_dir.path.iterdir() if path.is_file()),
        ]
        for service in containers(engine, with_redis).values():
            top = engine.client.api.top(service["Id"], ps_args="-eo pid,args")
            records.append(json.dumps(top))
        assert not [record for record in records if password in record]


def test_a_sidecar_that_dies_is_reported_with_its_last_lines(on_docker, with_redis, engine):
    heard = []
    with on_docker.launch(
        with_redis, on_event=lambda kind, text: heard.append((kind, text))
    ) as box:
        engine.client.api.kill(containers(engine, with_redis)["redis"]["Id"])
        assert wait_until(lambda: heard != [])
        ((kind, text),) = heard
        assert kind == "sidecar_ended"
        assert "redis" in text and "exited with 137" in text and "Ready to accept" in text
        assert box.run(["true"]).returncode == 0


def test_each_start_and_reset_has_a_new_password_and_fresh_data(on_docker, with_redis, engine):
    with on_docker.launch(with_redis) as box:
        first = box.run(["printenv", "MOAT_REDIS_PASSWORD"], check=True).stdout
        old = containers(engine, with_redis)["redis"]["Id"]
        box.reset()
        assert box.run(["printenv", "MOAT_REDIS_PASSWORD"], check=True).stdout != first
        assert containers(engine, with_redis)["redis"]["Id"] != old
        assert box.run(["python3", "-c", REDIS], check=True).returncode == 0
