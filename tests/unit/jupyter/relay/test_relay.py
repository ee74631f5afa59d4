from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session

from moat_nb.errors import SandboxGone
from moat_nb.jupyter.relay.sockets import MESSAGE_LIMIT
from moat_nb.jupyter.relay.wire import DELIMITER
from tests.unit.jupyter.relay.conftest import MILLISECONDS, World

NOTHING = object()

SCRIPT = "<script>fetch('/api/terminals', {method: 'POST'})</script>"


def test_a_request_reaches_the_kernel_and_its_reply_the_client(world: World) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked("1 + 1")
    assert request["content"]["code"] == "1 + 1"
    kernel.send("shell", "execute_reply", {"status": "ok"}, ident=identities, parent=request)
    reply = world.client.next("shell")[1]
    assert reply["content"]["status"] == "ok"
    assert reply["parent_header"]["msg_id"] == request["header"]["msg_id"]


def test_a_script_is_shut_in_whatever_type_it_comes_as(world: World) -> None:
    world.start_kernel()
    for kind in ("display_data", "execute_result", "update_display_data"):
        data = {"text/html": SCRIPT, "application/javascript": "alert(1)", "text/plain": "it"}
        shown = world.shown(kind, {"data": data, "metadata": {}, "transient": {}})
        page = shown["content"]["data"].pop("text/html")
        assert "sandbox=" in page
        assert SCRIPT not in page
        assert shown["content"]["data"] == {"text/plain": "it"}


def test_the_kernel_is_asked_with_a_key_that_is_not_the_clients(world: World) -> None:
    kernel = world.start_kernel()
    client_key = world.client.session.key
    assert kernel.session.key != client_key
    world.client.send("shell", "execute_request", {"code": "1"})
    frames = kernel.sockets["shell"].recv_multipart()
    signature, *parts = frames[frames.index(DELIMITER) + 1 :]
    assert kernel.session.sign(parts) == signature
    assert world.client.session.sign(parts) != signature


def test_what_has_not_the_clients_signature_is_not_asked(world: World) -> None:
    kernel = world.start_kernel()
    forged = Session(key=b"guessed")
    forged.send(world.client.sockets["shell"], "execute_request", {"code": "forged"})
    assert world.asked("honest")[1]["content"]["code"] == "honest"
    assert not kernel.sockets["shell"].poll(0)


def test_an_output_of_very_many_values_is_a_line_in_its_place(world: World) -> None:
    world.start_kernel()
    values = [[]] * 4_000_001
    shown = world.shown("display_data", {"data": {"application/json": values}, "metadata": {}})
    assert shown["content"]["data"]["text/plain"].startswith("moat: an output of more than 4,000,0")


@pytest.mark.parametrize(
    ("header", "content"),
    [
        (b'["execute_request"]', b"{}"),
        (b'{"msg_type": "execute_request"}', b"[]"),
        (b'{"msg_type": "execute_request"}', b"execute_request"),
        (b'{"msg_type": "execute_request"}', b"[" * 100_000),
    ],
)
def test_a_request_that_nobody_could_read_ends_no_relay(
    world: World, header: bytes, content: bytes
) -> None:
    kernel = world.start_kernel()
    pid = world.relay.pid
    parts = [header, b"{}", b"{}", content]
    signature = world.client.session.sign(parts)
    world.client.sockets["shell"].send_multipart([DELIMITER, signature, *parts])
    assert kernel.sockets["shell"].recv_multipart()[-1] == content
    assert world.asked("next")[1]["content"]["code"] == "next"
    assert world.relay.pid == pid


def test_an_end_while_the_launcher_is_asked_what_is_full_ends_no_relay(world: World) -> None:
    kernel = world.start_kernel()
    pid = world.relay.pid
    asked, answered = threading.Event(), threading.Event()

    def no_space() -> str:
        asked.set()
        answered.wait(60)
        return ""

    world.relay.no_space = no_space
    for _ in range(2):
        request = world.asked("write")[1]
        full = {"name": "stderr", "text": "No space left on device"}
        kernel.send("iopub", "stream", full, parent=request)
        assert asked.wait(60)
    world.relay.ended(world.prefix, "it died")
    world.start_kernel("2")
    answered.set()
    assert world.asked("next")[1]["content"]["code"] == "next"
    assert world.relay.pid == pid


