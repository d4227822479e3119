"""What the site has beyond the pages of docs/: the home page, the reference, the tutorials, the equations as MathML.

A public name without a docstring, or without its place on a page of the reference, ends the build.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import textwrap
from html import unescape
from pathlib import Path

import griffe
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "wage_tf"
REPOSITORY = "https://github.com/wage-tf/wage_tf"
_COLAB = "https://colab.research.google.com/github"
_REFERENCE = "reference"
_COLUMNS, _LONGEST_LINE = 90, 112
_GENERATED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_COMMANDS = {
    "wage-train": ("python train.py", "wage_tf.cli.train"),
    "wage-tune": ("python tuner.py", "wage_tf.cli.tune"),
    "wage-export": ("python -m wage_tf.export", "wage_tf.export"),
    "wage-verify": ("python -m wage_tf.integer verify", "wage_tf.cli.verify"),
}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)]*)?(\))")
_NAMED = re.compile(r"\[(?:docs/)?(\w+\.md)\]\((\1(?:#[\w-]+)?)\)")
_CELL = re.compile(r"<(td|th)( [^>]*)?>([^<]*(?:<(?!/?(?:td|th|tr|table)\b)[^<]*)*)</\1>")
_SHORT, _MIDDLE, _LONG = 20, 30, 60
_TAG = re.compile(r"(<(?:pre|math|svg)\b.*?</(?:pre|math|svg)>|<[^>]*>)", re.DOTALL)
_OPTION, _BITS = r"--?[a-z][\w-]*", r"\w[\w.]*(?:-[\df][\df.]*){3}(?:-s\d+)?"
_DATE, _NAME = r"\d{4}-\d\d-\d\d", r"[A-Za-z]+-(?:\d{1,3}|[A-Z])"
_HYPHENATED = re.compile(rf"(?<![\w-])(?:{_OPTION}|{_BITS}|{_DATE}|{_NAME})(?![\w-])")
_CODE = re.compile(r"<pre.*?</pre>", re.DOTALL)
_UNREAD_TABLE = re.compile(r"\| -{3,} \|")
_DEFAULT = re.compile(r"(?:, default:\s*<code>\{\}</code>)?\s+\)(?=\s+–\s+<div class=\"doc-md-description\">)")
_MATH = re.compile(r'<(span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</\1>', re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts the pages of the reference into the navigation."""
    for section in config.nav:
        if section.get("Reference") == f"{_REFERENCE}/":
            modules = [{_title(page): f"{_REFERENCE}/{page}.md"} for page in _public_names()]
            section["Reference"] = [{"Commands": f"{_REFERENCE}/commands.md"}, *modules]
    return config


