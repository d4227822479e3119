"""The house: the library does not know the application, and imports run one way, in the order of CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRONT_DOORS = ("wage_tf.export.__main__", "wage_tf.integer.__main__")
OF_COMMANDS = ("argparse", "getopt", "optparse", "click")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def modules():
    """Every module of the package with its file; models/ is installed as wage_tf.models."""
    found = {}
    for folder, package in ((ROOT / "wage_tf", "wage_tf"), (ROOT / "models", "wage_tf.models")):
        for path in sorted(folder.rglob("*.py")):
            words = [package, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(words[:-1] if words[-1] == "__init__" else words)] = path
    return found


MODULES = modules()


def rooms_in_order():
    """The rooms of the library and of the application, each a list of steps that hold one or more rooms."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    chains = [" ".join(chain.split()) for chain in re.findall(r"^    ([a-z_, \n]+ → [^`#|]+?)\n\n", text, re.MULTILINE)]
    library, application = ([step.split(", ") for step in chain.split(" → ")] for chain in chains)
    return library, application


LIBRARY, APPLICATION = rooms_in_order()
POSITION = {room: place for place, step in enumerate([*LIBRARY, *APPLICATION]) for room in step}


def room_of(module):
    """The file or folder of wage_tf in which a module is."""
    return module.split(".")[1] if "." in module else "wage_tf"


def is_library(module):
    return module not in FRONT_DOORS and any(room_of(module) in step for step in LIBRARY)


def type_checking(tree):
    """The nodes that only a type checker reads."""
    blocks = (n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")
    return {id(node) for block in blocks for node in ast.walk(block)}


def base_of(node, module, is_package):
    """What `from ... import` is from, its dots resolved."""
    if not node.level:
        return node.module
    words = module.split(".")[: None if is_package else -1]
    words = words[: len(words) - node.level + 1]
    return ".".join([*words, *([node.module] if node.module else [])])


def imports(module):
    """The modules that a module imports, at its top or within functions, with their full names."""
    path = MODULES[module]
    tree = ast.parse(path.read_text())
    unread = type_checking(tree)
    found = set()
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = base_of(node, module, path.name == "__init__.py")
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) | ({base} if names - MODULES.keys() else set())
    return found


def strings(path):
    """Every string of a file with its line, docstrings left out."""
    tree = ast.parse(path.read_text())
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, owners) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def test_every_room_has_its_place():
    rooms = {room_of(module) for module in MODULES} - {"wage_tf", "_program"}
    assert rooms == POSITION.keys(), "a new room takes its place in the order of CONTRIBUTING.md"


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) not in ("wage_tf", "_program")])
def test_a_file_imports_only_from_rooms_before_its_own(module):
    own = POSITION[room_of(module)]
    known = [name for name in imports(module) if name in MODULES and room_of(name) in POSITION]
    if module in FRONT_DOORS:
        assert {room_of(name) for name in known} == {"cli"}
        return
    later = sorted(name for name in known if POSITION[room_of(name)] > own)
    assert not later, f"{module} imports {later}, whose rooms come after its own"


def test_the_package_imports_the_library_alone():
    assert {room for room in map(room_of, imports("wage_tf")) if room in POSITION} <= {
        room for step in LIBRARY for room in step
    }


@pytest.mark.parametrize("module", [module for module in MODULES if is_library(module)])
def test_the_library_parses_no_arguments_prints_nothing_and_names_no_flag(module):
    path = MODULES[module]
    tree = ast.parse(path.read_text())
    assert not {name for name in imports(module) if name.split(".")[0] in OF_COMMANDS}
    names = [node for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute))]
    words = {getattr(node, "id", None) or f"{getattr(node.value, 'id', '')}.{node.attr}" for node in names}
    assert not words & {"sys.argv", "sys.orig_argv", "sys.stdout", "sys.stderr", "print"}
    flags = [(line, text) for line, text in strings(path) if FLAG.search(text)]
    assert not flags, f"{path}: the library names arguments, not flags of a command line"


def test_a_flag_and_an_import_are_seen(tmp_path):
    """What the tests above look for is found where it is."""
    path = tmp_path / "sample.py"
    path.write_text('"""Not --this."""\nx = f"give a smaller --image-size"\n')
    assert [line for line, text in strings(path) if FLAG.search(text)] == [2]
    assert "wage_tf.search.best" in imports("wage_tf.cli.training")
    assert "wage_tf.models.blocks" in imports("wage_tf.models.vgg7")