def test_the_kernel_asks_for_input_where_it_was_asked(world: World) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked("input()")
    content = {"prompt": "name?", "password": False}
    kernel.send("stdin", "input_request", content, ident=identities, parent=request)
    assert world.client.next("stdin")[1]["content"]["prompt"] == "name?"
    world.client.send("stdin", "input_reply", {"value": "Ada"})
    assert kernel.next("stdin")[1]["content"] == {"value": "Ada"}


def test_what_is_no_message_is_dropped_and_the_next_one_passes(world: World) -> None:
    kernel = world.start_kernel()
    header = {"msg_id": "1", "msg_type": "status"}
    deep = b"[" * 100_000
    for frames in (
        [b"garbage"],
        [DELIMITER],
        [DELIMITER, b"", b"{", b"{}", b"{}", b"{}"],
        [DELIMITER, b"", deep, b"{}", b"{}", b"{}"],
        [DELIMITER, b"", b"[]", b"{}", b"{}", b"{}"],
        [DELIMITER, b"", b"{}", b"{}", b"{}", b"{}"],
        [*[b"x"] * 20, DELIMITER, b"", b"{}", b"{}", b"{}", b"{}"],
        [DELIMITER, b"", json.dumps(header).encode(), b"{}", b"{}", b'{"execution_state": 1e999}'],
        [b""] * 5000,
    ):
        kernel.sockets["iopub"].send_multipart(frames)
    assert world.shown("status", {"execution_state": "idle"})["msg_type"] == "status"


def test_a_socket_that_is_a_link_is_not_followed(world: World) -> None:
    prefix = world.directory / "9"
    with socket.socket(socket.AF_UNIX) as elsewhere, socket.socket(socket.AF_UNIX) as there:
        elsewhere.bind(str(world.directory / "secret"))
        there.bind(f"{prefix}-5")
        for listener in (elsewhere, there):
            listener.listen()
            listener.settimeout(MILLISECONDS / 1000)
        for number in range(1, 5):
            Path(f"{prefix}-{number}").symlink_to(world.directory / "secret")
        world.relay.connect({"ip": str(prefix), "key": ""})
        there.accept()[0].close()  # the last that the relay tries
        elsewhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            elsewhere.accept()


def test_why_a_kernel_died_is_said_in_the_cell_that_ran(world: World) -> None:
    """It has no answer: without one clients tell a kernel's death from a cell's error."""
    world.start_kernel()
    ids = [world.asked()[1]["header"]["msg_id"] for _ in range(2)]  # the second waits
    world.end_kernel("out of memory")
    error = world.client.next("iopub")[1]
    assert error["msg_type"] == "error"
    assert error["content"]["evalue"] == "out of memory"
    assert error["parent_header"]["msg_id"] == ids[0]


def test_what_was_not_said_in_a_cell_is_said_in_the_next_kernels_first(world: World) -> None:
    world.start_kernel()
    world.end_kernel("out of memory")
    world.relay.note("an exclude came undone")
    world.start_kernel("2")
    _, request = world.asked()
    notes = [world.client.next("iopub")[1] for _ in range(2)]
    assert [note["parent_header"]["msg_id"] for note in notes] == [request["header"]["msg_id"]] * 2
    words = "".join(note["content"]["text"] for note in notes)
    assert words == (
        "moat: the kernel before this one ended: out of memory\nmoat: an exclude came undone\n"
    )


def test_what_a_kernel_left_behind_sends_on_for_ever_holds_no_end(world: World) -> None:
    """The next kernel would be waited for until pytest's timeout."""
    kernel = world.start_kernel()
    ends = threading.Event()
    stream = {"name": "stdout", "text": "x"}

    def send_on() -> None:
        while not ends.is_set():
            kernel.send("iopub", "stream", stream)

    behind = threading.Thread(target=send_on)
    behind.start()
    try:
        world.end_kernel("it was killed")
        world.kernel = None  # stays bound
        assert world.start_kernel("2") is not kernel
        world.asked()
        shown = (world.client.next("iopub")[1]["content"].get("text", "") for _ in range(100_000))
        assert any("it was killed" in text for text in shown)
    finally:
        ends.set()
        behind.join()
        kernel.close()


