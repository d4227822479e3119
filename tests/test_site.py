"""What the site's hooks make of the repository's files, and that their check of the reference can fail."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

HOOKS = Path(__file__).parents[1] / "docs" / "theme" / "hooks.py"


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("hooks", HOOKS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_module_has_a_page(hooks):
    pages = hooks._public_names()
    assert {"wage_tf", "wage_tf.layers", "wage_tf.integer", "wage_tf.export", "wage_tf.zoo", "models"} <= pages.keys()
    assert "wage_tf.quantize_model" in pages["wage_tf"]
    assert "wage_tf.layers.QConv2D" in pages["wage_tf.layers"]
    assert "wage_tf.integer.Trainer" in pages["wage_tf.integer"]
    assert "wage_tf.ops.quantize" in pages["wage_tf.ops"]


def test_a_name_without_a_docstring_or_a_place_is_missed(hooks):
    head, contents = '<h2 id="wage_tf.f">f</h2>', '<div class="doc doc-contents ">'
    assert hooks._stands_in(f"{head}{contents}<p>Says it.</p></div>", "wage_tf.f")
    assert not hooks._stands_in(f"{head}{contents}</div>", "wage_tf.f")
    assert not hooks._stands_in(f'{head}{contents}<p class="doc-class-bases">Bases</p></div>', "wage_tf.f")
    assert not hooks._stands_in(f"{head}{contents}<p>Says it.</p></div>", "wage_tf.g")


def test_links_of_the_readme_lead_to_pages_or_to_the_repository(hooks):
    text = "[a](docs/search.md#x) ![b](docs/images/c.png) [d](CONTRIBUTING.md) [e](setup.py) [f](https://keras.io)"
    assert hooks._relinked(text) == (
        f"[a](search.md#x) ![b](images/c.png) [d](contributing.md) [e]({hooks.REPOSITORY}/blob/main/setup.py) "
        "[f](https://keras.io)"
    )


def test_equations_become_mathml(hooks):
    html = hooks.on_page_content(r'<p><span class="arithmatex">\(a &lt; b\)</span></p>', None, None, None)
    assert html.startswith("<p><math")
    assert "arithmatex" not in html
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">' in html
    assert "<mo>&#x0003C;</mo>" in html
    bars = hooks.on_page_content(r'<span class="arithmatex">\(\max|e| + \frac{1}{|e|}\)</span>', None, None, None)
    assert bars.count("&#x0007C;") == bars.count(' lspace="0" rspace="0">&#x0007C;</mo>') == 4


def test_further_arguments_have_no_default(hooks):
    end = '\n          –\n          <div class="doc-md-description">'
    default = "(<code>int</code>, default:\n                  <code>{}</code>\n)"
    assert hooks.on_page_content(default.format("2") + end, None, None, None) == default.format("2")[:-2] + ")" + end
    assert hooks.on_page_content(default.format("{}") + end, None, None, None) == "(<code>int</code>)" + end


def test_cells_say_the_length_of_their_text(hooks):
    row = f'<tr><td style="a"><code>8.06 M</code></td><td>yes</td><th>{"word " * 13}</th></tr>'
    assert hooks.on_page_content(row, None, None, None) == row.replace(
        '<td style="a">', '<td style="a" data-length="short">'
    ).replace("<th>", '<th data-length="long">')


def test_options_bit_patterns_dates_and_names_stay_in_one_line(hooks):
    html = (
        '<p title="--a-b">Take <code>x.py --batch-size 8</code> at 2-8-f-f, '
        "8.2-8-8-8 or a-b-c-d of r/2-8-8-8-s0, 2026-11-24, LeNet-5 a one-way.</p><pre>--to</pre>"
    )
    whole = '<span class="unbroken">{}</span>'.format
    assert hooks.on_page_content(html, None, None, None) == (
        f'<p title="--a-b">Take <code>x.py {whole("--batch-size")} 8</code> at {whole("2-8-f-f")}, '
        f"{whole('8.2-8-8-8')} or a-b-c-d of r/{whole('2-8-8-8-s0')}, {whole('2026-11-24')}, "
        f"{whole('LeNet-5')} a one-way.</p><pre>--to</pre>"
    )


def test_a_table_that_is_read_as_text_ends_the_build(hooks):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    with pytest.raises(hooks.PluginError, match=r"a\.md: a table needs an empty line before it"):
        hooks.on_page_content("<p>Text\n| a | b |\n| --- | --- |</p>", page, None, None)
    code = "<pre><code>| --- |</code></pre>"
    assert hooks.on_page_content(code, page, None, None) == code


def test_a_notebook_is_a_page_with_its_outputs(hooks):
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "source": ["print(1)"], "outputs": [{"output_type": "stream", "text": ["1\n"]}]},
        {"cell_type": "code", "source": ["plot()"], "outputs": [{"data": {"image/png": "QUJD\n"}}]},
    ]
    page = hooks._notebook_page({"cells": cells}, Path("tutorials/x.ipynb"))
    assert page.startswith("# Title\ntext\n\n[This page as a notebook]")
    assert "(https://colab.research.google.com/github/wage-tf/wage_tf/blob/main/tutorials/x.ipynb)" in page
    assert "```python\nprint(1)\n```" in page
    assert "```text\n1\n```" in page
    assert "![What this code draws](data:image/png;base64,QUJD)" in page
