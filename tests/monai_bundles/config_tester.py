"""What the files of every bundle must be, once; nothing is run here."""

from __future__ import annotations

import re
import shutil
from configparser import ConfigParser as SetupParser
from pathlib import Path
from typing import Any, ClassVar

from monai.bundle import ConfigParser, ReferenceResolver, verify_metadata
from packaging.requirements import Requirement

from tinylesions.monai_bundles import Bundle, find_bundle

from .configs import (
    all_ids,
    check_component,
    components,
    dead_ids,
    merge,
    properties_of,
    read_json,
    references,
    strings,
)

ROOT = Path(__file__).parents[2]
SCHEMA = Path(__file__).with_name("metadata_schema.json")
"""MONAI's published schema of 25 July 2024, so that no network is needed."""

COMMAND_LINE_ONLY = {"rich", "typer"}  # a bundle that MONAI runs does not import these
NAMED_BY_METADATA = {"monai", "numpy", "torch"}  # each has its own entry there

FOREIGN_PATH = re.compile(r"^(/|~|[A-Za-z]:[\\/])|(?<!\+ )'/|/home/|/Users/|\\\\")
"""A path from a drive's or the system's root, but for the part that is added to another path."""


class ConfigTester:
    """Subclasses give the bundle's name, and more configs that are used together."""

    name: str
    roads: ClassVar[dict[tuple[str, ...], str]] = {
        ("train",): "training",
        ("train", "evaluate"): "evaluate",
        ("inference",): "inference",
    }
    """Configs that are laid over each other → the id that runs them."""
    parts: ClassVar[set[str]] = set()
    """Ids that run a part of the training."""

    @property
    def bundle(self) -> Bundle:
        return find_bundle(self.name)

    @property
    def config_dir(self) -> Path:
        return self.bundle.root / "configs"

    def config_files(self) -> dict[str, dict[str, Any]]:
        return {path.name: read_json(path) for path in self.config_dir.glob("*.json") if path.stem != "metadata"}

    def merged(self, configs: tuple[str, ...]) -> dict[str, Any]:
        return merge(self.bundle.config_files(*configs)).get()

    def test_metadata_fits_monai_schema(self, tmp_path):
        metadata = self.config_dir / "metadata.json"
        assert read_json(metadata)["schema"].endswith("meta_schema_20240725.json")
        # MONAI downloads the schema where the file is missing, and takes the one that is there
        copy = shutil.copy(SCHEMA, tmp_path / "schema.json")
        verify_metadata(meta_file=str(metadata), filepath=str(copy))

    def test_metadata_names_the_version_and_the_classes(self):
        metadata = read_json(self.config_dir / "metadata.json")
        assert metadata["version"] in metadata["changelog"]
        data = metadata["network_data_format"]
        for tensor in (data["inputs"]["image"], data["outputs"]["pred"]):
            channels = tensor["channel_def"]
            assert list(channels) == [str(index) for index in range(tensor["num_channels"])]
        assert tuple(data["outputs"]["pred"]["channel_def"].values()) == self.bundle.classes

    def test_pins_are_the_tested_versions_for_python_3_10(self):
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
        oldest = {"python_version": "3.10", "python_full_version": "3.10.0"}
        tested = {
            requirement.name: str(requirement.specifier).removeprefix("==")
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate(oldest)
        }
        metadata = read_json(self.config_dir / "metadata.json")
        pins = {
            **metadata["required_packages_version"],
            "monai": metadata["monai_version"],
            "numpy": metadata["numpy_version"],
            "torch": metadata["pytorch_version"],
        }
        assert pins == {name: tested[name] for name in pins}

        setup = SetupParser()
        setup.read(ROOT / "setup.cfg", encoding="utf-8")
        needed = {Requirement(line).name for line in setup["options"]["install_requires"].split("\n") if line}
        assert metadata["required_packages_version"].keys() == needed - COMMAND_LINE_ONLY - NAMED_BY_METADATA

    def test_zoo_files_are_there(self):
        for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf"):
            text = (self.bundle.root / name).read_text(encoding="utf-8")
            assert text.strip(), name
            assert "{{" not in text, "a figure is still to be filled in"

    def test_targets_exist_and_take_their_arguments(self):
        found = [part for config in self.config_files().values() for part in components(config)]
        assert found
        for part in found:
            check_component(part)

    def test_references_lead_somewhere(self):
        for configs in self.roads:
            parser = merge(self.bundle.config_files(*configs))
            found = references(parser.get())
            assert found
            assert not [id for id in found if id not in parser], configs

    def test_nothing_is_dead(self):
        for configs, run_id in self.roads.items():
            shorter = [known for known in self.roads if known != configs and configs[: len(known)] == known]
            run_ids = {run_id, *(self.roads[known] for known in shorter), *self.parts}
            properties = properties_of("infer" if "inference" in configs else "train")
            # what a config was made for may lie idle where another is laid over it
            idle = {id for known in shorter for id in all_ids(self.merged(known))}
            assert dead_ids(self.merged(configs), run_ids, properties) - idle == set(), configs

    def test_presets_override_what_exists(self):
        for preset in self.bundle.presets:
            parser, overrides = merge(self.bundle.config_files("train")), read_json(self.config_dir / f"{preset}.json")
            assert not [id for id in overrides if id not in parser and not is_new_argument(id, parser)]
            for part in components(self.merged(("train", preset))):
                check_component(part)

    def test_paths_start_at_the_bundle(self):
        for name, config in self.config_files().items():
            assert config.get("bundle_root", ".") == ".", name
            assert not [(id, value) for id, value in strings(config) if FOREIGN_PATH.search(value)], name
        for configs in self.roads:
            assert self.merged(configs)["bundle_root"] == "."

    def test_run_ids(self):
        for configs, run_id in self.roads.items():
            config = self.merged(configs)
            assert isinstance(config["run"], list)
            assert config[run_id] == config["run"], "the Zoo runs `run`, people type the other"

    def test_training_and_inference_agree(self):
        train, inference = self.merged(("train",)), self.merged(("inference",))
        expected = image_transforms(inference["preprocessing"]["transforms"], inference)
        assert expected
        assert image_transforms(train["validate"]["preprocessing"]["transforms"], train) == expected
        trained_on = [*train["train"]["deterministic_transforms"], "@train#scaling"]
        if not any("Crop" in transform["_target_"] for transform in expected):
            # the mask that this adds changes no image where nothing is cropped by it
            expected = [item for item in expected if not item["_target_"].endswith(".FieldOfViewMaskd")]
        assert image_transforms(trained_on, train) == expected
        network = {key: value for key, value in train["network_def"].items() if key != "pretrained"}
        assert network == inference["network_def"]
        shared = {id.split("::")[0] for id in references([network, expected])} | {"network"}
        shared |= {"roi_size", "lesions"} & train.keys() & inference.keys()
        assert {id: train[id] for id in shared} == {id: inference[id] for id in shared}

    def test_evaluation_and_inference_stitch_alike(self):
        besides = ("progress", "explainer")  # they change no prediction
        evaluation, inference = self.merged(("train", "evaluate")), self.merged(("inference",))
        scored, written = (
            {key: resolve(value, config) for key, value in inferer.items() if key not in besides}
            for inferer, config in ((evaluation["validate"]["inferer"], evaluation), (inference["inferer"], inference))
        )
        assert scored == written


def is_new_argument(id: str, parser: ConfigParser) -> bool:
    """Whether an id is of a component, which takes arguments that the config leaves as they are."""
    component, _, argument = ReferenceResolver.normalize_id(id).rpartition("::")
    return argument.isidentifier() and component in parser and "_target_" in parser[component]


def resolve(value: Any, config: dict[str, Any]) -> Any:
    """Follow a plain reference to where it leads."""
    if isinstance(value, str) and value.startswith("@"):
        for key in ReferenceResolver.normalize_id(value)[1:].split("::"):
            config = config[key]
        return config
    return value


def image_transforms(transforms: list[Any], config: dict[str, Any]) -> list[dict[str, Any]]:
    """What happens to the image, whatever happens to labels beside it, without what only a training does."""
    found = []
    for item in transforms:
        transform = resolve(item, config)
        keys = transform["keys"] if isinstance(transform["keys"], list) else [transform["keys"]]
        if "image" in keys and not re.search(r"(^|\.)Rand|Patches", transform["_target_"]):
            found.append({**transform, "keys": "image"})
    return found
