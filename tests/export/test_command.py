"""python -m wage_tf.export, in-process."""

import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from support.images import random_images
from support.written_runs import write_run
from wage_tf import export, integer, layers
from wage_tf.export.__main__ import main
from wage_tf.export.forms import FORMS

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
from wage_tf.cli.export import main
source, out, *forms = sys.argv[1:]
sys.exit(max(main([source, "--to", form, "--out", f"{out}.{form}"]) for form in forms))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, write_run(folder)


@pytest.mark.parametrize(
    ("to", "suffix"),
    [
        ("litert", ".tflite"),
        ("litert-micro", "-micro.tflite"),
        ("packed", ".wage"),
        ("c", "-c/wage_net.c"),
        ("onnx", ".onnx"),
        ("web", ".html"),
    ],
)
def test_each_form_is_made_beside_the_run(run, capsys, to, suffix):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnx")
    folder, _ = run
    assert main([str(folder), "--to", to]) == 0
    path = folder.parent / (folder.name + suffix)
    assert path.is_file()
    printed = capsys.readouterr().out
    assert printed.startswith(str(path.parent if to == "c" else path))
    for word in ("bytes, 1/", "MACs", "buffers", "µJ per image"):
        assert word in printed


def test_training_goes_on_from_a_packed_file(run, tmp_path):
    folder, model = run
    assert main([str(folder), "--to", "packed", "--out", str(tmp_path / "m"), "--accumulators"]) == 0
    graph, card = export.read_packed(tmp_path / "m")
    assert (card.name, card.pattern, card.labels) == ("lenet5 on digits", "2-8-8-8", tuple("0123456789"))
    images = random_images((28, 28, 1), 4)
    after = integer.train_step(graph, images, np.arange(4), 3, 0, 0)
    expected = integer.train_step(integer.freeze(model), images, np.arange(4), 3, 0, 0)
    assert (after.kernels["conv1"].accumulators == expected.kernels["conv1"].accumulators).all()


def one_line(capsys, arguments):
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_bad_input_is_one_line_and_leaves_nothing(run, tmp_path, capsys):
    folder, _ = run
    assert "invalid choice: 'caffe'" in one_line(capsys, [str(folder), "--to", "caffe"])
    assert "holds no run" in one_line(capsys, [str(tmp_path), "--to", "c"])
    assert "only a packed file" in one_line(capsys, [str(folder), "--to", "c", "--accumulators"])
    for to in ("packed", "litert", "web"):
        assert f"{tmp_path} is a folder" in one_line(capsys, [str(folder), "--to", to, "--out", str(tmp_path)])
    out = tmp_path / "missing" / "file"
    assert str(tmp_path / "missing") in one_line(capsys, [str(folder), "--to", "packed", "--out", str(out)])
    assert not list(tmp_path.iterdir())


def stop(signum):
    """Stands in for os.fsync: the process gets a signal while the file is written."""
    return lambda handle: os.kill(os.getpid(), signum)


@pytest.mark.parametrize("to", ["litert", "litert-micro", "packed", "c", "onnx", "web"])
def test_sigterm_leaves_nothing(run, tmp_path, monkeypatch, to):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "fsync", stop(signal.SIGTERM))
    assert main([str(run[0]), "--to", to, "--out", str(tmp_path / "out")]) == 143
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_killed_export_left_is_removed_by_the_next(run, tmp_path, monkeypatch):
    """A temporary file of another export in the same folder, which may be at work, stays."""
    with monkeypatch.context() as killed:
        killed.setattr(os, "fsync", stop(signal.SIGTERM))
        killed.setattr(pathlib.Path, "unlink", lambda path, missing_ok=False: None)
        for name in ("out", "out-2"):
            assert main([str(run[0]), "--to", "packed", "--out", str(tmp_path / name)]) == 143
    assert len(list(tmp_path.iterdir())) == 2
    assert main([str(run[0]), "--to", "packed", "--out", str(tmp_path / "out")]) == 0
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left[1:] == ["out"]
    assert left[0].endswith("-out-2")


def test_a_sequential_is_exported_in_every_form(tmp_path):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnx")
    chain = [keras.Input((28, 28, 1), dtype="uint8"), layers.QRescaling(1 / 128, -1.0), keras.layers.Flatten()]
    model = write_run(tmp_path / "run", model=keras.Sequential([*chain, layers.QDense(10), layers.QError()]))
    for to in ("litert", "litert-micro", "packed", "c", "onnx"):
        assert main([str(tmp_path / "run"), "--to", to, "--out", str(tmp_path / to)]) == 0
    graph, card = export.read_packed(tmp_path / "packed")
    assert card.preprocessing == "raw uint8 pixels x, inside as x * 0.0078125 -1 rounded half to even"
    images = random_images((28, 28, 1), 4)
    assert (integer.infer(graph, images) == integer.infer(integer.freeze(model), images)).all()


