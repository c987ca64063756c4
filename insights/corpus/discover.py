"""From what the user named to the files to read: files and folders, in sorted order."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from insights.corpus.source import Source

SKIPPED_DIRS = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that was named or found and will not be read, with the reason."""

    uri: str
    code: str
    reason: str


def discover(paths: Sequence[str], *, spool: Path) -> tuple[list[Source], list[Refusal]]:
    """Sources below `paths`, each file once; `spool` is a folder for what must be unpacked first."""
    sources: dict[Path, Source] = {}
    refused: list[Refusal] = []
    for named in paths:
        for path in _expand(named):
            if not path.exists():
                refused.append(Refusal(named, "missing", "there is no such file or folder"))
            elif path.is_dir():
                root = path.resolve()
                for file in _walk(path, root, refused):
                    sources.setdefault(file.resolve(), Source(file, str(file), path))
            else:
                sources.setdefault(path.resolve(), Source(path, str(path), path.parent))
    return list(sources.values()), refused


def _expand(named: str) -> list[Path]:
    path = Path(named).expanduser()
    if path.exists() or not glob.has_magic(named):
        return [path]
    return [Path(p) for p in sorted(glob.glob(str(path), recursive=True))] or [path]


def _walk(folder: Path, root: Path, refused: list[Refusal]) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() and not entry.resolve().is_relative_to(root):
            refused.append(Refusal(str(entry), "outside_root", "a link that leaves the folder"))
        elif entry.is_dir():
            if entry.name not in SKIPPED_DIRS and not entry.name.endswith(".corpus"):
                yield from _walk(entry, root, refused)
        elif entry.is_file() and not entry.name.startswith("."):
            yield entry
