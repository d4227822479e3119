"""A headless Chromium, pages opened in it, and what the tests read of the network in such a page."""

import base64
import contextlib
import shutil
import time
from fractions import Fraction

import numpy as np

CHROMIUM = shutil.which("chromium")
TIMEOUT = 120_000
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")

_TO_PYTHON = """(array) => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    return [array.constructor.name, btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))];
}"""


@contextlib.contextmanager
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=TIMEOUT)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page that was exported, opened from its file.

    Attributes:
        page: Playwright's page.
        requests: The addresses that it asked for.
        problems: Uncaught errors and what it wrote to the console.
    """

    def __init__(self, browser, path, **options):
        self._context = browser.new_context(**options)
        self._context.set_default_timeout(TIMEOUT)
        self.page = self._context.new_page()
        self.requests, self.problems = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.goto(path.as_uri())
        self.wait("window.wage || !document.getElementById('problem').hidden")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._context.close()

    def wait(self, condition):
        """Asks again and again; Playwright's own waiting is evaluated by the page, whose policy forbids that."""
        deadline = time.monotonic() + TIMEOUT / 1000
        while not self.page.evaluate(condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition)
            self.page.wait_for_timeout(20)

    def draw(self, points):
        """A stroke of the mouse through points given as shares of the canvas's width and height."""
        box = self.page.locator("#image").bounding_box()
        first, *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*first)
        self.page.mouse.down()
        for point in others:
            self.page.mouse.move(*point, steps=5)
        self.page.mouse.up()

    def shown(self):
        """Waits until what was drawn is shown."""
        self.wait("!wage.page.waiting")

    def learn(self, label, log2_rate):
        """Gives the image its label by mouse and keyboard, and makes one step."""
        self.page.check(f'input[name="label"][value="{label}"]', force=True)
        self.page.select_option("#rate", label=str(Fraction(2) ** log2_rate))
        self.page.press("#step", "Enter")

    def arrays(self, expression):
        """The typed arrays of a script's list, as NumPy arrays."""
        found = self.page.evaluate(f"({expression}).map({_TO_PYTHON})")
        kinds = [kind.removesuffix("Array").lower().replace("big", "") for kind, _ in found]
        return [np.frombuffer(base64.b64decode(text), kind) for kind, (_, text) in zip(kinds, found, strict=True)]

    def pixels(self, shape):
        (pixels,) = self.arrays("[wage.page.drawing.pixels]")
        return pixels.reshape(shape)

    def examples(self, shape):
        """Images and labels of the drawn examples."""
        images = self.arrays("wage.page.examples.all.map(({ pixels }) => pixels)")
        labels = self.page.evaluate("wage.page.examples.all.map(({ label }) => label)")
        return np.array(images).reshape(-1, *shape), np.array(labels)

    def infer(self, images):
        self._hand_over(images)
        return np.array(self.arrays("wage.network.infer(handed)")).astype(np.int64)

    def train(self, images, labels, log2_eta):
        self._hand_over(images)
        self.page.evaluate(f"void wage.network.learn(handed, {labels.tolist()}, {log2_eta})")

    def _hand_over(self, images):
        text = [base64.b64encode(image.tobytes()).decode() for image in images]
        decoded = "Uint8Array.from(atob(text), (character) => character.charCodeAt(0))"
        self.page.evaluate(f"(texts) => void (globalThis.handed = texts.map((text) => {decoded}))", text)

    def assert_parameters_equal(self, graph):
        """The codes and the stored weights of every parameter are those of the graph."""
        names = self.page.evaluate("wage.network.plan.parameters.map(({ name }) => name)")
        assert names == list(graph.parameters)
        for kind in ("codes", "stored"):
            found = self.arrays(f"wage.network.plan.parameters.map(({{ name }}) => wage.network.{kind}(name))")
            for (name, parameter), actual in zip(graph.parameters.items(), found, strict=True):
                expected = getattr(parameter, "accumulators", parameter.codes) if kind == "stored" else parameter.codes
                assert np.array_equal(actual, expected.reshape(-1)), f"{name}: {kind}"
