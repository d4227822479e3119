"""What `import wage_tf` brings in, and where it refuses; each in a fresh interpreter."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("PIL", "grpc", "keras_tuner", "matplotlib", "sklearn", "tensorboard", "tensorflow_datasets")
AFTER_TENSORFLOW = """
import json, os, sys
sys.path_importer_cache.clear()
del os.environ["TF_CPP_MIN_LOG_LEVEL"]
import keras, numpy, tensorflow
before, level = {name.partition(".")[0] for name in sys.modules}, os.environ.get("TF_CPP_MIN_LOG_LEVEL")
without = os.fork()
if not without:
    sys.modules.update(dict.fromkeys(%r))
import wage_tf
if not without:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(without, 0)[1]) == 7, "what only some need is imported"
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] not in before)))
print(wage_tf.export.write_c.__name__, wage_tf.integer.freeze.__name__)
print(os.environ.get("TF_CPP_MIN_LOG_LEVEL") == level)
"""


def python(code, **environment):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@pytest.mark.slow
def test_nothing_but_tensorflow_keras_and_numpy_is_imported_or_needed():
    """A forked process imports it where everything else that is heavy is absent."""
    done = python(AFTER_TENSORFLOW % (HEAVY,))
    assert done.returncode == 0, done.stderr
    listed, reachable, same_level = done.stdout.splitlines()[-3:]
    loaded = json.loads(listed)
    assert {name.partition(".")[0] for name in loaded} == {"wage_tf"}
    assert {"wage_tf.integer", "wage_tf.layers"} <= set(loaded)
    assert not [name for name in loaded if name.startswith(("wage_tf.runs", "wage_tf.search", "wage_tf.cli"))]
    assert reachable == "write_c freeze"
    assert same_level == "True"


@pytest.mark.slow
def test_another_backend_is_refused_at_import():
    """Before TensorFlow is asked for anything: an empty module stands in its place."""
    empty = "import sys, types; sys.modules['tensorflow'] = types.ModuleType('tensorflow');"
    done = python(f"{empty} import wage_tf", KERAS_BACKEND="numpy")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: wage_tf needs Keras on TensorFlow, but Keras runs on numpy")
    assert "KERAS_BACKEND=tensorflow" in last
