"""Reads a bundle's configs as they are written, without building anything."""

from __future__ import annotations

import inspect
import json
import pydoc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monai.bundle import ConfigComponent, ConfigParser, ReferenceResolver
from monai.bundle.properties import InferProperties, MetaProperties, TrainProperties
from monai.utils import BundlePropertyConfig

ENTRY_POINTS = {"imports", "initialize", "run", "finalize"}


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def merge(files: list[str]) -> ConfigParser:
    """The configs as MONAI lays them over each other."""
    parser = ConfigParser()
    parser.read_config(files)
    parser.resolve_macro_and_relative_ids()
    return parser


def strings(config: Any, id: str = "") -> Iterator[tuple[str, str]]:
    """(id, value) of every string in a config."""
    if isinstance(config, str):
        yield id, config
    for key, value in (
        config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    ):
        yield from strings(value, f"{id}::{key}".removeprefix("::"))


def components(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of a config that names a class or function."""
    if isinstance(config, dict) and "_target_" in config:
        yield config
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from components(value)


def check_component(component: dict[str, Any]) -> None:
    """Find a component's class or function and bind its arguments, without calling it."""
    parsed = ConfigComponent(component, locator=ConfigParser().locator)
    target = pydoc.locate(parsed.resolve_module_name())
    assert callable(target), f"{component['_target_']} is nowhere"
    signature = inspect.signature(target)
    bind = signature.bind_partial if component.get("_mode_") == "callable" else signature.bind
    bind(**parsed.resolve_args())


def references(config: Any) -> set[str]:
    """The ids that a config refers to."""
    return {id for _, value in strings(config) for id in ReferenceResolver.match_refs_pattern(value)}


def _related(id: str, other: str) -> bool:
    """Whether one id is the other, holds it, or lies in it."""
    return f"{id}::".startswith(f"{other}::") or f"{other}::".startswith(f"{id}::")


def all_ids(config: dict[str, Any]) -> list[str]:
    """The ids of the top level and of its sections."""
    sections = {key: value for key, value in config.items() if isinstance(value, dict) and "_target_" not in value}
    return [*config, *(f"{key}::{inner}" for key, section in sections.items() for inner in section)]


def dead_ids(config: dict[str, Any], run_ids: set[str], properties: dict[str, Any]) -> set[str]:
    """The ids that nothing refers to and that MONAI does not ask for."""
    known = {ReferenceResolver.normalize_id(item[BundlePropertyConfig.ID]) for item in properties.values()}
    alive = references(config) | known | run_ids | ENTRY_POINTS
    return {id for id in all_ids(config) if not any(_related(id, other) for other in alive)}


def properties_of(workflow_type: str) -> dict[str, Any]:
    return {**(TrainProperties if workflow_type == "train" else InferProperties), **MetaProperties}
