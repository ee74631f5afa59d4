"""The excludes editor: a widget that shows and changes what a project's sandbox does not see.

It holds no rules of its own: :mod:`moat_nb.excludes.checks` says what is refused, and why;
:mod:`moat_nb.excludes.draft` what is written; :mod:`moat_nb.excludes.suggest` what is suggested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import traitlets

from moat_nb.errors import ConsentNeeded, EditError, FileChanged, MoatError, SandboxGone
from moat_nb.excludes import checks
from moat_nb.excludes import file as moat_file
from moat_nb.excludes.draft import Draft
from moat_nb.excludes.file import MoatFile, read
from moat_nb.excludes.widget import messages as widget_words
from moat_nb.excludes.widget.scan import BackgroundScan, Candidates, ScanProgress
from moat_nb.excludes.widget.traits import EditorTraits
from moat_nb.sandbox.mount_proof import MountProof
from moat_nb.sandbox.sandbox import Sandbox

__all__ = ["ExcludesEditor"]


class ExcludesEditor(EditorTraits):
    """An editor of the excludes of the nearest moat.yaml at or above ``path``.

    ``sandbox`` is a running sandbox of the project: its use of each exclude is shown, and "apply"
    resets it; ``apply``, called with nothing, does so instead, for who has kernels to restart.

    Every trait is synchronised and can be observed. To drive it, set :attr:`excludes` and
    :attr:`consent`, and call :meth:`save`, :meth:`undo`, :meth:`apply` and the others, which raise
    what went wrong; on the page it is shown instead. Raises ConfigError for a file that cannot be
    read.
    """

    def __init__(
        self,
        path: Path | str = ".",
        *,
        sandbox: Sandbox | None = None,
        apply: Callable[[], object] | None = None,
    ) -> None:
        # Before what may raise: a widget is closed also when it never came to be.
        self._scan: BackgroundScan | None = None
        self._draft = Draft.read(path)
        self._before: list[MoatFile] = []
        self._findings: Candidates = {}
        self._proofs: Sequence[MountProof] = ()
        self._sandbox = sandbox
        self._apply = apply or (sandbox.reset if sandbox is not None else None)
        super().__init__()
        self.can_apply = self._apply is not None
        self._show()
        self.measure()
        self.observe(self._on_asked, ["excludes", "consent"])
        self.observe(self._on_typed, ["typed", "excludes"])
        self.on_msg(self._on_message)
        self.rescan()

    def __repr__(self) -> str:
        return f"<ExcludesEditor of {self.path}>"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        shown: Any = super()._repr_mimebundle_(**options)
        data, metadata = shown
        looking = self.looking == "looking"
        text = widget_words.plain(self._draft, self.facts, self.suggestions, looking=looking)
        return {**data, "text/plain": text}, metadata

    def close(self) -> None:
        """End the scan, and take the widget off the page."""
        self.cancel()
        super().close()

    # -------- what is asked

    def add(self, target: str, pattern: str) -> None:
        """Ask for one more exclude; raises EditError in the validator's words."""
        if words := self._draft.no_mounts([target]):
            raise EditError(words)
        listed = self._draft.asked[target]
        if words := self._draft.refusal(target, pattern):
            raise EditError(words)
        self.excludes = {**self._draft.asked, target: [*listed, pattern]}

    def discard(self) -> None:
        """Ask for what the file has."""
        self.consent = []
        self.excludes = _lists(self._draft.saved)

    def reload(self) -> None:
        """Read the file again; what was asked for stays asked for.

        What was saved before another program's change cannot be undone after: it would undo both.
        """
        file = read(self._draft.file.path)
        draft = self._draft.onto(file)
        lost = bool(self._before) and file.data != self._draft.file.data
        if lost:
            self._before.clear()
        self._take(draft)
        hint = " It was changed meanwhile, so what was saved before cannot be undone."
        self._say(f"Read moat.yaml again.{hint if lost else ''}")

    def save(self) -> None:
        """Write the file.

        Raises EditError, FileChanged if it is not what was read, and ConfigError if no start would
        accept what would be written.
        """
        draft = self._draft
        if draft.refusals:
            raise EditError(draft.refusals[0].words)
        waits = [words for at, words in draft.consent_needed.items() if at not in draft.consent]
        if waits:
            raise ConsentNeeded(waits[0])
        if not draft.ready:
            self._say("There is nothing to save.")
            return
        file = self._write(draft.text, checks.save)
        self._before.append(draft.file)
        self._take(Draft.of(file))
        hint = " Apply restarts the sandbox with it." if self.can_apply else ""
        self._say(f"Saved {file.label}.{hint}")

    def undo(self) -> None:
        """Put back the file as it was before the last save, byte for byte."""
        if not self._before:
            raise EditError("nothing was saved here, so nothing can be undone")
        # Unchecked: what was there before comes back, whatever a start says of it.
        file = self._write(self._before[-1].text, moat_file.save)
        self._before.pop()
        self._take(Draft.of(file))
        self._say(f"Undone: {file.label} is as it was before.")

    def _write(self, text: str, save: Callable[[MoatFile, str], MoatFile]) -> MoatFile:
        try:
            return save(self._draft.file, text)
        except FileChanged:
            self.state = "stale"
            raise

    # -------- the sandbox

    def measure(self) -> None:
        """Ask the sandbox for the use of its excludes now."""
        self._proofs = ()
        if self._sandbox is not None:
            with suppress(SandboxGone):
                self._proofs = self._sandbox.mounts()
        self.inside = [
            {"path": proof.path, "size": proof.size, "used": proof.used} for proof in self._proofs
        ]
        self._show_facts()

    def ask_apply(self) -> None:
        """Say in :attr:`loss` what applying would lose; nothing is done."""
        self.measure()
        loss = widget_words.loss(self._proofs, known=self._sandbox is not None)
        unsaved = " What is not saved yet is not applied." if self.diff else ""
        self.loss = loss + unsaved

    def apply(self) -> None:
        """Restart the sandbox, which then has the file's excludes."""
        if self._apply is None:
            raise EditError("no sandbox was given to this editor, so there is none to restart")
        before, self.state = self.state, "applying"
        try:
            self._apply()
        finally:
            self.state, self.loss = before, ""
        self.measure()
        self._say("Applied: the sandbox was restarted.")

    # -------- the scan of the host

    def rescan(self) -> None:
        """Scan the mounts' directories again, in the background."""
        self.cancel()
        self.looking = "looking"
        sources = {
            mount.target: (mount.source, self._draft.saved[mount.target])
            for mount in self._draft.config.mounts
        }
        self._scan = BackgroundScan(sources, self._on_found)

    def cancel(self) -> None:
        """End the scan; what it has found so far stays."""
        if self._scan is not None:
            self._scan.cancel()
        if self.looking == "looking":
            self.looking = "part"

    def _on_found(self, findings: Candidates, progress: ScanProgress) -> None:
        self._findings = findings
        self._show_facts()
        self.looking = progress

    # -------- what is shown

    def _take(self, draft: Draft) -> None:
        self._draft = draft
        self.consent = sorted(draft.consent)
        self.excludes = _lists(draft.asked)
        self._show()
        self.rescan()

    def _say(self, message: str) -> None:
        self.problem = ""
        self.message = message

    def _show(self) -> None:
        draft = self._draft
        self.path = str(draft.file.path)
        self.mounts = [
            {
                "target": mount.target,
                "source": str(mount.source),
                "read_only": mount.read_only,
                "saved": list(draft.saved[mount.target]),
            }
            for mount in draft.config.mounts
        ]
        self.excludes = _lists(draft.asked)
        self.problems = [asdict(refusal) for refusal in draft.refusals]
        self.consent_needed = draft.consent_needed
        self.can_undo = bool(self._before)
        try:
            self.diff = draft.diff
        except EditError as error:
            self.diff, self.problem, self.state = "", str(error), "refused"
        else:
            self.state = draft.state
        self._show_facts()

    def _show_facts(self) -> None:
        # The scan's thread and its caller's may both be here. No lock is held, for who observes may
        # do anything, such as wait for the other; who is the last to set has set the newest.
        shown: tuple[Any, ...] = ()
        while shown != (news := (self._draft, self._findings, self._proofs)):
            draft, findings, proofs = shown = news
            self.facts = widget_words.facts(draft, findings, proofs)
            self.suggestions = widget_words.suggestions(draft, findings)

    # -------- what comes from the page, and from programs

    @traitlets.validate("excludes")
    def _known_mounts(self, proposal: Any) -> Any:
        if words := self._draft.no_mounts(proposal["value"]):
            raise traitlets.TraitError(words)
        return proposal["value"]

    def _on_asked(self, _: object) -> None:
        asked = self._draft.ask(self.excludes)
        self._draft = replace(asked, consent=frozenset(self.consent))
        self.problem = ""
        self._show()

    def _on_typed(self, _: object) -> None:
        words = {
            target: self._draft.refusal(target, text.strip())
            for target, text in self.typed.items()
            if target in self._draft.asked and text.strip()
        }
        self.typed_problems = {target: said for target, said in words.items() if said}

    def _on_message(self, _: object, content: dict[str, Any], buffers: object) -> None:
        actions: dict[str, Callable[[], None]] = {
            "add": lambda: self._add_typed(content["target"], content["pattern"]),
            "discard": self.discard,
            "reload": self.reload,
            "save": self.save,
            "undo": self.undo,
            "ask_apply": self.ask_apply,
            "apply": self.apply,
            "look": self.rescan,
            "cancel": self.cancel,
        }
        self.problem = ""
        try:
            actions[content["do"]]()
        except MoatError as error:
            self.problem = str(error)
        except Exception as error:
            # `apply` is anyone's; raised from here, it would be seen by nobody.
            self.problem = f"{type(error).__name__}: {error}"

    def _add_typed(self, target: str, pattern: str) -> None:
        self.add(target, pattern.strip())
        self.typed = {**self.typed, target: ""}
        self.send({"added": target})


def _lists(excludes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    return {target: list(listed) for target, listed in excludes.items()}