@event_priority(100)
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made of other files."""
    for source, page in _GENERATED.items():
        files.append(File.generated(config, page, content=_relinked((ROOT / source).read_text())))
    for page, names in _public_names().items():
        files.append(File.generated(config, f"{_REFERENCE}/{page}.md", content=_reference_page(page, names)))
    files.append(File.generated(config, f"{_REFERENCE}/commands.md", content=_commands_page()))
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        text = _notebook_page(json.loads(path.read_text()), path)
        files.append(File.generated(config, f"tutorials/{path.stem}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that say a file's name say the page's title."""

    def titled(match: re.Match) -> str:
        path = Path(config.docs_dir) / match[1]
        return f"[{path.read_text().splitlines()[0].lstrip('# ')}]({match[2]})" if path.exists() else match[0]

    return _NAMED.sub(titled, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Equations as MathML, which browsers draw by themselves; cells say how long they are, options what stays whole.

    Of a parameter goes the space before its bracket, and of **kwargs a default of {}, which no signature has.
    """
    if _UNREAD_TABLE.search(_CODE.sub("", html)):
        raise PluginError(f"{page.file.src_uri}: a table needs an empty line before it")
    return _unbroken(_CELL.sub(_cell, _MATH.sub(_mathml, _DEFAULT.sub(")", html))))


def on_post_build(config: MkDocsConfig) -> None:
    """Checks that every public name has its place, and a docstring that stands there."""
    missing = []
    for page, names in _public_names().items():
        html = (Path(config.site_dir) / _REFERENCE / f"{page}.html").read_text()
        missing += [name for name in names if not _stands_in(html, name)]
    if missing:
        raise PluginError(f"reference: no docstring, or no place on a page: {', '.join(missing)}")


def _stands_in(html: str, name: str) -> bool:
    """Whether a page has the name's heading, and text of its docstring before the next name."""
    _, found, rest = html.partition(f'id="{name}"')
    contents = rest.partition('<div class="doc doc-contents')[2].partition("</div>")[0]
    return bool(found) and "<p>" in re.sub(r'<p class="doc-class-bases">', "", contents)


def _mathml(match: re.Match) -> str:
    """An equation; a bar of |e| is no operator between two operands, which has room around it."""
    mathml = convert(unescape(match[3]), display="block" if match[2] == "[" else "inline")
    return re.sub(r"<mo( [^>]*)?>&#x0007C;</mo>", r'<mo\1 lspace="0" rspace="0">&#x0007C;</mo>', mathml)


def _cell(match: re.Match) -> str:
    """A cell of few characters stands in one line, one of many gets room: extra.css."""
    tag, attributes, content = match[1], match[2] or "", match[3]
    length = len(re.sub(r"<[^>]*>", "", content).strip())
    if length <= _SHORT:
        name = "short" if re.search(r"\d", content) else None
    else:
        name = "long" if length >= _LONG else "middle" if length >= _MIDDLE else None
    return f'<{tag}{attributes} data-length="{name}">{content}</{tag}>' if name else match[0]


def _unbroken(html: str) -> str:
    """Options, bit patterns, dates and LeNet-5, which a browser would break behind a hyphen, stay in one line."""
    pieces = _TAG.split(html)
    pieces[::2] = [_HYPHENATED.sub(r'<span class="unbroken">\g<0></span>', text) for text in pieces[::2]]
    return "".join(pieces)


def _relinked(text: str) -> str:
    """A page of the repository's root as one of docs/: links to other files lead to the page, or to the repository."""

    def target(match: re.Match) -> str:
        path, anchor = match[2], match[3] or ""
        if "://" in path:
            return match[0]
        if path.startswith("docs/"):
            path = path.removeprefix("docs/")
        elif path in _GENERATED:
            path = _GENERATED[path]
        else:
            path = f"{REPOSITORY}/blob/main/{path}"
        return f"{match[1]}{path}{anchor}{match[4]}"

    return _LINK.sub(target, text)


# The reference


@functools.cache
def _public_names() -> dict[str, list[str]]:
    """The public names of every public module, the package's own first; read from the source alone."""
    package = griffe.load(PACKAGE, search_paths=[ROOT], allow_inspection=False)
    modules, functions = {}, []
    for name in _exported(ROOT / PACKAGE / "__init__.py"):
        member = package.members[name]
        member = member.final_target if member.is_alias else member
        if member.is_module:
            modules[member.path] = member
        else:
            functions.append(f"{PACKAGE}.{name}")
    pages = {PACKAGE: functions}
    for path, module in modules.items():
        pages[path] = [f"{path}.{name}" for name in _names_of(module)]
    networks = _exported(ROOT / "models" / "__init__.py") or _defined(ROOT / "models" / "__init__.py")
    return {**pages, "models": [_path_of_network(name) for name in networks]}


def _path_of_network(name: str) -> str:
    """Where a builder is defined: `models.vgg7` is the function to Python, and the module to griffe."""
    return f"models.{name}.{name}" if _is_module(ROOT / "models" / "__init__.py", name) else f"models.{name}"


def _names_of(module: griffe.Module) -> list[str]:
    """What `__all__` names, submodules left out; without it all functions and classes that are defined there."""
    path = Path(module.filepath)
    exported = _exported(path)
    return [name for name in exported if not _is_module(path, name)] if exported else _defined(path)


def _is_module(package: Path, name: str) -> bool:
    return (package.parent / f"{name}.py").exists() or (package.parent / name).is_dir()


def _exported(path: Path) -> list[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return ast.literal_eval(node.value)
    return []


def _defined(path: Path) -> list[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    names = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, kinds)]
    return [name for name in names if not name.startswith("_")]


def _title(page: str) -> str:
    """models/ is installed as wage_tf.models."""
    return f"{PACKAGE}.models" if page == "models" else page


def _reference_page(page: str, names: list[str]) -> str:
    """A module's docstring, then its names."""
    head = f"# {_title(page)}\n\n::: {page}\n    options:\n      members: false\n      show_root_heading: false\n"
    head += "      show_root_toc_entry: false\n"
    return "\n".join([head, *(f"::: {name}\n" for name in names)])


def _commands_page() -> str:
    """What every command says with --help."""
    parts = ["# Commands"]
    for name, (script, module) in _COMMANDS.items():
        code = f"import runpy, sys; sys.argv = [{name!r}, '--help']; runpy.run_module({module!r}, run_name='__main__')"
        help_text = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": str(_COLUMNS)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        parts.append(f"## {name}\n\nIn a clone `{script}`.\n\n```text\n{_wrapped(help_text)}\n```")
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    """A text whose sentences are as long as a terminal's lines; an example stays in one, which has room."""
    return "\n".join(
        textwrap.fill(line, _COLUMNS, subsequent_indent="    ") if len(line) > _LONGEST_LINE else line
        for line in text.splitlines()
    )


# The tutorials


def _notebook_page(notebook: dict, path: Path) -> str:
    """A notebook with its outputs as Markdown."""
    parts = []
    for number, cell in enumerate(notebook["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts.append(f"```python\n{source}\n```")
            parts += [_output(output) for output in cell["outputs"]]
        if number == 0:
            file = f"/blob/main/tutorials/{path.name}"
            colab = f"{_COLAB}{REPOSITORY.removeprefix('https://github.com')}{file}"
            parts.append(f"[This page as a notebook]({REPOSITORY}{file}), [in Colab]({colab})")
    return "\n\n".join(part for part in parts if part)


def _output(output: dict) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        image = "".join(data["image/png"]).strip()
        return f"![What this code draws](data:image/png;base64,{image.replace(chr(10), '')})"
    text = "".join(data.get("text/plain", output.get("text", ""))).rstrip()
    return f'<div class="output" markdown>\n\n```text\n{text}\n```\n\n</div>' if text else ""
