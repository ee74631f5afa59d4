"""What an engine says of pulls and builds, as it was seen, read for progress and errors."""

from __future__ import annotations

from moat_nb.runtimes.images.build import BuildLog, PullTally
from moat_nb.text.progress import Silent

DOCKER = (
    "Step 1/4 : FROM base:test\n",
    " ---> 82541df4d608\n",
    "Step 2/4 : USER 0:0\n",
    " ---> Using cache\n",
    " ---> 668ef73af801\n",
    "Step 3/4 : RUN true\n",
    " ---> Running in 1b65a938134c\n",
    "Removing intermediate container 1b65a938134c\n",
    " ---> 88b9b7c02699\n",
    "Step 4/4 : RUN make\n",
    " ---> Running in 989aaf6630f6\n",
    "\x1b[91mno rule\x07 to make\n\x1b[0m",
    "Removing intermediate container 989aaf6630f6\n",
)

PODMAN = (
    "STEP 1/4: FROM base:test\n",
    "STEP 2/4: USER 0:0\n",
    "--> Using cache 668ef73af8015c\n",
    "--> 668ef73af801\n",
    "STEP 3/4: RUN true\n",
    "--> 88b9b7c02699\n",
    "STEP 4/4: RUN make\n",
    "no rule to make\n",
)


class Recorder(Silent):
    def __init__(self) -> None:
        self.updates: list[tuple[int, int]] = []

    def update(self, done: int, total: int) -> None:
        self.updates.append((done, total))


def test_a_pull_counts_the_bytes_of_all_layers() -> None:
    seen = Recorder()
    tally = PullTally(seen)
    for event in (
        {"status": "Pulling from library/python", "id": "3.11-slim"},
        {"status": "Pulling fs layer", "progressDetail": {}, "id": "one"},
        {"status": "Downloading", "progressDetail": {"current": 10, "total": 40}, "id": "one"},
        {"status": "Downloading", "progressDetail": {"current": 5, "total": 60}, "id": "two"},
        {"status": "Download complete", "progressDetail": {}, "id": "one"},
        {"status": "Extracting", "progressDetail": {"current": 1, "total": 99}, "id": "one"},
    ):
        tally.read(event)
    assert seen.updates == [(10, 40), (15, 100), (45, 100)]
    assert tally.error is None


def test_a_pull_keeps_the_engines_word_of_failure() -> None:
    tally = PullTally(Silent())
    tally.read({"error": "manifest unknown", "errorDetail": {"message": "manifest unknown"}})
    tally.read({"status": "Done"})
    assert tally.error == "manifest unknown"


def read(lines: tuple[str, ...]) -> tuple[BuildLog, Recorder]:
    seen = Recorder()
    log = BuildLog(seen)
    for line in lines:
        log.read({"stream": line})
    log.read({"errorDetail": {"code": 2}, "error": "exit code 2"})
    return log, seen


def test_the_failing_step_is_shown_with_its_own_lines_alone() -> None:
    for lines in (DOCKER, PODMAN):
        log, _ = read(lines)
        assert log.error == "exit code 2"
        assert log.describe("exit code 2") == "at step 4/4: RUN make\nno rule to make\nexit code 2"


def test_a_build_that_fails_before_its_first_step_shows_the_engines_word() -> None:
    assert BuildLog(Silent()).describe("unknown instruction") == "unknown instruction"


def test_only_layers_that_the_build_made_itself_are_its_own_to_remove() -> None:
    for lines in (DOCKER, PODMAN):
        assert read(lines)[0].layers == ["88b9b7c02699"]


def test_steps_are_counted_as_they_end() -> None:
    for lines in (DOCKER, PODMAN):
        assert read(lines)[1].updates == [(0, 4), (1, 4), (2, 4), (3, 4)]
