"""Names of files that a sandbox chose, where the host reads, compares and prints them."""

import subprocess
import sys

CLIPBOARD = "\x1b]52;c;aGkgZnJvbSB0aGUgc2FuZGJveA==\x07"
NAMES = {
    "name with a clipboard's sequence": f"a{CLIPBOARD}",
    "name with a window's title": "b\x1b]0;root\x07",
    "name with a line break": "c\nmoat-nb: all is well",
    "name that reverses what follows": "d\u202egpj.exe",
    "name with a byte of C1": "e\x9b31m",
}


def printed_by(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def test_names_that_steer_a_terminal_are_excluded_and_printed_harmlessly(launcher, table):
    project = launcher.project("**/hidden", kernel={"runtime": launcher.runtime})
    for name in NAMES.values():
        directory = project / name / "hidden"
        directory.mkdir(parents=True)
        (directory / "secret").write_text("secret")
        launcher.give(directory, launcher.owner)
    box = launcher.launch(project)
    found = box.run(["sh", "-c", "cat /workspace/*/hidden/secret 2>/dev/null; true"]).stdout
    assert found == b""
    assert {proof.path for proof in box.mounts()} == {
        f"/workspace/{name}/hidden" for name in NAMES.values()
    }
    shown = box._repr_mimebundle_()
    plan = printed_by(sys.executable, "-m", "moat_nb", "plan", str(project))
    for what, name in NAMES.items():
        printed = [*shown.values(), plan]
        told = "acted" if any(name in text for text in printed) else "shown as text"
        raw = printed_by("ls", "-N", str(project))
        control = "acted" if name in raw else "shown as text"
        table(f"print a {what}", launcher.runtime, "shown as text", told, control)
        assert told == "shown as text"
