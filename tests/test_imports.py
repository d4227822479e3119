"""What `import wage_tf` brings in, and where it refuses; each in a fresh interpreter."""

import json
import os
import subprocess
import sys

HEAVY = ("PIL", "grpc", "keras_tuner", "matplotlib", "sklearn", "tensorboard", "tensorflow_datasets")
LISTED = """
import json, sys
sys.path_importer_cache.clear()
import keras, numpy, tensorflow
before = {name.partition(".")[0] for name in sys.modules}
import wage_tf
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - before)))
print(wage_tf.export.write_c.__name__, wage_tf.integer.freeze.__name__)
"""


def python(code, **environment):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_nothing_but_tensorflow_keras_and_numpy_is_imported():
    done = python(LISTED)
    assert done.returncode == 0, done.stderr
    listed, reachable = done.stdout.splitlines()[-2:]
    assert json.loads(listed) == ["wage_tf"]
    assert reachable == "write_c freeze"


def test_what_only_some_need_can_be_absent():
    """Keras itself imports Pillow where it is there; neither needs it."""
    absent = "".join(f"sys.modules[{name!r}] = None\n" for name in HEAVY)
    done = python(f"import sys\n{absent}import wage_tf")
    assert done.returncode == 0, done.stderr


def test_another_backend_is_refused_at_import():
    done = python("import wage_tf", KERAS_BACKEND="numpy")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: wage_tf needs Keras on TensorFlow, but Keras runs on numpy")
    assert "KERAS_BACKEND=tensorflow" in last
