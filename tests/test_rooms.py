"""Nothing imports upward: each room of the package knows only the rooms below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED = {
    "datasets": {"datasets"},
    "networks": {"networks", "datasets.errors", "datasets.atomic"},
    "losses": {"losses", "datasets.errors"},
    "metrics": {"metrics"},
    "transforms": {"transforms", "datasets"},
    "inferers": {"inferers"},
    "handlers": {"handlers", "metrics", "transforms", "networks", "datasets"},
    "monai_bundles": {"monai_bundles", "datasets.errors", "datasets.lesions", "datasets.nuclei"},
}
"""What of the package a room may import; apps may import everything."""

WITHOUT_TORCH = ("datasets", "monai_bundles")
LEARNING = {"torch", "monai", "ignite", "torchvision"}


def rooms() -> list[str]:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["package_dir"].split("\n")
    folders = {line.split("=")[1].strip().split("/")[0] for line in lines if line}
    return sorted(folders - {"tinylesions"})


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Full names of what a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = module.split(".")[: None if is_package and node.level == 1 else is_package - node.level]
                base = ".".join([*package, *([node.module] if node.module else [])])
            else:
                base = str(node.module)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imports_of(room: str) -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / room).rglob("*.py")):
        parts = ["tinylesions", *path.relative_to(ROOT).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        for name in imports(path.read_text(encoding="utf-8"), module, is_package):
            yield path.relative_to(ROOT).as_posix(), name


def below(name: str, places: set[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def test_every_room_has_a_rule():
    assert set(rooms()) - {"apps"} <= set(ALLOWED)
    assert len(rooms()) >= 8


@pytest.mark.parametrize("room", sorted(set(rooms()) - {"apps"}))
def test_imports_of_the_package(room):
    found = list(imports_of(room))
    assert found
    # the package's own version may be asked for anywhere
    allowed = {f"tinylesions.{place}" for place in ALLOWED[room]} | {"tinylesions.__version__"}
    wrong = [(file, name) for file, name in found if below(name, {"tinylesions"}) and not below(name, allowed)]
    assert not wrong


@pytest.mark.parametrize("room", WITHOUT_TORCH)
def test_no_torch(room):
    assert not [(file, name) for file, name in imports_of(room) if below(name, LEARNING)]


@pytest.mark.parametrize(
    "module", ["tinylesions.datasets", "tinylesions.datasets.phantoms", "tinylesions.monai_bundles"]
)
def test_importing_does_not_load_torch(module):
    code = f"import {module}, sys; print(*sorted({LEARNING!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.returncode, answer.stdout.strip()) == (0, ""), answer.stderr


def test_imports_are_found_in_every_form():
    source = (
        "import a.b\nfrom c import d\ndef f():\n    from . import e\n    from ..g import h as i\n    from .j import k\n"
    )
    assert list(imports(source, "p.q.r")) == ["a.b", "c.d", "p.q.e", "p.g.h", "p.q.j.k"]
    assert list(imports(source, "p.q", is_package=True)) == ["a.b", "c.d", "p.q.e", "p.g.h", "p.q.j.k"]
    assert below("x.y.z", {"x.y"})
    assert not below("x.yz", {"x.y"})
