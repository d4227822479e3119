"""What `import wage_tf` brings in, and where it refuses; each in a fresh interpreter."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("PIL", "grpc", "keras_tuner", "matplotlib", "sklearn", "tensorboard", "tensorflow_datasets")
LISTED = """
import json, os, sys
sys.path_importer_cache.clear()
del os.environ["TF_CPP_MIN_LOG_LEVEL"]
import keras, numpy, tensorflow
before, level = {name.partition(".")[0] for name in sys.modules}, os.environ.get("TF_CPP_MIN_LOG_LEVEL")
import wage_tf
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] not in before)))
print(wage_tf.export.write_c.__name__, wage_tf.integer.freeze.__name__)
print(os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level)
"""


def python(code, **environment):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


@pytest.mark.slow
def test_nothing_but_tensorflow_keras_and_numpy_is_imported():
    done = python(LISTED)
    assert done.returncode == 0, done.stderr
    listed, reachable, same_level = done.stdout.splitlines()[-3:]
    loaded = json.loads(listed)
    assert {name.partition(".")[0] for name in loaded} == {"wage_tf"}
    assert {"wage_tf.integer", "wage_tf.layers"} <= set(loaded)
    assert not [name for name in loaded if name.startswith(("wage_tf.runs", "wage_tf.search", "wage_tf.cli"))]
    assert reachable == "write_c freeze"
    assert same_level == "True"


def test_what_only_some_need_can_be_absent():
    """Keras itself imports Pillow where it is there; neither needs it."""
    absent = "".join(f"sys.modules[{name!r}] = None\n" for name in HEAVY)
    done = python(f"import sys\n{absent}import wage_tf")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_another_backend_is_refused_at_import():
    done = python("import wage_tf", KERAS_BACKEND="numpy")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: wage_tf needs Keras on TensorFlow, but Keras runs on numpy")
    assert "KERAS_BACKEND=tensorflow" in last