def test_an_end_that_a_client_asked_for_is_not_explained(world: World) -> None:
    world.start_kernel()
    world.end_kernel("")
    world.start_kernel("2")
    world.asked()
    assert world.shown("status", {"execution_state": "busy"})["msg_type"] == "status"


def test_a_request_made_between_two_kernels_waits_for_the_second(world: World) -> None:
    world.start_kernel()
    world.end_kernel("")
    world.client.send("shell", "execute_request", {"code": "late"})
    assert world.start_kernel("2").next("shell")[1]["content"]["code"] == "late"


def test_a_flood_is_cut_and_said_once_and_the_status_still_comes(world: World) -> None:
    kernel = world.start_kernel()
    _, request = world.asked()
    piece = {"name": "stdout", "text": "x" * (50 << 20)}
    for _ in range(7):
        kernel.send("iopub", "stream", piece, parent=request)
    kernel.send("iopub", "status", {"execution_state": "idle"}, parent=request)
    kinds: list[str] = []
    said: list[str] = []
    while "status" not in kinds:
        message = world.client.next("iopub")[1]
        kinds.append(message["msg_type"])
        if message["content"].get("name") == "stderr":
            said.append(message["content"]["text"])
    assert len(said) == 1
    assert "more than 256 MiB" in said[0]
    assert kinds.count("stream") == 5 + 1  # 250 MiB, and what is said


def test_what_is_too_long_is_lost_and_the_cell_ends_all_the_same(world: World) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked()
    kernel.sockets["iopub"].send_multipart([DELIMITER, bytes(MESSAGE_LIMIT + 1)])
    kernel.send("iopub", "status", {"execution_state": "idle"}, parent=request)
    kernel.send("shell", "execute_reply", {"status": "ok"}, ident=identities, parent=request)
    assert world.client.next("shell")[1]["content"]["status"] == "ok"
    said: dict[str, Any] = {}
    while not {"stream", "status"} <= said.keys():  # the kernel's own idle may still come, or ours
        message = world.client.next("iopub")[1]
        assert message["parent_header"]["msg_id"] == request["header"]["msg_id"]
        said[message["msg_type"]] = message["content"]
    assert "is lost" in said["stream"]["text"]
    assert said["status"] == {"execution_state": "idle"}
    kernel.send("iopub", "stream", {"name": "stdout", "text": "later"})
    while world.client.next("iopub")[1]["content"].get("text") != "later":
        pass


