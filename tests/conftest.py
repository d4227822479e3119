"""Settings of the whole test suite: quiet TensorFlow, reproducible hypothesis, a fixed Keras seed for every test."""

from __future__ import annotations

import gc
import os

import hypothesis
import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
gc.disable()

hypothesis.settings.register_profile("suite", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _fixed_seed():
    import keras

    keras.utils.set_random_seed(2018)


@pytest.fixture(scope="session")
def digits():
    """The digits of scikit-learn: 1797 grey uint8 images [8, 8, 1] and their one-hot float32 targets."""
    import keras
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images * 15).astype(np.uint8)[..., None]
    return images, keras.utils.to_categorical(data.target, 10).astype(np.float32)


@pytest.fixture(scope="session")
def tfds_data_dir():
    """Directory of prepared TensorFlow Datasets (real MNIST and CIFAR-10), from TFDS_DATA_DIR."""
    if "TFDS_DATA_DIR" not in os.environ:
        pytest.skip("needs real data: set TFDS_DATA_DIR to a directory of prepared TensorFlow Datasets")
    return os.environ["TFDS_DATA_DIR"]


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: the workers, which take a file at a time, then end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """What the imports made stays: the collector looks at what the tests make, more rarely."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 5)
    gc.enable()


def pytest_sessionfinish(session):
    """In CI every test must run: a skipped one fails the session."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI: a test was skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def native_engine():
    """This installation has the C runtime."""
    from wage_tf import native

    assert native.available(), "wage_tf was installed without its native engine"
