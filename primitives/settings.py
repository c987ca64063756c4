"""Where the data files are: configuration as it was shipped, in a checkout or in a wheel."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any


@cache
def configs_dir() -> Path:
    """The folder of default.yaml, taxonomy.yaml, prices.yaml."""
    here = Path(__file__).resolve().parent
    packaged = here / "_configs"
    return packaged if packaged.is_dir() else here.parent / "configs"


@cache
def shipped(name: str) -> dict[str, Any]:
    """The parsed content of configs/NAME.yaml as shipped. Callers must not change it."""
    import yaml

    with (configs_dir() / f"{name}.yaml").open(encoding="utf-8") as file:
        return yaml.safe_load(file) or {}
