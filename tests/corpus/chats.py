"""Small files of chat conversations."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def chat(name: str, said: str = "done", **about: Any) -> dict[str, Any]:
    """One run: a question, a call, its result, an answer."""
    call = {
        "id": f"call-{name}",
        "type": "function",
        "function": {"name": "look", "arguments": '{"at": "' + name + '"}'},
    }
    messages = [
        {"role": "user", "content": f"please look at {name}"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call-{name}", "content": f"what stands at {name}"},
        {"role": "assistant", "content": said},
    ]
    return {"id": name, "messages": messages, **about}


def write(file: Path, runs: Iterable[dict[str, Any]], mode: str = "w") -> Path:
    """Runs as lines of JSON, made or (mode "a") appended to."""
    with file.open(mode, encoding="utf-8") as out:
        out.writelines(json.dumps(run) + "\n" for run in runs)
    return file
