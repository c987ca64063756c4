"""Whether this machine has what insights needs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

import typer

from insights import __version__
from insights.cli import app
from insights.cli.options import FormatOption
from insights.cli.printing import print_json

PACKAGES = (
    "duckdb", "numpy", "pandas", "pyarrow", "orjson", "scipy", "scikit-learn", "ipykernel",
    "jupyter_client", "nbformat", "jinja2", "tiktoken", "anthropic", "openai",
)  # fmt: skip
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")
BASE_URLS = ("ANTHROPIC_BASE_URL", "OPENAI_BASE_URL")
MIN_FREE_GB = 2
MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


class Check(NamedTuple):
    name: str
    state: Literal["ok", "note", "bad"]
    found: str
    remedy: str = ""


@app.command()
def doctor(format: FormatOption = "pretty") -> None:
    """Check whether this machine has what is needed.

    Python, packages, the sandbox, disk, keys (by name only). Status 1 when something needed is missing.

    \b
    insights doctor
    insights doctor --format json
    """
    checks = [_python(), *_packages(), *_sandbox(), _disk(), *_tokens(), *_keys()]
    if format == "json":
        print_json([check._asdict() for check in checks])
    else:
        print(f"insights {__version__} on {platform.platform()}")
        for check in checks:
            print(f"{MARKS[check.state]}  {check.name:<16} {check.found}{f' — {check.remedy}' if check.remedy else ''}")
    if any(check.state == "bad" for check in checks):
        raise typer.Exit(1)


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    return (
        Check("python", "ok", found) if sys.version_info >= (3, 11) else Check("python", "bad", found, "3.11 or later")
    )


def _packages() -> list[Check]:
    checks = []
    for name in PACKAGES:
        try:
            checks.append(Check(name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, "bad", "not installed", f"pip install {name}"))
    return checks


def _sandbox() -> list[Check]:
    """The means by which a kernel can be confined, each tried on an empty process; at least one must work."""
    from insights.errors import SandboxUnavailable
    from insights.kernel.sandbox import NAMES, REMEDY, choose_sandbox

    checks = []
    for name in (name for name in NAMES if name != "none"):
        try:
            choose_sandbox(name)
            checks.append(Check(name, "ok", "works"))
        except SandboxUnavailable as error:
            checks.append(Check(name, "note", error.message))
    if not any(check.state == "ok" for check in checks):
        checks.append(Check("sandbox", "bad", "none works on this machine", REMEDY))
    return checks


def _disk() -> Check:
    folder = Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free / 1e9
    if free >= MIN_FREE_GB:
        return Check("disk", "ok", f"{free:.0f} GB free in {folder}")
    return Check("disk", "bad", f"{free:.1f} GB free in {folder}", f"at least {MIN_FREE_GB} GB")


def _tokens() -> list[Check]:
    """Whether tokens can be counted exactly: tiktoken keeps its vocabulary in a cache that it fills from the network."""
    if importlib.util.find_spec("tiktoken") is None:
        return []
    cache = os.environ.get("TIKTOKEN_CACHE_DIR") or str(Path(tempfile.gettempdir()) / "data-gym-cache")
    if any(Path(cache).glob("*")):
        return [Check("token counts", "ok", f"vocabulary in {cache}")]
    return [Check("token counts", "note", "no vocabulary on this machine: tokens are estimated from characters")]


def _keys() -> list[Check]:
    present = [name for name in KEYS if os.environ.get(name)]
    absent = [name for name in KEYS if not os.environ.get(name)]
    checks = [Check(name, "ok", "set") for name in present] + [Check(name, "note", "not set") for name in absent]
    checks += [Check(name, "note", "set: requests go there") for name in BASE_URLS if os.environ.get(name)]
    if not present:
        checks.append(Check("model", "note", "no key: runs use the playbooks, no model"))
    return checks
