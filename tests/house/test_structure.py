"""What keeps the tree readable: sizes, and one meaning for each name."""

import ast
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests import servers

APPS = ("accounts", "billing", "images", "inference", "ecohash")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MOST_MODULES = 12
# Django finds a command by its file; each class in one is a Command.
SAME_BY_CONVENTION = {"Command"}


def tracked(*patterns: str) -> list[str]:
    """The paths in the repository that match, whether committed yet or not."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(words, cwd=servers.ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this copy of the source is no git checkout")
    return [path for path in listed.stdout.splitlines() if (servers.ROOT / path).is_file()]


@cache
def modules(*folders: str) -> dict[str, ast.Module]:
    """Path and syntax tree of each module in these folders but migrations."""
    paths = tracked(*(f"{folder}/**.py" for folder in folders))
    assert len(paths) > 20
    return {
        path: ast.parse((servers.ROOT / path).read_text())
        for path in paths
        if "/migrations/" not in path
    }


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_file_of_the_product_is_too_long() -> None:
    lengths = {
        path: len((servers.ROOT / path).read_text().splitlines())
        for path in modules(*APPS, "tools")
        if "/tests/" not in path
    }
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_of_the_product_is_too_long() -> None:
    found = {
        f"{path}:{function.lineno} {function.name}": function.end_lineno - function.lineno + 1
        for path, tree in modules(*APPS, "tools").items()
        for function in functions(tree)
        if function.end_lineno
    }
    assert {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION} == {}


def test_no_folder_of_the_product_is_too_full() -> None:
    in_folder = Counter(
        str(Path(path).parent)
        for path in modules(*APPS, "tools")
        if not path.endswith("__init__.py") and "/tests" not in path
    )
    assert {folder: n for folder, n in in_folder.items() if n > MOST_MODULES} == {}


def test_a_class_name_means_one_thing() -> None:
    """Else a reader has to know the module, and a module that uses both has to rename one."""
    defined = defaultdict(list)
    for path, tree in modules(*APPS).items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(path)
    twice = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert {name: twice[name] for name in twice.keys() - SAME_BY_CONVENTION} == {}
