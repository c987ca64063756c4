"""Settings: configs/default.yaml <- insights.yaml of the project (found upward) <- the command line.

Unknown keys are errors that name the file. API keys are never settings; they are read from the environment by their usual names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insights.errors import UsageError
from primitives.settings import configs_dir, shipped

PROJECT_FILE = "insights.yaml"


def agents_dir() -> Path:
    """The folder of the role files, in a wheel or in a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "_agents"
    return packaged if packaged.is_dir() else here.parent / "agents"


def settings(overrides: Mapping[str, Any] | None = None, *, start: Path | None = None) -> dict[str, Any]:
    """Every section of default.yaml with the project's file and `overrides` laid over it."""
    merged = _over({}, shipped("default"), configs_dir() / "default.yaml", known=None)
    project = find_project_file(start or Path.cwd())
    if project is not None:
        merged = _over(merged, _load(project), project, known=merged)
    return _over(merged, overrides or {}, Path("the command line"), known=merged)


def find_project_file(start: Path) -> Path | None:
    """The nearest insights.yaml from `start` upward."""
    return next((p / PROJECT_FILE for p in (start, *start.parents) if (p / PROJECT_FILE).is_file()), None)


def _load(path: Path) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} holds no mapping of sections", "see configs/default.yaml")
    return value


def _over(
    base: dict[str, Any], layer: Mapping[str, Any], origin: Path, known: Mapping[str, Any] | None
) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        if known is not None and key not in known:
            raise UsageError(f"{origin}: unknown setting {key!r}", f"one of {', '.join(sorted(known))}")
        inner = known.get(key) if known is not None else None
        if isinstance(value, Mapping) and (inner is None or isinstance(inner, Mapping)):
            merged[key] = _over(merged.get(key) or {}, value, origin, inner or None)
        else:
            merged[key] = value
    return merged
