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
TINY = "--model mlp --width 0.1 --limit 320 --epochs 1 --histogram-freq 0"
COMMANDS = f"""\
wage-train {TINY} --run-dir run
wage-export run --to web
wage-export run --to litert
wage-export run --to packed
wage-export run --to c
wage-verify run --images 100 --steps 2
wage-tune {TINY} --weights 2,8 --run-dir search
"""
IN_ONE_PROCESS = """
import runpy, sys
folder = sys.argv[1]
for line in sys.stdin.read().splitlines():
    name, *words = line.split()
    sys.argv = [f"{folder}/{name}", *words]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
import wage_tf, wage_tf.models, wage_tf.zoo
print(*(sum(kernel.codes.size for kernel in wage_tf.zoo.graph(name).kernels.values()) for name in wage_tf.zoo.names()))
print(wage_tf.models.names, wage_tf.models.__file__, wage_tf.__file__)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The scripts' folder of a new environment that holds the wheel, over the packages of this one; and a folder."""
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


def run(installed, name, *arguments, **options):
    scripts, work = installed
    environment = {key: text for key, text in os.environ.items() if key not in ("PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL")}
    return subprocess.run(
        [str(scripts / name), *arguments],
        cwd=work,
        env={**environment, **options.pop("env", {})},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def printed(installed):
    """What the scripts print, one after the other in one process, which imports TensorFlow once."""
    done = run(installed, "python", "-c", IN_ONE_PROCESS, str(installed[0]), input=COMMANDS)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_networks_are_in_the_package_and_not_the_clones(installed, printed):
    last = printed.splitlines()[-1]
    assert "'vgg7'" in last
    assert last.count(str(installed[0].parent)) == 2


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_of_the_script_and_without_tensorflow(installed, script):
    done = run(installed, script, "--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert done.returncode == 0
    assert f"usage: {script} " in done.stdout
    assert "tensorflow" not in done.stderr


def test_the_pretrained_networks_are_in_the_package(printed):
    assert "581408" in printed.splitlines()[-2].split()


def test_the_scripts_train_search_export_and_verify(installed, printed):
    assert "\ntest error " in printed
    assert printed.count("µJ per image") == 4
    assert "\nverdict: EQUAL" in printed
    for name in ("run-c/wage_net.c", "run.wage", "run.tflite", "run.html", "search/best.json", "search/pareto.png"):
        assert (installed[1] / name).exists()


@pytest.mark.usefixtures("printed")
def test_a_missing_extra_is_one_line_that_names_it(installed):
    """LiteRT is asked for where only its package is missing."""
    program = (
        "import sys; sys.modules['ai_edge_litert'] = None; sys.argv[0] = 'wage-export'; "
        "from wage_tf.cli.export import main; sys.exit(main(['run', '--to', 'litert']))"
    )
    done = run(installed, "python", "-c", program)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "pip install 'wage-tf[litert]'" in line
