"""What is asked of an ollama server, and what is made of its answers."""

from __future__ import annotations

import contextlib
import http.server
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moat_nb.egress.proxy.attempt import Attempt
from moat_nb.errors import StartError
from moat_nb.planning.mounts import Bind, MountPlan
from moat_nb.sandbox.guest_client import STDERR, STDOUT, Exit
from moat_nb.sandbox.model_pull import LONGEST_LINE, Pull, hint, taking_turns

WELL = Exit(code=0)


def heard(*messages: Any, model: str = "tiny") -> Pull:
    pull = Pull(model)
    for message in messages:
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        pull.hear(STDOUT, line + b"\n")
    return pull


# ---------------------------------------------------------------- what is heard


def test_the_amounts_of_all_layers_are_added_up_and_success_is_the_last_word() -> None:
    pull = heard(
        {"status": "pulling manifest"},
        {"status": "pulling a", "digest": "sha256:a", "total": 100},
        {"status": "pulling a", "digest": "sha256:a", "total": 100, "completed": 30},
        {"status": "pulling b", "digest": "sha256:b", "total": 50, "completed": 50},
    )
    assert pull.amount == (80, 150)
    assert pull.status == "pulling b"
    assert pull.problem(WELL) == "the server said no success; its last word: pulling b"
    pull.hear(STDOUT, b'{"status": "success"}\n')
    assert pull.problem(WELL) is None


def test_an_error_is_one_whatever_follows_it() -> None:
    pull = heard({"error": "pull model manifest: file does not exist"}, {"status": "success"})
    assert pull.problem(WELL) == "pull model manifest: file does not exist"
    assert heard().problem(WELL) == "the server said no success; its last word: none"


def test_the_programs_own_end_is_told_when_the_server_said_nothing() -> None:
    pull = heard({"status": "pulling manifest"})
    assert pull.problem(Exit(code=1, stderr="it broke off")) == "it broke off"
    assert pull.problem(Exit(code=-9)) == "killed by SIGKILL"
    assert heard({"status": "success"}).problem(Exit(code=1)) == "exit code 1"


def test_lines_come_in_pieces_and_what_is_on_stderr_is_none() -> None:
    pull = Pull("tiny")
    for byte in b'{"status": "succ\\u00e9ss"}\n':
        pull.hear(STDOUT, bytes([byte]))
        pull.hear(STDERR, b'{"error": "no"}\n')
    assert pull.status == "succéss"


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b'"success"',
        b'{"status": ["success"]}',
        b'{"status": "success", "error": 1}',
        b'{"digest": "a", "total": -1}',
        b'{"digest": "a", "total": 1e99}',
        b'{"digest": "a", "total": NaN}',
        b'{"digest": {}, "total": 1}',
        b'{"digest": "a", "total": ' + b"9" * 5000 + b"}",
        b"[" * LONGEST_LINE,
        b'{"status": "success", "x": "' + b"x" * LONGEST_LINE + b'"}',
        b"\xff\xfe\x00",
    ],
)
def test_what_no_server_of_ollamas_says_has_no_effect(line: bytes) -> None:
    pull = heard({"digest": "b", "total": 2, "completed": 1}, line)
    assert pull.amount == (1, 2)
    assert pull.problem(WELL) is not None


def test_what_is_shown_is_short_and_cannot_steer_a_terminal() -> None:
    pull = heard({"status": "\x1b]0;title\x07\n" + "x" * 9999}, {"error": "\x1b[2J" + "y" * 9999})
    assert "\x1b" not in (problem := str(pull.problem(WELL)))
    assert len(problem) == 500
    assert (
        heard({"status": "a\nb\x1bc"}).status
        == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"
    )


def test_neither_layers_nor_a_line_without_end_take_memory() -> None:
    pull = heard(*({"digest": str(n), "total": 1, "completed": 9} for n in range(5000)))
    assert pull.amount == (100, 100)
    for _ in range(100):
        pull.hear(STDOUT, b"x" * (1 << 16))
    assert len(pull._rest) == LONGEST_LINE


