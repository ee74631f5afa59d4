"""The excludes editor in JupyterLab, by keyboard alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Notebook
from tests.conftest import Project

pytestmark = pytest.mark.timeout(900)  # Lab, on a busy machine of two cores

MOAT_YAML = """\
# what the editor must leave as it is
name: test-editor
mounts:
  - source: .          # the project
    target: /workspace
    exclude:
      - .venv          # the sandbox has its own
kernel: {runtime: bubblewrap}
"""

OPEN = """\
%load_ext moat_nb
%moat run
%moat run -- dd if=/dev/zero of=.venv/written bs=1M count=3
%moat excludes
"""


def press_until(page: Page, key: str, wanted: Locator) -> None:
    """Press ``key`` until ``wanted`` has the focus, as who has no mouse does."""
    for _ in range(40):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not reach {wanted}")


def make(directory: Path) -> None:
    (directory / "node_modules").mkdir()
    (directory / "node_modules" / "host.txt").write_text("the host's own\n" * 9000)
    (directory / ".env").write_text("PASSWORD=x\n")


def open_by_keyboard(nb: Notebook) -> Locator:
    """The editor of a running sandbox's project, once it has looked at all."""
    editor = nb.run(OPEN).get_by_role("region", name="Excludes editor")
    expect(editor.get_by_text("The whole directory was looked at.")).to_be_visible()
    # Out of the next cell's editor; Shift+Tab then leads back into the output above it.
    nb.page.keyboard.press("Escape")
    return editor


def press(nb: Notebook, key: str, button: Locator, says: str) -> None:
    """Reach ``button`` by ``key``, and press it; the editor then ``says`` so."""
    press_until(nb.page, key, button)
    nb.page.keyboard.press("Enter")
    expect(nb.page.locator(".moat-message")).to_contain_text(says)


