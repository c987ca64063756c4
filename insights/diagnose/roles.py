"""Roles as data: a Markdown file with front matter, a prompt, and a playbook of Python cells.

    ---
    name: scout
    tier: fast                # which model
    turns: 12                 # at most so many exchanges with a model
    max_tokens: 60000         # at most so many tokens in all
    verbs: [submit_hypothesis, save_cohort, finish]   # what it may do through the gateway
    returns: hypotheses
    ---
    Prompt, a Jinja template in which undefined names are errors.

    # Playbook
    ## outcome
    ```python
    one cell
    ```

The cells of a section run in order when there is no model; with a model the playbook is the role's worked example.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from insights.errors import UsageError

_SECTION = re.compile(r"^## +(.+?) *$", re.M)
_CELL = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


class Role(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))

    name: str
    tier: str
    turns: int
    max_tokens: int
    verbs: tuple[str, ...]
    returns: str
    prompt: str
    playbook: dict[str, tuple[str, ...]]

    def render(self, **names: Any) -> str:
        """The prompt with its names filled in. Raises UsageError for a name the prompt uses and nobody gave."""
        import jinja2

        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        try:
            return environment.from_string(self.prompt).render(**names)
        except jinja2.TemplateError as error:
            raise UsageError(f"the prompt of role {self.name}: {error}") from error

    def cells(self, section: str) -> tuple[str, ...]:
        """The cells of a playbook section. Raises UsageError when the playbook has none of that name."""
        if section not in self.playbook:
            raise UsageError(
                f"role {self.name} has no playbook section {section!r}", f"it has {', '.join(self.playbook)}"
            )
        return self.playbook[section]


def load(folder: Path, name: str) -> Role:
    """The role in `folder`/`name`.md. Raises UsageError naming the file and what is wrong in it."""
    path = folder / f"{name}.md"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"no role {name!r}: {path}: {error.strerror}") from error
    parts = re.split(r"^---\n", text, maxsplit=2, flags=re.M)
    if len(parts) != 3:
        raise UsageError(f"{path} has no front matter between two lines of ---")
    body, _, playbook = parts[2].partition("\n# Playbook\n")
    try:
        return Role(**yaml.safe_load(parts[1]), prompt=body.strip(), playbook=_sections(playbook))
    except (ValidationError, yaml.YAMLError, TypeError) as error:
        raise UsageError(f"{path}: {error}") from error


def _sections(text: str) -> dict[str, tuple[str, ...]]:
    marks = list(_SECTION.finditer(text))
    ends = [m.start() for m in marks[1:]] + [len(text)] * bool(marks)
    return {m[1]: tuple(_CELL.findall(text[m.end() : end])) for m, end in zip(marks, ends, strict=True)}
