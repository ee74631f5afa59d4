"""etc.py: what of /etc is shown, and links of programs that lead to what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from moat_nb.runtimes.bubblewrap.etc import dangling, remarks, shown


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("java-17-openjdk/security", "acme/conf", "ssl/private", "ssl/certs", "maven"):
        (tmp_path / "etc" / name).mkdir(parents=True)
    (tmp_path / "etc/java-17-openjdk/security/java.security").touch()
    (tmp_path / "etc/maven/settings.xml").touch()
    (tmp_path / "etc/maven/m2.conf").touch()
    (tmp_path / "usr/lib/jvm/conf").mkdir(parents=True)
    (tmp_path / "usr/share/doc").mkdir(parents=True)
    return tmp_path


def link(root: Path, name: str, target: str) -> None:
    (root / "usr" / name).symlink_to(target)


def test_a_distributions_java_has_its_settings_and_nothing_has_passwords(root: Path) -> None:
    assert list(shown(str(root / "etc"))) == [
        f"{root}/etc/java-17-openjdk",
        f"{root}/etc/maven/m2.conf",
        f"{root}/etc/ssl/certs",
    ]


def test_a_link_to_what_is_not_shown_is_named_once(root: Path) -> None:
    link(root, "lib/jvm/conf/security", f"{root}/etc/java-17-openjdk/security")
    link(root, "lib/acme", "../../etc/acme/conf")
    link(root, "lib/acme2", f"{root}/etc/acme/other/missing")
    link(root, "lib/private", f"{root}/etc/ssl/private")
    link(root, "lib/broken", f"{root}/etc/missing")
    link(root, "share/doc/acme", f"{root}/etc/maven")
    link(root, "lib/elsewhere", "/var/lib")
    etc = str(root / "etc")
    found = dangling(tuple(shown(etc)), str(root / "usr"), etc)
    assert found == {f"{etc}/acme": f"{root}/usr/lib/acme"}


def test_who_looks_at_a_plan_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"/etc/acme": "/usr/lib/acme"}
    monkeypatch.setattr("moat_nb.runtimes.bubblewrap.etc.dangling", lambda seen: found)
    assert [*remarks(())] == [
        "links of programs lead to what is not shown inside: /etc/acme (by /usr/lib/acme); what "
        'needs it has it by mounts: ["/etc/acme:/etc/acme:ro"]'
    ]
    found.clear()
    assert [*remarks(())] == []
