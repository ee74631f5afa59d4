"""Real PostgreSQL, MariaDB and Redis servers beside a kernel, used by its own drivers."""

import pytest

from moat_nb.jupyter.kernel_manager import Kernel
from tests.integration.conftest import wait_until

MIB = 1 << 20
DRIVERS = ["pip:psycopg[binary]", "pip:pymysql", "pip:redis"]


@pytest.fixture
def databases(on_docker, services):
    """``databases(*names)``: with those services, and the drivers of all."""

    def make(*names, **settings):
        return on_docker.project(
            python=True,
            dependencies=[*DRIVERS, *names],
            services={
                name: {"image": getattr(services, name), **settings.get(name, {})} for name in names
            },
        )

    return make


def said(kernel, code, timeout=300):
    """What a cell prints; it must not fail."""
    pieces = []

    def hear(message):
        content = message["content"]
        assert message["msg_type"] != "error", content
        pieces.append(content.get("text", ""))

    kernel.kc.execute_interactive(code, timeout=timeout, output_hook=hear)
    return "".join(pieces)


POSTGRES = """
import os, psycopg
with psycopg.connect(os.environ["MOAT_POSTGRES_URL"]) as db:
    db.execute("CREATE TABLE t (n int)")
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(10)])
    print(db.execute("SELECT sum(n), current_user, current_database() FROM t").fetchone())
"""
MYSQL = """
import os, pymysql
names = ("host", "user", "password", "database")
where = {n: os.environ[f"MOAT_MYSQL_{ {'database': 'DB'}.get(n, n.upper()) }"] for n in names}
with pymysql.connect(port=int(os.environ["MOAT_MYSQL_PORT"]), **where) as db:
    with db.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n int)")
        cursor.executemany("INSERT INTO t VALUES (%s)", [(n,) for n in range(10)])
        cursor.execute("SELECT sum(n), database() FROM t")
        print(*cursor.fetchone())
"""
REDIS = """
import os, redis
db = redis.from_url(os.environ["MOAT_REDIS_URL"])
db.set("answer", 42)
print(db.get("answer"))
db.close()
"""


@pytest.mark.timeout(900)
def test_a_kernel_writes_to_three_databases_and_reads_it_back(on_docker, databases):
    directory = databases(
        *("postgres", "mysql", "redis"),
        postgres={"env": {"POSTGRES_USER": "ada", "POSTGRES_DB": "shop"}},
        mysql={"env": {"MYSQL_USER": "ada", "MYSQL_DATABASE": "shop"}},
    )
    with on_docker.launch(directory) as box, Kernel.start(box) as kernel:
        assert said(kernel, POSTGRES) == "(45, 'ada', 'shop')\n"
        assert said(kernel, MYSQL) == "45 shop\n"
        assert said(kernel, REDIS) == "b'42'\n"


@pytest.mark.parametrize(
    ("service", "wrong", "refusal"),
    [
        ("postgres", "psycopg.connect('postgresql://postgres:x@127.0.0.1')", "authentication fail"),
        ("postgres", "psycopg.connect('postgresql://postgres@127.0.0.1')", "no password supplied"),
        ("mysql", "pymysql.connect(host='127.0.0.1', user='root', password='x')", "Access denied"),
        ("redis", "redis.Redis('127.0.0.1').ping()", "already authenticated"),
    ],
)
def test_a_database_lets_nobody_in_without_its_password(
    on_docker, databases, service, wrong, refusal
):
    code = f"import psycopg, pymysql, redis\ntry: {wrong}\nexcept Exception as error: print(error)"
    with on_docker.launch(databases(service)) as box, Kernel.start(box) as kernel:
        assert refusal in said(kernel, code)


FILL = """
import os, psycopg
with psycopg.connect(os.environ["MOAT_POSTGRES_URL"]) as db:
    db.execute("CREATE TABLE big (text text)")
    with db.cursor().copy("COPY big FROM STDIN") as copy:
        for _ in range(100):
            copy.write(("x" * 1023 + "\\n") * 1024)
    print(*db.execute("SELECT count(*), sum(length(text)) FROM big").fetchone())
"""
DROP = """
import os, psycopg
db = psycopg.connect(os.environ["MOAT_POSTGRES_URL"])
print(db.execute("SELECT 1").fetchone())
"""
AFTER = """
try:
    db.execute("SELECT 1")
except psycopg.OperationalError as error:
    print("lost:", type(error).__name__)
"""


@pytest.mark.timeout(900)
def test_100_mb_go_into_postgresql_and_a_kill_of_it_is_reported_and_mended_by_a_reset(
    on_docker, databases, engine
):
    heard = []
    directory = databases("postgres")
    box = on_docker.launch(directory, on_event=lambda kind, text: heard.append((kind, text)))
    with Kernel.start(box) as kernel:
        assert said(kernel, FILL, 200).split() == ["102400", str(102400 * 1023)]
        assert said(kernel, DROP) == "(1,)\n"
        engine.client.api.kill(f"moat-test-box-postgres-{box.id}")
        assert wait_until(lambda: heard != [])
        assert "lost: " in said(kernel, AFTER)
        ((kind, text),) = heard
    assert kind == "sidecar_ended"
    assert "postgres" in text and "ready to accept connections" in text
    box.reset()
    with Kernel.start(box) as kernel:
        assert said(kernel, DROP.replace("SELECT 1", "SELECT to_regclass('big')")) == "(None,)\n"
        assert "(45, " in said(kernel, POSTGRES)


@pytest.mark.timeout(900)
def test_what_is_in_a_volume_is_there_at_the_next_start_and_what_is_in_a_tmpfs_is_not(
    on_docker, services, engine
):
    volume = {"name": "db", "target": "/var/lib/postgresql/data", "type": "volume"}
    directory = on_docker.project(
        python=True,
        dependencies=[*DRIVERS, "postgres", "redis"],
        services={
            "postgres": {"image": services.postgres, "env": {"POSTGRES_PASSWORD": "mine"}},
            "redis": {"image": services.redis},
        },
        kernel={"services": {"postgres": {"volumes": [volume]}}},
    )
    look = POSTGRES.split("db.execute", maxsplit=1)[0] + (
        'print(db.execute("SELECT sum(n) FROM t").fetchone())'
    )
    try:
        with on_docker.launch(directory) as box, Kernel.start(box) as kernel:
            assert said(kernel, POSTGRES) == "(45, 'postgres', 'postgres')\n"
            assert said(kernel, REDIS) == "b'42'\n"
        with on_docker.launch(directory) as box, Kernel.start(box) as kernel:
            assert said(kernel, look) == "(45,)\n"
            assert said(kernel, REDIS.replace('db.set("answer", 42)', "")) == "None\n"
    finally:
        engine.client.api.remove_volume("moat-test-box-db", force=True)
