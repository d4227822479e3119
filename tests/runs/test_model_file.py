"""Models of runs that are damaged: one clear error."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest

from support.written_runs import write_run
from wage_tf.errors import UserError
from wage_tf.runs.directory import RunDirectory
from wage_tf.runs.model_file import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, write_run(folder)


@pytest.fixture
def restored(run):
    """The run's folder and the content of its model, which is written back after the test."""
    path = run[0] / "model.keras"
    content = path.read_bytes()
    yield run[0], content
    path.write_bytes(content)


def flipped(content, position, bit):
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def member(content, path, name):
    """Where a member's payload stands in the zip: its first byte and its size."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(name)
    names = content[info.header_offset + 26 : info.header_offset + 30]
    return info.header_offset + 30 + names[0] + 256 * names[1] + names[2] + 256 * names[3], info.file_size


@pytest.mark.slow
def test_a_flipped_bit_is_one_clear_error_or_changes_nothing(run, restored):
    """400 places anywhere and 50 in the zip's own headers, where some bits (times, attributes) mean nothing."""
    model, (folder, content) = run[1], restored
    start, size = member(content, folder / "model.keras", "model.weights.h5")
    random = np.random.default_rng(0)
    directory = random.integers(start + size, len(content), 50)
    messages = []
    for position in (*random.integers(0, len(content), 400), *directory):
        (folder / "model.keras").write_bytes(flipped(content, position, random.integers(8)))
        try:
            loaded = RunDirectory(folder).load_model()
        except UserError as error:
            messages.append(str(error))
            continue
        assert loaded.to_json() == model.to_json()
        for weight, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
            assert np.array_equal(weight, other)
    assert len(messages) >= 400
    assert all("is damaged or not a Keras model" in message and "\n" not in message for message in messages)


def test_a_flip_in_the_weights_is_found_before_keras_reads_them(restored, monkeypatch):
    """Keras reads them with seeks, for which Python's zipfile gives up its checksum from 3.12 on."""
    folder, content = restored
    start, size = member(content, folder / "model.keras", "model.weights.h5")
    (folder / "model.keras").write_bytes(flipped(content, start + size // 2, 3))
    monkeypatch.setattr(keras.saving, "load_model", lambda *args, **kwargs: "read")
    with pytest.raises(UserError, match=r"is damaged .*model\.weights\.h5"):
        RunDirectory(folder).load_model()


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(UserError, match=r"there is no model file .*net\.keras: give a \.keras file"):
        load_model(tmp_path / "net.keras")


def test_a_file_in_the_older_form_is_not_called_damaged(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "net.h5")
    with pytest.raises(UserError, match=r"net\.h5 is not a \.keras file: read it with keras\.models\.load_model"):
        load_model(tmp_path / "net.h5")


def test_a_configuration_of_many_megabytes_is_refused_before_it_is_read(restored, monkeypatch):
    folder, _ = restored
    with zipfile.ZipFile(folder / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (65 * 2**20))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: pytest.fail("it was read"))
    with pytest.raises(UserError, match="its configuration is larger than"):
        RunDirectory(folder).load_model()


def test_code_in_a_model_is_not_run(tmp_path):
    write_run(tmp_path / "run")
    trap = tmp_path / "trap"
    image = keras.Input((2,))
    code = keras.layers.Lambda(lambda x, path=str(trap): (open(path, "w").close(), x)[1], output_shape=(2,))
    keras.Model(image, code(image)).save(tmp_path / "run" / "model.keras")
    trap.unlink(missing_ok=True)
    with pytest.raises(UserError, match="is damaged or not a Keras model"):
        RunDirectory(tmp_path / "run").load_model()
    assert not trap.exists()