def test_what_can_be_done_is_the_rule_to_add_where_the_proxy_refused_a_host() -> None:
    def attempt(host: str, outcome: Any) -> Any:
        words = {"reason": "is not in network.rules", "hint": f'add "- {host}" to network.rules'}
        return Attempt(method="CONNECT", host=host, port=443, outcome=outcome, **words).record()

    nothing = hint([attempt("a.test", "passed"), attempt("b.test", "failed")])
    assert nothing == (
        "; correct its name, see that registry.ollama.ai can be reached, or take it out of models"
    )
    assert hint([attempt("a.test", "refused")] * 3).splitlines() == [
        "",
        'refused: a.test is not in network.rules; add "- a.test" to network.rules, '
        "and start the sandbox anew",
        "a model comes from registry.ollama.ai, and from the hosts of its storage",
    ]
    many = hint(attempt(f"{n}.test", "refused") for n in range(99))
    assert (len(many.splitlines()), "98.test" in many) == (7, True)


@pytest.mark.parametrize("mine", [True, False])
def test_a_volume_of_this_machines_is_pulled_into_by_one_start_at_a_time(
    tmp_path: Path, mine: bool
) -> None:
    source = str(tmp_path / "ollama-models")
    mounts = MountPlan(
        mounts=(Bind(source=source, target="/models"), Bind(source="/x", target="/x")),
        keep=(source,) if mine else (),
    )
    looks: list[int] = []

    def give_up() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise StartError("given up")

    second_fails = pytest.raises(StartError) if mine else contextlib.nullcontext()
    with taking_turns(mounts, give_up), second_fails, taking_turns(mounts, give_up):
        pass
    assert len(looks) == (3 if mine else 0)
    with taking_turns(mounts, give_up):
        assert [path.name for path in tmp_path.iterdir()] == ["ollama-models.lock"] * mine


# ---------------------------------------------------------------- what is asked

Ask = Callable[..., str | None]


@pytest.fixture
def asked() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def pulled(asked: list[tuple[str, Any]]) -> Iterator[Ask]:
    """``pulled(model, tags, status, body)``: the problem of one, of a server that answers so."""
    with contextlib.ExitStack() as undo:

        def run(model: str, tags: Any, status: int = 200, body: bytes = b"") -> str | None:
            class Handler(http.server.BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_GET(self) -> None:
                    self.say(200, json.dumps(tags).encode())

                def do_POST(self) -> None:
                    given = self.rfile.read(int(self.headers["Content-Length"]))
                    asked.append((self.path, json.loads(given)))
                    self.say(status, body)

                def say(self, status: int, body: bytes) -> None:
                    self.send_response(status)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.send_header("Connection", "close")
                    self.end_headers()
                    whole, cut, _ = body.partition(b"CUT")
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(whole), whole))
                    self.wfile.write(b"" if cut else b"0\r\n\r\n")

                def log_message(self, format: str, *arguments: Any) -> None:
                    pass

            server = undo.enter_context(http.server.HTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            undo.callback(server.shutdown)
            pull = Pull(model)
            # A sandbox has a proxy in its environment, which must not be asked.
            env = {"PATH": "/usr/bin:/bin", "http_proxy": "http://127.0.0.1:1"}
            argv = pull.argv(server.server_port)
            done = subprocess.run(argv, capture_output=True, env=env, check=False)
            pull.hear(STDOUT, done.stdout)
            return pull.problem(Exit(code=done.returncode, stderr=done.stderr.decode().strip()))

        yield run


def test_a_model_that_is_missing_is_pulled_and_one_that_is_there_is_not(
    pulled: Ask, asked: list[tuple[str, Any]]
) -> None:
    body = b'{"status":"pulling manifest"}\n{"status":"success"}\n'
    tags = {"models": [{"name": "qwen:7b"}, {"name": "nomic:latest"}]}
    for there in ("qwen:7b", "nomic"):
        assert pulled(there, tags, body=body) is None
    assert asked == []
    for missing in ("qwen", "ada/nomic"):
        assert pulled(missing, tags, body=body) is None
    assert pulled("qwen", {"models": None}, body=body) is None
    assert "none of ollama's: KeyError('models')" in str(pulled("qwen", {}, body=body))
    assert asked[1] == ("/api/pull", {"model": "ada/nomic", "stream": True})
    assert len(asked) == 3


CUT = "the server's answer is cut off, or none of ollama's: IncompleteRead"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (400, b'{"error":"invalid model name"}', "invalid model name"),
        (500, b"it fell over", "the server said no success; its last word: none"),
        (200, b'{"status":"pulling manifest"}\nCUT', CUT),
    ],
)
def test_a_pull_that_fails_says_the_servers_words(
    pulled: Ask, status: int, body: bytes, problem: str
) -> None:
    assert str(pulled("tiny", {"models": []}, status, body)).startswith(problem)