def test_what_no_one_foresaw_ends_no_relay(world: World) -> None:
    """A number that Python does not take, and dates that clients cannot read."""
    kernel = world.start_kernel()
    first = world.relay.pid
    page = f"<a href='&#{'1' * 5000};'>x</a>"
    data = {"data": {"text/html": page}, "metadata": {}, "transient": {}}
    kernel.send("iopub", "display_data", data)
    header = {**kernel.session.msg_header("status"), "date": "2024-13-45T00:00:00Z"}
    content = {"execution_state": "busy"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
    kernel.sockets["iopub"].send_multipart(kernel.session.serialize(message))
    while world.client.next("iopub")[1]["msg_type"] != "status":
        pass
    assert world.relay.pid == first


def test_a_reply_that_is_too_long_is_made_up_for(world: World) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked()
    kernel.sockets["shell"].send_multipart([*identities, DELIMITER, bytes(MESSAGE_LIMIT + 1)])
    idle = world.shown("status", {"execution_state": "idle"}, parent=request)
    assert idle["msg_type"] == "status"
    reply = world.client.next("shell")[1]
    assert reply["content"]["ename"] == "ReplyLost"
    assert reply["parent_header"]["msg_id"] == request["header"]["msg_id"]
    assert world.asked("again")[1]["content"]["code"] == "again"


def test_a_relay_that_was_killed_is_started_again(world: World) -> None:
    world.start_kernel()
    first = world.relay.pid
    world.kill_relay()
    assert world.relay.pid != first
    _, request = world.asked("again")
    assert request["content"]["code"] == "again"


def test_what_a_client_asks_waits_until_it_listens(world: World) -> None:
    """As after a relay's death, when its sockets connect anew one after another."""
    kernel = world.start_kernel()
    world.client.sockets.pop("iopub").close()
    os.kill(world.relay.pid, signal.SIGKILL)
    while kernel.sockets["iopub"].recv() != b"\x01":
        pass  # the relay that has come is connected
    world.client.send("shell", "execute_request", {"code": "1", "silent": False})
    assert not kernel.sockets["shell"].poll(100)
    world.client.sockets["iopub"] = iopub = world.context.socket(zmq.SUB)
    iopub.connect(f"ipc://{world.relay.prefix}-2")
    iopub.subscribe(b"")
    _, request = kernel.next("shell")
    kernel.send("iopub", "status", {"execution_state": "idle"}, parent=request)
    kinds = [world.client.next("iopub")[1]["msg_type"] for _ in range(3)]
    assert kinds == ["iopub_welcome", "stream", "status"]


def test_the_heartbeat_is_the_kernels(world: World) -> None:
    kernel = world.start_kernel()
    beat: zmq.Socket[bytes] = world.context.socket(zmq.REQ)
    try:
        beat.connect(f"ipc://{world.relay.prefix}-5")
        beat.send(b"ping")
        heart = kernel.sockets["hb"]
        assert heart.poll(MILLISECONDS)
        heart.send_multipart(heart.recv_multipart())
        assert beat.poll(MILLISECONDS)
        assert beat.recv() == b"ping"
    finally:
        beat.close(linger=0)


def test_no_sandbox_reaches_the_clients_sockets(world: World) -> None:
    directory = Path(world.relay.prefix).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in directory.iterdir()} == {0}


PLOTLY = "application/vnd.plotly.v1+json"


def test_a_figure_is_drawn_with_the_kernels_own_script_once_the_cell_has_ended(
    world: World,
) -> None:
    kernel = world.start_kernel()
    identities, request = world.asked("figure")
    shown = world.shown(
        "execute_result",
        {"data": {PLOTLY: {"data": []}}, "metadata": {}, "execution_count": 1},
        parent=request,
    )
    assert shown["msg_type"] == "display_data"
    assert shown["content"]["data"] == {"text/plain": "a figure of plotly"}
    kernel.send("shell", "execute_reply", {"status": "ok"}, ident=identities, parent=request)
    ours, asked = kernel.next("shell")
    assert asked["content"]["silent"]
    (name,) = asked["content"]["user_expressions"]
    kernel.send("iopub", "status", {"execution_state": "busy"}, parent=asked)
    script = {"status": "ok", "data": {"text/plain": "var Plotly"}, "metadata": {}}
    content = {"status": "ok", "user_expressions": {name: script}}
    kernel.send("shell", "execute_reply", content, ident=ours, parent=asked)
    drawn = world.client.next("iopub")[1]
    assert drawn["msg_type"] == "update_display_data"
    assert drawn["content"]["transient"] == shown["content"]["transient"]
    assert "sandbox=" in drawn["content"]["data"]["text/html"]
    assert world.client.next("shell")[1]["parent_header"]["msg_id"] == request["header"]["msg_id"]
    assert not world.client.sockets["shell"].poll(0)


