"""Which tools change the world: the one place where that is decided.

A tool is mutating when, in this order: the caller or configs/default.yaml says so (`mutating_tools: {name: true}`); the reference data
of the corpus says `tool_type: write` (or `read`); its name starts like reading (`get_`, `search_` …) or thinking: not;
its name starts or contains a word of writing (`update_`, `send_` …), or it stands among the expected actions: yes;
anything else: no. Hand-overs to a person (`transfer_to_human_agents`) change nothing that a reference checks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from primitives.settings import shipped

if TYPE_CHECKING:
    from primitives.corpus import Corpus

READING = frozenset(
    "get list search find read view show fetch lookup look query check calculate compute count describe retrieve browse "
    "inspect think plan transfer verify validate can is has run_speed grep glob ls cat open scroll goto help done".split()
)
WRITING = frozenset(
    "add append apply approve assign backup block book buy cancel change charge clear close commit connect create delete "
    "deposit disable disconnect edit enable exchange exit grant insert install invite issue lock make merge modify move "
    "order pay place post publish push put reboot refuel refund remove rename replace reschedule reseat reserve reset "
    "restore resume return revoke save schedule send set share submit suspend toggle turn unassign uninstall unlock "
    "update upload withdraw write".split()
)


def is_mutating(name: str, *, expected: bool = False) -> bool:
    """By its name alone; `expected`: it stands among the reference's actions."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    if not words or words[0] in READING:
        return False
    return expected or bool(WRITING & set(words))


def mutating_tools(corpus: Corpus, said: Mapping[str, bool] | None = None) -> list[str]:
    """The mutating tools among those called or expected in the corpus, sorted. `said` comes before everything."""
    overrides = {**(shipped("default").get("mutating_tools") or {}), **(said or {})}
    rows = corpus.con.execute(
        "SELECT name, bool_or(expected), any_value(kind) FROM ("
        " SELECT DISTINCT name, false AS expected, NULL AS kind FROM tool_calls"
        " UNION ALL SELECT DISTINCT name, true, extra->>'tool_type' FROM expected WHERE kind = 'action'"
        ") WHERE name IS NOT NULL GROUP BY name ORDER BY name"
    ).fetchall()
    found = []
    for name, expected, kind in rows:
        known = overrides.get(name, {"write": True, "read": False}.get(kind or ""))
        if known if known is not None else is_mutating(name, expected=expected):
            found.append(str(name))
    return found