def test_a_layer_without_a_node_is_named(tmp_path, capsys):
    image = keras.Input((28, 28, 1), dtype="uint8")
    x = keras.layers.UpSampling2D(name="odd")(layers.QRescaling(1 / 256)(image))
    write_run(tmp_path / "run", model=keras.Model(image, layers.QDense(10)(keras.layers.Flatten()(x))))
    message = one_line(capsys, [str(tmp_path / "run"), "--to", "packed"])
    assert "layer odd: UpSampling2D has no integer node; the kinds supported are QRescaling, QConv2D" in message
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_or_missing_model_is_one_line(tmp_path, capsys):
    """tests/runs/test_model_file.py tries every kind of damage."""
    write_run(tmp_path / "run")
    path = tmp_path / "run" / "model.keras"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "is damaged or not a Keras model" in one_line(capsys, [str(tmp_path / "run"), "--to", "packed"])
    path.unlink()
    assert "has no model.keras" in one_line(capsys, [str(tmp_path / "run"), "--to", "packed"])


def test_a_network_that_goes_on_learning(run, tmp_path, capsys):
    folder, _ = run
    device = ["--to", "c", "--train", "--batch-size", "4", "--train-from", "fc2", "--out", str(tmp_path / "c")]
    assert main([str(folder), *device, "--ram", "65536", "--flash", "262144", "--prefix", "net"]) == 0
    printed = capsys.readouterr().out
    for word in ("flash: ", "RAM: ", "stack", "MACs: ", "a training step of 4"):
        assert word in printed
    header = (tmp_path / "c" / "net_net.h").read_text()
    assert "#define NET_BATCH 4 " in header
    assert {path.name for path in (tmp_path / "c").iterdir()} == {
        *("net_net.h", "net_net.c", "net_train.h", "net_train.c", "net_update.c", "net_state.c", "net_integers.h"),
        *("main.c", "Makefile"),
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--to", "c", "--train", "--ram", "4096"], "bytes of RAM are needed"),
        (["--to", "c", "--train", "--train-from", "conv9"], "received 'conv9'"),
        (["--to", "c", "--train", "--batch-size", "0"], "batch: 1 to 32768 images; received 0"),
        (["--to", "c", "--batch-size", "2"], "belong to --train"),
        (["--to", "packed", "--train"], "belong to --to c"),
        (["--to", "packed", "--prefix", "net"], "prefix: only C has names"),
        (["--to", "c", "--prefix", "my net"], "received 'my net'"),
    ],
)
def test_a_device_that_cannot_is_one_line(run, tmp_path, capsys, arguments, words):
    assert words in one_line(capsys, [str(run[0]), *arguments, "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("flag", ["--ram", "--flash"])
def test_no_bytes_are_not_a_limit(flag, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["net.wage", "--to", "c", flag, "0"])
    assert stop.value.code == 2
    assert f"{flag}: an integer from 1" in capsys.readouterr().err


def test_every_form_is_made_from_a_packed_file_without_tensorflow(run, tmp_path):
    """And is the very file that another process makes of the run."""
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("onnx")
    folder, _ = run
    for form in FORMS:
        assert main([str(folder), "--to", form, "--out", str(tmp_path / f"keras.{form}")]) == 0
    packed = tmp_path / "source.wage"
    assert main([str(folder), "--to", "packed", "--out", str(packed), "--accumulators"]) == 0
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, packed, tmp_path / "packed", *FORMS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for form in FORMS:
        one, other = (tmp_path / f"{source}.{form}" for source in ("keras", "packed"))
        one, other = (path / "wage_net.c" if form == "c" else path for path in (one, other))
        assert one.read_bytes() == other.read_bytes(), form


def test_a_packed_file_with_accumulators_goes_on_learning(run, tmp_path, capsys):
    folder, _ = run
    packed = tmp_path / "m.wage"
    assert main([str(folder), "--to", "packed", "--out", str(packed), "--accumulators"]) == 0
    assert main([str(packed), "--to", "c", "--train", "--train-from", "fc2"]) == 0
    assert "a training step of 1" in capsys.readouterr().out
    assert (tmp_path / "m-c" / "wage_train.c").is_file()
    assert main([str(folder), "--to", "packed", "--out", str(packed)]) == 0
    capsys.readouterr()
    assert "a kernel without stored weights cannot be trained" in one_line(
        capsys, [str(packed), "--to", "c", "--train"]
    )