def test_what_a_relay_adds_to_figures_counts_as_output(world: World) -> None:
    """Each has the script with it, which the kernel sends once."""
    kernel = world.start_kernel()
    identities, request = world.asked("figures")
    for _ in range(40):
        figure = {"data": {PLOTLY: {"data": []}}, "metadata": {}}
        world.shown("display_data", figure, parent=request)
    kernel.send("shell", "execute_reply", {"status": "ok"}, ident=identities, parent=request)
    ours, asked = kernel.next("shell")
    (name,) = asked["content"]["user_expressions"]
    text = secrets.token_urlsafe(9 << 20)
    script = {"status": "ok", "data": {"text/plain": text}, "metadata": {}}
    content = {"status": "ok", "user_expressions": {name: script}}
    kernel.send("shell", "execute_reply", content, ident=ours, parent=asked)
    kernel.send("shell", "complete_reply", {"status": "ok"}, ident=identities, parent=request)
    assert world.client.next("shell")[1]["msg_type"] == "execute_reply"
    while not world.client.sockets["shell"].poll(MILLISECONDS):  # it makes a quarter of a GiB
        assert world.relay.is_running()
    while world.client.next("shell")[1]["msg_type"] != "complete_reply":
        pass
    world.asked("another")
    kinds, size, last = [], 0, ""
    while not last:
        message = world.client.next("iopub")[1]
        kinds.append(message["msg_type"])
        last = message["content"].get("text", "")
        size += len(message["content"].get("data", {}).get("text/html", ""))
    assert 1 <= kinds.count("update_display_data") < 40
    assert 0 < size < 256 << 20
    assert "more than 256 MiB" in last


HTML_MODEL = {
    "_model_module": "@jupyter-widgets/controls",
    "_model_module_version": "2.0.0",
    "_model_name": "HTMLModel",
    "_view_module": "@jupyter-widgets/controls",
    "_view_module_version": "2.0.0",
    "_view_name": "HTMLView",
    "value": "<b>bold</b>",
}


def opened(state: dict[str, Any], comm: str = "a" * 32) -> dict[str, Any]:
    data = {"state": state, "buffer_paths": []}
    return {"comm_id": comm, "target_name": "jupyter.widget", "data": data}


def test_what_a_widgets_id_means_outlives_the_kernel(world: World) -> None:
    """The page keeps the widget: as another kind its text would be taken for HTML."""
    world.start_kernel()
    metadata = {"version": "2.1.0"}
    shown = world.shown("comm_open", opened(HTML_MODEL), metadata=metadata)
    assert shown["content"]["data"]["state"]["value"] == "<b>bold</b>"
    world.end_kernel("")
    world.start_kernel("2")
    assert world.kernel is not None
    text = {**HTML_MODEL, "_model_name": "TextModel", "_view_name": "TextView", "value": SCRIPT}
    world.kernel.send("iopub", "comm_open", opened(text), metadata=metadata)
    world.kernel.send("iopub", "status", {"execution_state": "idle"})
    kinds = [world.client.next("iopub")[1]["msg_type"] for _ in range(2)]
    assert kinds == ["stream", "status"]  # a hint


def test_an_id_of_which_no_page_has_heard_means_nothing(world: World) -> None:
    """The page may have another model of that id, from the notebook's file."""
    kernel = world.start_kernel()
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a" * 32}}
    shown = {"data": {**view, "text/plain": "x"}, "metadata": {}, "transient": {}}
    header = kernel.session.msg_header("comm_open")
    metadata = '{"a": NaN, "b": "\\ud800"}'
    parts = [json.dumps(header, default=str), "{}", metadata, json.dumps(opened(HTML_MODEL))]
    frames = [b"comm_open", DELIMITER, b"", *(part.encode() for part in parts)]
    kernel.sockets["iopub"].send_multipart(frames)
    data = world.shown("display_data", shown)["content"]["data"]
    assert "widget that the page was not given" in data["text/plain"]
    world.shown("comm_open", opened(HTML_MODEL), metadata={"version": "2.1.0"})
    kernel.sockets["iopub"].send_multipart([frames[0], DELIMITER, b"", b"1", *frames[4:]])
    data = world.shown("display_data", shown)["content"]["data"]
    assert view.keys() <= data.keys()


