"""The kernel's first program: `python -I launcher.py SPEC.json`. Confines itself, then becomes ipykernel.

SPEC is written by insights/kernel/sandbox.py. Runs before `insights` can be imported, and must not: nothing of
`insights` but this folder is visible from inside.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any


def confine_self(spec: dict[str, Any]) -> None:
    """Everything after which no code of a cell can reach what `spec` does not list."""
    if spec["sandbox"] == "none":
        return
    import confine

    drop_to = spec["drop_to"]
    if spec["sandbox"] == "bubblewrap":
        if drop_to is not None:
            confine.enter_user_namespace(drop_to)
            confine.become(drop_to)
    else:
        others = confine.CLONE_NEWNS | confine.CLONE_NEWPID | confine.CLONE_NEWNET | confine.CLONE_NEWIPC
        confine.enter_user_namespace(drop_to, others | confine.CLONE_NEWUTS)
        confine.die_with_parent()
        confine.fork_as_init()
        confine.hide_mounts(spec["scratch"], spec["shared_memory"], spec["sockets"])
        if drop_to is not None:
            confine.become(drop_to)
        confine.die_with_parent()
        confine.restrict_files(spec["readable"], spec["devices"], [spec["scratch"], "/dev/shm"], spec["sockets"])
    os.environ.pop("JPY_PARENT_PID", None)  # a process of another namespace: ipykernel would take it for dead


def import_package(name: str, folder: Path) -> None:
    """Import `name` from `folder`, whose parent is not on the path and under Landlock cannot be listed."""
    found = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert found is not None and found.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    if sys.platform == "linux":
        import confine

        confine.be_first_to_go()
    confine_self(spec)
    os.chdir(spec["scratch"])
    if spec.get("probe"):
        return
    Path(".tmp").mkdir(exist_ok=True)
    if sys.platform == "linux":
        confine.set_limits(**spec["limits"])
    import_package("primitives", Path(spec["primitives"]))
    import boot

    boot.run(spec)


if __name__ == "__main__":
    main()
