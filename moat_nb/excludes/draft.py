"""A moat.yaml with the excludes that its user asks for, not yet saved. Only reading is impure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from moat_nb.config.exclude_patterns import normalise
from moat_nb.config.model import Config
from moat_nb.config.reader import read_config
from moat_nb.errors import ConsentNeeded, EditError
from moat_nb.excludes import checks, get_excludes, set_excludes
from moat_nb.excludes.file import MoatFile, diff, read

__all__ = ["Draft", "Refusal"]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An exclude that the validator refuses, by its place in the list of ``target``."""

    target: str
    index: int
    pattern: str
    words: str


@dataclass(frozen=True, kw_only=True)
class Draft:
    """``asked`` are the excludes of each mount, by target, in the user's order."""

    file: MoatFile
    config: Config
    saved: Mapping[str, tuple[str, ...]]
    """As ``asked``, of the file as it is; in the file's spelling."""
    asked: Mapping[str, tuple[str, ...]]
    consent: frozenset[str] = frozenset()
    """Targets of mounts that may be rewritten from a string to an object."""

    @classmethod
    def read(cls, path: Path | str) -> Draft:
        """Of the nearest moat.yaml; ConfigError holds all that is wrong with it."""
        return cls.of(read(path))

    @classmethod
    def of(cls, file: MoatFile) -> Draft:
        config = read_config(file.data, path=file.path, home=Path.home(), label=file.label)
        saved = {mount.target: get_excludes(file.text, mount.target) for mount in config.mounts}
        return cls(file=file, config=config, saved=saved, asked=saved)

    def ask(self, asked: Mapping[str, Sequence[str]]) -> Draft:
        """The same file with other excludes; a mount that is not named keeps its own."""
        lists = {target: tuple(asked.get(target, old)) for target, old in self.saved.items()}
        return replace(self, asked=lists)

    def no_mounts(self, targets: Iterable[str]) -> str:
        """Why not all of ``targets`` can have excludes; empty where they can."""
        unknown = set(targets) - self.saved.keys()
        known = ", ".join(self.saved)
        return f"no mount at {min(unknown)}; the mounts are at {known}" if unknown else ""

    def onto(self, file: MoatFile) -> Draft:
        """The same wishes for another state of the file: what was added is added there, what
        was taken out is taken out."""
        other = Draft.of(file)
        asked = {
            target: _merge(self.saved.get(target, ()), self.asked.get(target, ()), theirs)
            for target, theirs in other.saved.items()
        }
        return replace(other.ask(asked), consent=self.consent)

    @cached_property
    def refusals(self) -> tuple[Refusal, ...]:
        """What :mod:`moat_nb.excludes.checks` says of the lists that are not the file's own."""
        return tuple(
            Refusal(target=target, index=i, pattern=self.asked[target][i], words=words)
            for target in self._changed
            for i, words in checks.pattern_problems(self.config, target, self.asked[target])
        )

    def refusal(self, target: str, pattern: str) -> str:
        """What stands against one more exclude; empty for nothing."""
        listed = self.asked[target]
        before = {words for _, words in checks.pattern_problems(self.config, target, listed)}
        after = checks.pattern_problems(self.config, target, [*listed, pattern])
        return next((words for _, words in after if words not in before), "")

    @cached_property
    def consent_needed(self) -> dict[str, str]:
        """Why each mount without consent needs it."""
        needed = {}
        for target in () if self.refusals else self._changed:
            try:
                set_excludes(self.file.text, target, self.asked[target], objects=False)
            except ConsentNeeded as error:
                needed[target] = str(error)
            except EditError:
                continue  # which `text` raises
        return needed

    @cached_property
    def text(self) -> str:
        """The file's text as asked, where the draft is not refused and mounts have consent.

        Raises EditError where the file's layout does not allow it.
        """
        text = self.file.text
        for target in () if self.refusals else self._changed:
            objects = target in self.consent
            if objects or target not in self.consent_needed:
                text = set_excludes(text, target, self.asked[target], objects=objects)
        return text

    @property
    def diff(self) -> str:
        return diff(self.file.text, self.text, self.file.label)

    @property
    def state(self) -> str:
        if self.refusals:
            return "refused"
        if set(self.consent_needed) - self.consent:
            return "consent"
        return "changed" if self.ready else "unchanged"

    @property
    def ready(self) -> bool:
        """Whether there is a change to save and no problem with it."""
        waits = set(self.consent_needed) - self.consent
        return not self.refusals and not waits and self.text != self.file.text

    @property
    def _changed(self) -> tuple[str, ...]:
        return tuple(target for target in self.asked if self.asked[target] != self.saved[target])


def _merge(base: Sequence[str], mine: Sequence[str], theirs: Sequence[str]) -> list[str]:
    removed = {normalise(path) for path in base} - {normalise(path) for path in mine}
    present = {normalise(path) for path in theirs} | {normalise(path) for path in base}
    kept = [path for path in theirs if normalise(path) not in removed]
    return [*kept, *(path for path in mine if normalise(path) not in present)]