def test_what_is_said_of_a_widget_of_another_time_does_not_pass(world: World) -> None:
    """A relay that died knew what it was; this one does not."""
    kernel = world.start_kernel()
    world.shown("comm_open", opened(HTML_MODEL), metadata={"version": "2.1.0"})
    world.kill_relay()
    update = {"method": "update", "state": {"value": SCRIPT}, "buffer_paths": []}
    kernel.send("iopub", "comm_msg", {"comm_id": "a" * 32, "data": update})
    assert world.shown("status", {"execution_state": "idle"})["msg_type"] == "status"


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        ('"a\\ud800b"', "a\ud800b"),
        ("NaN", None),
        ("1e400", None),
        ("9007199254740993", 9007199254740993),
        ("[" * 200 + "]" * 200, NOTHING),
        ('["\\ud800", NaN]', NOTHING),
    ],
)
def test_what_orjson_does_not_take_passes_or_is_dropped_and_ends_nothing(
    world: World, sent: str, arrives: object
) -> None:
    kernel = world.start_kernel()
    content = f'{{"data": {{"application/json": {sent}, "text/plain": "x"}}, "metadata": {{}}}}'
    header = kernel.session.msg_header("display_data")
    parts = [json.dumps(header, default=str), "{}", "{}", content]
    frames = [b"display_data", DELIMITER, b"", *(part.encode() for part in parts)]
    kernel.sockets["iopub"].send_multipart(frames)
    kernel.send("iopub", "status", {"execution_state": "idle"})
    first = world.client.next("iopub")[1]
    shown = first["content"].get("data", {}).get("application/json", NOTHING)
    assert shown == arrives


FULL = {"name": "stderr", "text": "No space left on device"}


@pytest.mark.parametrize("answer", ["/tmp is full", "", None])
def test_what_is_full_is_said_in_the_cell_that_found_no_room_before_its_end(
    world: World, answer: str | None
) -> None:
    late = threading.Event()

    def no_space() -> str:
        if answer is None:
            late.wait(MILLISECONDS / 1000)
            raise SandboxGone("it does not answer")
        return answer

    world.relay.no_space = no_space
    kernel = world.start_kernel()
    _, request = world.asked()
    for _ in range(2):  # the second asks nothing
        kernel.send("iopub", "stream", FULL, parent=request)
    kernel.send("iopub", "status", {"execution_state": "idle"}, parent=request)
    expected = ["No space left on device", *([f"moat: {answer}\n"] if answer else [])]
    for text in (*expected, "No space left on device"):
        shown = world.client.next("iopub")[1]
        assert shown["content"]["text"] == text
        assert shown["parent_header"]["msg_id"] == request["header"]["msg_id"]
    assert world.client.next("iopub")[1]["content"] == {"execution_state": "idle"}
    late.set()


def test_what_came_before_a_connection_broke_is_shown(world: World) -> None:
    """Once it was asked what is full, the relay hears of the break before it reads the output."""
    world.relay.no_space = lambda: "/tmp is full"
    kernel = world.start_kernel()
    first = world.relay.pid
    _, request = world.asked()
    assert world.shown("stream", FULL, parent=request)["content"] == FULL
    assert world.client.next("iopub")[1]["content"]["text"] == "moat: /tmp is full\n"
    takes_long = {"data": {"text/html": "<p>1 < 2 &amp; <b>3</b></p>" * 200_000}, "metadata": {}}
    kernel.send("iopub", "display_data", {**takes_long, "transient": {}}, parent=request)
    for number in range(3):
        text = {"name": "stdout", "text": str(number)}
        kernel.send("iopub", "stream", text, parent=request)
    kernel.sockets.pop("iopub").close(linger=MILLISECONDS)
    assert world.client.next("iopub")[1]["msg_type"] == "display_data"
    for number in range(3):
        assert world.client.next("iopub")[1]["content"]["text"] == str(number)
    assert world.relay.pid == first


def test_a_kernel_that_ends_while_it_is_asked_what_is_full_is_told_of(world: World) -> None:
    late = threading.Event()
    world.relay.no_space = lambda: str(late.wait(MILLISECONDS / 1000))
    kernel = world.start_kernel()
    _, request = world.asked()
    kernel.send("iopub", "stream", FULL, parent=request)
    assert world.client.next("iopub")[1]["content"] == FULL
    world.end_kernel("out of memory")
    assert world.client.next("iopub")[1]["content"]["evalue"] == "out of memory"
    late.set()
    world.start_kernel("2")
    assert world.asked("honest")[1]["content"]["code"] == "honest"