def test_excludes_are_edited_saved_and_undone_by_keyboard_alone(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    directory = project(MOAT_YAML, name="myproject")
    make(directory)
    file = directory / "moat.yaml"
    nb = notebook(directory)
    keyboard = nb.page.keyboard
    editor = open_by_keyboard(nb)

    box = editor.get_by_role("checkbox", name="node_modules")
    press_until(nb.page, "Shift+Tab", box)
    row = editor.get_by_role("listitem").filter(has_text="node_modules")
    size = re.compile(r"directory on the host, \d+ (KiB|bytes); packages built for this machine")
    expect(row).to_contain_text(size)
    keyboard.press("Space")
    expect(box).to_be_checked()
    expect(box).to_be_focused()
    diff = editor.get_by_role("region", name="What saving changes")
    expect(diff).to_contain_text("+      - node_modules")

    field = editor.get_by_role("textbox", name="Another path or glob")
    press_until(nb.page, "Tab", field)
    keyboard.type("../etc")
    refusal = editor.get_by_text("'../etc' must not contain '..'")
    expect(refusal.first).to_be_visible()
    expect(field).to_have_attribute("aria-invalid", "true")
    keyboard.press("Enter")
    expect(editor.get_by_role("alert")).to_have_text("'../etc' must not contain '..'")
    nb.shoot("editor-refusal", editor)
    keyboard.press("Control+a")
    keyboard.type("**/__pycache__")
    expect(field).to_have_attribute("aria-invalid", "false")
    keyboard.press("Enter")
    expect(field).to_have_value("")
    expect(field).to_be_focused()
    expect(diff).to_contain_text('+      - "**/__pycache__"')
    assert file.read_text() == MOAT_YAML, "nothing is written before Save"
    nb.shoot("excludes-editor", editor)

    press(nb, "Tab", editor.get_by_role("button", name="Save", exact=True), "Saved")
    line = "      - .venv          # the sandbox has its own\n"
    saved = MOAT_YAML.replace(line, f'{line}      - node_modules\n      - "**/__pycache__"\n')
    assert file.read_text() == saved

    press(nb, "Tab", editor.get_by_role("button", name="Undo the last save"), "Undone")
    assert file.read_text() == MOAT_YAML


def test_what_was_saved_is_applied_by_keyboard_alone(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    directory = project(MOAT_YAML, name="myproject")
    make(directory)
    nb = notebook(directory)
    keyboard = nb.page.keyboard
    editor = open_by_keyboard(nb)
    box = editor.get_by_role("checkbox", name="node_modules")
    row = editor.get_by_role("listitem").filter(has_text="node_modules")

    press_until(nb.page, "Shift+Tab", box)
    keyboard.press("Space")
    expect(box).to_be_checked()
    press(nb, "Tab", editor.get_by_role("button", name="Save", exact=True), "Saved")
    press_until(nb.page, "Tab", editor.get_by_role("button", name="Apply…"))
    keyboard.press("Enter")
    question = editor.get_by_role("group", name="Apply")
    expect(question).to_contain_text("3 MiB that were written into its excludes")
    expect(question).to_contain_text("3 MiB in /workspace/.venv")
    nb.shoot("editor-apply", editor)
    expect(editor.get_by_role("button", name="Restart the sandbox")).to_be_focused()
    keyboard.press("Enter")
    status = editor.locator(".moat-message")
    expect(status).to_have_text("Applied: the sandbox was restarted.")
    expect(row).to_contain_text("0 bytes of 1 GiB used inside")
    said = nb.run("%%moat\nimport os; print(os.listdir('node_modules'), os.listdir('.venv'))")
    expect(said).to_have_text("[] []")
    assert (directory / "node_modules" / "host.txt").exists()


CONTRAST = """element => {
  const parts = (color) => color.match(/[0-9.]+/g).map(Number);
  const lightness = (color) => {
    const linear = color.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92
      : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const back = parts(getComputedStyle(element.closest(".moat-excludes")).backgroundColor);
  const [red, green, blue, alpha = 1] = parts(getComputedStyle(element).color);
  const seen = [red, green, blue].map((c, i) => alpha * c + (1 - alpha) * back[i]);
  const [low, high] = [lightness(seen), lightness(back)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}"""


def test_in_light_and_in_dark_it_can_be_read(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    """WCAG's contrast ratio: at least 4.5 for text."""
    directory = project(MOAT_YAML)
    make(directory)
    nb = notebook(directory)
    editor = nb.run("import moat_nb; moat_nb.ExcludesEditor()").get_by_role(
        "region", name="Excludes editor"
    )
    expect(editor.get_by_role("checkbox", name="node_modules")).to_be_visible()
    expect(editor.get_by_role("button", name="Apply…")).to_be_hidden()
    for theme in nb.themes():
        for part in (editor.locator("legend"), editor.locator(".moat-notes").first):
            assert part.evaluate(CONTRAST) >= 4.5, theme
        nb.shoot(f"editor-{theme}", editor)


def test_in_notebook_7_a_string_needs_consent_and_a_changed_file_is_read_again(
    notebook: Callable[..., Notebook], project: Project
) -> None:
    directory = project("mounts:\n  - ./:/workspace\n")
    file = directory / "moat.yaml"
    make(directory)
    nb = notebook(directory, app="notebook")
    editor = nb.run("import moat_nb; moat_nb.ExcludesEditor()").get_by_role(
        "region", name="Excludes editor"
    )
    editor.get_by_role("checkbox", name="node_modules").check()
    save = editor.get_by_role("button", name="Save", exact=True)
    expect(save).to_be_disabled()
    consent = editor.get_by_role("checkbox", name="Rewrite this mount as an object")
    consent.check()
    expect(editor.get_by_role("region", name="What saving changes")).to_contain_text(
        "+  - source: ./"
    )
    file.write_text("# another\nmounts:\n  - ./:/workspace\n")
    save.click()
    expect(editor.get_by_role("alert")).to_contain_text("was changed on disk since it was read")
    editor.get_by_role("button", name="Read the file again").click()
    expect(editor.get_by_text("Read moat.yaml again.")).to_be_visible()
    save.click()
    expect(editor.get_by_text(re.compile("^Saved"))).to_be_visible()
    assert file.read_text() == (
        "# another\nmounts:\n  - source: ./\n    target: /workspace\n    exclude:\n"
        "      - node_modules\n"
    )
    nb.shoot("editor-notebook-7")
