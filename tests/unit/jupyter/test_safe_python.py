"""A Python that runs nothing of the directory it is started in."""

import subprocess
import sys
from pathlib import Path

from moat_nb.config.model import Config, KernelOptions
from moat_nb.jupyter.kernelspec import kernel_json


def config(*argv):
    return Config(path=Path("/p/moat.yaml"), name="box", kernel=KernelOptions(argv=argv))


def test_what_a_sandbox_wrote_beside_a_notebook_is_not_run_by_its_kernelspec(tmp_path):
    for name in ("moat_nb", "yaml", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run on the host')")
    argv = kernel_json(config(), runtime=None, executable=sys.executable)["argv"]
    done = subprocess.run(
        [*argv[: argv.index("kernel") + 1], "--help"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--project" in done.stdout
