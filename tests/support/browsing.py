"""A headless Chromium, pages opened in it, and what the tests read of the network in such a page."""

import contextlib
import shutil
import time
from fractions import Fraction

import numpy as np

CHROMIUM = shutil.which("chromium")
TIMEOUT = 120_000
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


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

    def pixels(self, shape):
        return np.array(self.page.evaluate("Array.from(wage.page.drawing.pixels)"), np.uint8).reshape(shape)

    def examples(self, shape):
        """Images and labels of the drawn examples."""
        found = self.page.evaluate("wage.page.examples.all.map(({ pixels, label }) => [Array.from(pixels), label])")
        images = np.array([pixels for pixels, _ in found], np.uint8)
        return images.reshape(-1, *shape), np.array([label for _, label in found])

    def infer(self, images):
        flat = images.reshape(len(images), -1).tolist()
        return np.array(self.page.evaluate("images => wage.network.infer(images).map((scores) => [...scores])", flat))

    def train(self, images, labels, log2_eta):
        flat = images.reshape(len(images), -1).tolist()
        self.page.evaluate(
            "([images, labels, rate]) => void wage.network.learn(images, labels, rate)",
            [flat, labels.tolist(), log2_eta],
        )

    def assert_parameters_equal(self, graph):
        """The codes and the stored weights of every parameter are those of the graph."""
        for name, parameter in graph.parameters.items():
            stored = getattr(parameter, "accumulators", parameter.codes)
            for kind, expected in (("codes", parameter.codes), ("stored", stored)):
                script = "([kind, name]) => Array.from(wage.network[kind](name), Number)"
                actual = np.array(self.page.evaluate(script, [kind, name]))
                assert np.array_equal(actual, expected.reshape(-1)), f"{name}: {kind}"
