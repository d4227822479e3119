"""The built wheel, installed outside the clone, is enough: console scripts and networks."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("wage-train", "wage-tune", "wage-export", "wage-verify")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The scripts' folder of a new environment that holds the wheel, over the packages of this one; and a run."""
    root = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = root / "source"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(source)], check=True)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(root), str(source)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = root.glob("wage_tf-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root / "env")], check=True)
    (packages,) = (root / "env").glob("lib/python*/site-packages")
    python = root / "env" / "bin" / "python"
    into = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *into], check=True)
    lines = [path for path in sys.path if path.endswith("site-packages")] + [sysconfig.get_path("purelib")]
    (packages / "base.pth").write_text("\n".join(dict.fromkeys(lines)))
    work = root / "work"
    work.mkdir()
    return python.parent, work


def run(installed, name, *arguments, **environment):
    scripts, work = installed
    clean = {key: text for key, text in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [str(scripts / name), *arguments],
        cwd=work,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_networks_are_in_the_package_and_not_the_clones(installed):
    program = "import wage_tf.models, wage_tf; print(wage_tf.models.names, wage_tf.models.__file__, wage_tf.__file__)"
    done = run(installed, "python", "-c", program)
    assert done.returncode == 0, done.stderr
    assert "'vgg7'" in done.stdout
    assert done.stdout.count(str(installed[0].parent)) == 2


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_of_the_script_and_without_tensorflow(installed, script):
    done = run(installed, script, "--help", PYTHONPROFILEIMPORTTIME="1")
    assert done.returncode == 0
    assert f"usage: {script} " in done.stdout
    assert "tensorflow" not in done.stderr


def test_the_scripts_train_search_export_and_verify(installed):
    tiny = ["--model", "mlp", "--width", "0.1", "--limit", "320", "--epochs", "1", "--histogram-freq", "0"]
    trained = run(installed, "wage-train", *tiny, "--run-dir", "run")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert trained.stdout.splitlines()[-1].startswith("test error ")
    found = run(installed, "wage-tune", *tiny, "--weights", "2,8", "--run-dir", "search")
    assert found.returncode == 0, found.stderr
    assert (installed[1] / "search" / "best.json").exists()
    assert (installed[1] / "search" / "pareto.png").exists()
    for form in ("litert", "packed", "c", "web"):
        exported = run(installed, "wage-export", "run", "--to", form)
        assert (exported.returncode, exported.stderr) == (0, "")
        assert "µJ per image" in exported.stdout
    verified = run(installed, "wage-verify", "run", "--images", "100", "--steps", "2")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "verdict: EQUAL" in verified.stdout


def test_a_missing_extra_is_one_line_that_names_it(installed):
    """LiteRT is asked for where only its package is missing."""
    assert run(installed, "wage-train", "--model", "mlp", "--width", "0.1", "--limit", "64", "--epochs", "1",
               "--histogram-freq", "0", "--run-dir", "for-litert").returncode == 0  # fmt: skip
    program = (
        "import sys; sys.modules['ai_edge_litert'] = None; sys.argv[0] = 'wage-export'; "
        "from wage_tf.cli.export import main; sys.exit(main(['for-litert', '--to', 'litert']))"
    )
    done = run(installed, "python", "-c", program)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "pip install 'wage-tf[litert]'" in line
