"""The certificates that the host trusts, as one bundle."""

from __future__ import annotations

from moat_nb.host.certificates import bundle_files, certificate_bundle


def pem(text: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----"


def test_the_bundle_has_each_certificate_of_all_files_once(tmp_path):
    ours, system = tmp_path / "ours.pem", tmp_path / "system.pem"
    ours.write_text(f"Our Company\n{pem('QQ==')}\n{pem('Qg==')}\n")
    system.write_text(f"{pem('Qg==')}\n{pem('Qw==')}")
    found = certificate_bundle(
        [str(ours), str(system), str(tmp_path / "none")], f"x{pem('RA==')}".encode()
    )
    assert found.decode() == "".join(f"{pem(text)}\n" for text in ("QQ==", "Qg==", "Qw==", "RA=="))


def test_files_that_the_environment_names_come_first_and_links_to_one_count_once(tmp_path):
    ours, link, empty = (tmp_path / name for name in ("ours.pem", "link.pem", "empty.pem"))
    ours.write_text(pem("QQ=="))
    link.symlink_to(ours)
    empty.write_text("no certificate")
    environ = {
        "SSL_CERT_FILE": str(empty),
        "PIP_CERT": str(ours),
        "CURL_CA_BUNDLE": str(link),
        "REQUESTS_CA_BUNDLE": str(tmp_path / "none.pem"),
    }
    system = bundle_files({})
    assert bundle_files(environ) == (str(link), *system)


def test_a_bundle_that_changed_is_read_again(tmp_path):
    file = tmp_path / "ours.pem"
    file.write_text(pem("QQ=="))
    assert certificate_bundle([str(file)]).decode() == pem("QQ==") + "\n"
    file.write_text(pem("QUFBQQ=="))
    assert certificate_bundle([str(file)]).decode() == pem("QUFBQQ==") + "\n"
