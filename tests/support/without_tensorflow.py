"""The export command in a process that cannot import TensorFlow."""

import subprocess
import sys

_PROGRAM = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from wage_tf.cli.export import main
source, out, *forms = sys.argv[1:]
codes = [main([source, "--to", form, "--out", f"{out}.{form}"]) for form in forms]
sys.exit(max(codes))
"""


def export_without_tensorflow(source, out, *forms):
    """Makes every form, `out` with the form's name as its suffix, of a packed file."""
    command = [sys.executable, "-c", _PROGRAM, str(source), str(out), *forms]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
