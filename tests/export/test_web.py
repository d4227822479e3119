"""The web page in a headless Chromium: drawn on, classifying and learning, it ends in the Python engine's weights."""

import io
import pathlib
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from support.browsing import CHROMIUM, Tab, chromium
from support.drawn_networks import network as drawn_network
from support.images import random_images
from support.networks import frozen
from wage_tf import export, integer
from wage_tf.errors import UserError
from wage_tf.export import web

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULE = ROOT / "wage_tf" / "export" / "web" / "wage.wasm"
CARD = export.Card("net", "2-8-8-8", "a table", ())
SEVEN = [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)]
ONE = [(0.5, 0.2), (0.5, 0.8)]

pytest.importorskip("playwright", reason="needs playwright")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def lenet5():
    return frozen("lenet5", "2-8-8-8", (28, 28, 1), 0.25)


def written(folder, graph, card=CARD, module=None):
    path = folder / "page.html"
    path.write_bytes(web.page(graph, card, module or MODULE.read_bytes()))
    return path


@pytest.fixture(scope="module")
def lenet5_page(lenet5, tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), lenet5)


def test_it_is_drawn_on_classifies_and_learns_to_the_very_weights_of_the_engine(browser, lenet5, lenet5_page):
    graph = lenet5
    with Tab(browser, lenet5_page) as tab:
        tab.assert_parameters_equal(graph)
        for step, (stroke, label, rate) in enumerate([(SEVEN, 7, 3), (ONE, 1, 0), (SEVEN, 7, -2)]):
            tab.page.click("#clear")
            tab.draw(stroke)
            tab.shown()
            image = tab.pixels((1, 28, 28, 1))
            assert image.max() == 255
            assert_shown(tab, integer.forward(graph, image), graph)
            tab.learn(label, rate)
            images, labels = tab.examples((28, 28, 1))
            assert labels.tolist() == [7, 1, 7][: step + 1]
            assert np.array_equal(images[-1:], image)
            before, graph = graph, integer.train_step(graph, images, labels, rate, 0, step)
            assert_told(tab, before, graph, images, labels, step + 1)
            tab.assert_parameters_equal(graph)
            assert_shown(tab, integer.forward(graph, image), graph)
        tab.page.uncheck("#replay")
        tab.learn(7, 1)
        graph = integer.train_step(graph, images[-1:], labels[-1:], 1, 0, 3)
        tab.assert_parameters_equal(graph)
        tab.page.click("#restore")
        tab.assert_parameters_equal(lenet5)
        assert tab.problems == []


def assert_shown(tab, outputs, graph):
    """Scores and activations are the engine's, on the page and in the network's memory."""
    scores = outputs[graph.nodes[-1].name].codes[0]
    assert [int(text) for text in tab.page.locator("#scores .code").all_inner_texts()] == scores.tolist()
    assert tab.page.inner_text("#verdict") == f"It says {scores.argmax()}, with code {scores.max()}."
    shown = tab.page.locator("#activations b").all_inner_texts()
    assert len(shown) == 5
    values = tab.arrays("wage.network.plan.activations.map((tensor) => wage.network.values(tensor))")
    for name, codes in zip(shown, values, strict=True):
        assert np.array_equal(codes, outputs[name].codes.reshape(-1)), name


def assert_told(tab, before, after, images, labels, step):
    """What the page says about a step: how many weights flipped, how many examples are wrong."""
    flips = sum(int((after.kernels[name].codes != kernel.codes).sum()) for name, kernel in before.kernels.items())
    wrong = int((integer.infer(after, images).argmax(1) != labels).sum())
    told = tab.page.inner_text("#outcome")
    assert told.startswith(f"Step {step}, on {len(images)} image")
    assert f" {flips:,} of {sum(kernel.codes.size for kernel in after.kernels.values()):,} weights flipped." in told
    assert tab.page.inner_text("#error").startswith(f": {wrong} of {len(images)} wrong")
    assert tab.page.locator("#examples .wrong").count() == wrong


NETWORKS = {
    "colour": ("vgg7", "2-8-8-8", (32, 32, 3), 0.05),
    "binary weights": ("mlp", "1-8-8-8", (9, 9, 1), 0.1),
    "sums of 64 bits": ("lenet5", "3-12-16-9", (16, 16, 1), 0.1),
    "branches": ("resnet8", "2-8-8-8", (16, 16, 3), 0.25),
}


def assert_trains(tab, graph, steps=2, count=3):
    """Inference and steps of the page's network beside the engine's."""
    classes = graph.output.shape[0]
    for step in range(steps):
        images, labels = random_images(graph.input_shape, count, seed=step), (np.arange(count) + step) % classes
        assert np.array_equal(tab.infer(images), integer.infer(graph, images))
        tab.train(images, labels, 3)
        graph = integer.train_step(graph, images, labels, 3, 0, step)
        tab.assert_parameters_equal(graph)
    assert tab.problems == []


@pytest.mark.parametrize("name", NETWORKS)
def test_other_networks(browser, tmp_path, name):
    graph = frozen(*NETWORKS[name])
    with Tab(browser, written(tmp_path, graph)) as tab:
        assert_trains(tab, graph)


