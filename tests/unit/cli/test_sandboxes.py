"""The commands about sandboxes that run."""

from __future__ import annotations

import io

import pytest

from moat_nb.cli import sandboxes as cli_sandboxes


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_is_printed_to_a_terminal_without_what_would_steer_it_and_elsewhere_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    written = b"\x1b]52;c;cm0=\x07\x1b[31mred\xff\n"
    cli_sandboxes._print(written)
    assert capfdbinary.readouterr().out == written
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    cli_sandboxes._print(written)
    assert terminal.getvalue() == "\x1b[31mred\ufffd\n"