@given(st.data())
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_drawn_networks(browser, tmp_path, data):
    """Of every kind of node, on images smaller than those that anybody would draw."""
    graph = integer.freeze(drawn_network(data))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "_SIDES", range(4, 9))
        patch.setattr(web, "_CHANNELS", (1, 2))
        path = written(tmp_path, graph)
    with Tab(browser, path) as tab:
        assert_trains(tab, graph)


@pytest.mark.skipif(not all(map(shutil.which, ("clang", "wasm-ld", "make"))), reason="needs clang, lld and make")
def test_the_module_that_is_shipped_behaves_as_one_built_from_the_sources(browser, lenet5, tmp_path):
    module = tmp_path / "wage.wasm"
    subprocess.run(["make", "--silent", "wasm", f"WASM={module}"], cwd=ROOT, check=True, timeout=300)
    for name, graph in (("lenet5", lenet5), ("wide", frozen(*NETWORKS["sums of 64 bits"]))):
        folder = tmp_path / name
        folder.mkdir()
        with Tab(browser, written(folder, graph, module=module.read_bytes())) as tab:
            assert_trains(tab, graph)


def test_it_asks_for_nothing_and_may_not(browser, lenet5_page):
    with Tab(browser, lenet5_page) as tab:
        script = """new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
            fetch("http://127.0.0.1:9/").catch(() => {});
        })"""
        assert tab.page.evaluate(script) == "connect-src"
        assert [url for url in tab.requests if not url.startswith("data:")] == [lenet5_page.as_uri()]


def test_by_keyboard(browser, lenet5_page):
    with Tab(browser, lenet5_page) as tab:
        tab.page.focus("#image")
        for key in (" ", *["ArrowDown"] * 6, " ", "ArrowRight", "ArrowRight"):
            tab.page.keyboard.press(key)
        tab.shown()
        image = tab.pixels((28, 28))
        assert (image[14:21, 14] == 255).all()
        assert image[:, 17:].max() == 0
        assert tab.page.is_disabled("#step")
        tab.page.focus('input[name="label"][value="0"]')
        tab.page.keyboard.press("ArrowRight")
        tab.page.keyboard.press("Enter")
        assert tab.examples((28, 28))[1].tolist() == [1]
        assert tab.page.inner_text("#outcome").startswith("Step 1, on 1 image:")
        tab.page.focus("#image")
        tab.page.keyboard.press("Delete")
        tab.shown()
        assert tab.page.inner_text("#verdict") == "Nothing drawn yet."


def png(image):
    content = io.BytesIO()
    Image.fromarray(image.squeeze()).save(content, "png")
    return content.getvalue()


def test_an_image_file_of_the_networks_size_comes_in_pixel_by_pixel(browser, lenet5_page):
    (image,) = random_images((28, 28, 1), 1)
    with Tab(browser, lenet5_page) as tab:
        tab.page.set_input_files("#file", {"name": "7.png", "mimeType": "image/png", "buffer": png(image)})
        tab.wait("!wage.page.drawing.isEmpty")
        assert np.array_equal(tab.pixels((28, 28, 1)), image)
        tab.page.set_input_files("#file", {"name": "not.png", "mimeType": "image/png", "buffer": b"no image"})
        tab.wait("document.getElementById('verdict').textContent.includes('not.png is no image')")


def test_a_colour_image_is_dropped(browser, tmp_path):
    graph = frozen(*NETWORKS["colour"])
    (image,) = random_images((32, 32, 3), 1)
    with Tab(browser, written(tmp_path, graph)) as tab:
        tab.draw(SEVEN)
        assert tab.page.evaluate("wage.page.drawing.isEmpty")
        script = """(bytes) => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([new Uint8Array(bytes)], "frog.png", { type: "image/png" }));
            document.querySelector(".paper").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
        }"""
        tab.page.evaluate(script, list(png(image)))
        tab.wait("!wage.page.drawing.isEmpty")
        assert np.array_equal(tab.pixels((32, 32, 3)), image)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser, lenet5_page, scheme):
    with Tab(browser, lenet5_page, viewport={"width": 360, "height": 740}, color_scheme=scheme) as tab:
        tab.draw(SEVEN)
        tab.shown()
        tab.learn(7, 0)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 360


def test_names_are_text(browser, lenet5, tmp_path):
    labels = ("</script><script>alert(1)</script>", *"123456789")
    card = export.Card("<b>net</b> & $co", "2-8-8-8", "a <i>table</i>", labels)
    with Tab(browser, written(tmp_path, lenet5, card)) as tab:
        assert tab.page.inner_text("h1") == "<b>net</b> & $co"
        assert tab.page.locator("#scores .name").first.inner_text() == labels[0]
        assert tab.problems == []


@pytest.mark.parametrize(
    ("name", "bits", "shape", "reason"),
    [
        ("mlp", "2-8-8-8", (67, 63, 3), "images of 8 to 64 pixels a side"),
        ("mlp", "2-8-8-8", (9, 9, 2), "received images of shape (9, 9, 2)"),
        ("mlp", "2-8-f-f", (9, 9, 1), "not all operands are integers"),
    ],
)
def test_what_the_page_cannot_show_or_train_is_refused_by_name(tmp_path, name, bits, shape, reason):
    with pytest.raises(UserError) as refusal:
        export.write_web(tmp_path / "page.html", frozen(name, bits, shape, 0.05), CARD)
    assert reason in str(refusal.value)
    assert not list(tmp_path.iterdir())
