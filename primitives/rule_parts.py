"""What rules are made of: conditions that hold in a trace, and actions taken in it. Keys are `kind` ␟ `what` ␟ `value`."""

from __future__ import annotations

from primitives.events import CALLS
from primitives.features import TERM_CHARACTERS, TEXTS, WORD, terms

UNIT = "\x1f"
RESULT_CHARACTERS = 4_000  # of each tool result are read
NOT_BEFORE = ("end_reason", "native_end_reason", "attack_succeeded")  # slices that say how a run ended: no condition
CHOICES = 12  # values of an argument; one with more is an identifier, a date or free text: its values make no rule
PAIR = r"""'"[\p{L}_]{2,30}": ?(?:"[^"]{1,30}"|true|false|null)'"""
READ = f"left(result_text, {RESULT_CHARACTERS})"
# What a result says: its "key": "value" pairs where it is JSON, else its words.
SAID = (
    f"CASE WHEN {READ} SIMILAR TO '\\s*[\\[{{].*' OR contains({READ}, '\": ') THEN regexp_extract_all({READ}, {PAIR}) "
    f"ELSE regexp_extract_all(lower({READ}), {WORD}) END"
)
USER_BUT_LAST = (
    "SELECT trace_id, text FROM steps WHERE role = 'user' AND kind = 'message' "
    "QUALIFY row_number() OVER (PARTITION BY trace_id ORDER BY seq DESC) > 1"
)
BARE = "regexp_replace(token, '!(err|empty)$', '')"
POINTER = "'/' || replace(replace(k, '~', '~0'), '/', '~1')"
ARGUMENTS = (
    f"SELECT trace_id, name, k, args->>({POINTER}) AS v FROM (SELECT trace_id, name, args, unnest(json_keys(args)) AS k "
    "FROM tool_calls WHERE json_type(args) = 'OBJECT' AND name IS NOT NULL)"
)
# token, trace_id: the runs of tasks two and a third of whose runs call the tool; what a task needs, without looking at outcomes.
PEERS = (
    f"WITH called AS (SELECT DISTINCT {BARE} AS token, trace_id FROM ({CALLS})), "
    "runs AS (SELECT trace_id, coalesce(dataset, '') || chr(31) || task_id AS task FROM traces WHERE task_id IS NOT NULL) "
    "SELECT token, trace_id FROM runs JOIN (SELECT token, task, count(*) AS n FROM called JOIN runs USING (trace_id) GROUP BY ALL) USING (task) "
    "JOIN (SELECT task, count(*) AS of FROM runs GROUP BY ALL HAVING of >= 3) USING (task) WHERE n >= 2 AND 3 * n >= of"
)


def conditions(within: str) -> str:
    """SELECT key, trace_id of everything that may stand after "where". `within`: a SELECT giving trace_ids."""
    listed = ", ".join(f"'{name}'" for name in NOT_BEFORE)
    parts = (
        _keyed(terms(TEXTS["task"], "task"), "task"),
        _keyed(terms(USER_BUT_LAST, "user"), "user"),
        f"SELECT concat_ws(chr(31), 'peers', token) AS key, trace_id FROM ({PEERS})",
        f"SELECT concat_ws(chr(31), 'slice', name, value) AS key, trace_id FROM slices WHERE name NOT IN ({listed})",
        f"SELECT concat_ws(chr(31), 'result', name, said) AS key, trace_id FROM "
        f"(SELECT trace_id, name, unnest(list_distinct({SAID})) AS said FROM tool_calls WHERE status = 'ok')",
    )
    return f"SELECT key, trace_id FROM ({' UNION ALL '.join(parts)}) WHERE trace_id IN ({within})"


def actions(within: str) -> str:
    """SELECT key, trace_id of everything the agent (or a user with tools) may do or leave undone."""
    parts = (
        f"SELECT concat_ws(chr(31), 'call', {BARE}) AS key, trace_id FROM ({CALLS})",
        f"SELECT concat_ws(chr(31), 'fail', {BARE}) AS key, trace_id FROM ({CALLS}) WHERE token LIKE '%!err'",
        f"SELECT concat_ws(chr(31), 'given', name, k) AS key, trace_id FROM ({ARGUMENTS})",
        f"SELECT concat_ws(chr(31), 'arg', name, k || '=' || v) AS key, trace_id FROM ({ARGUMENTS}) "
        f"WHERE length(v) BETWEEN 1 AND 40 QUALIFY count(DISTINCT v) OVER (PARTITION BY name, k) <= {CHOICES}",
    )
    return f"SELECT key, trace_id FROM ({' UNION ALL '.join(parts)}) WHERE trace_id IN ({within})"


def _keyed(select: str, kind: str) -> str:
    return f"SELECT '{kind}' || chr(31) || substr(key, {len(kind) + 2}) AS key, trace_id FROM ({select})"


def condition_text(key: str) -> str:
    kind, *rest = key.split(UNIT)
    if kind == "always":
        return "in any run"
    if kind == "task":
        return f"where the task says “{rest[0]}”"
    if kind == "user":
        return f"where the user says “{rest[0]}”"
    if kind == "slice":
        return f"where {rest[0]} = {rest[1]}"
    if kind == "peers":
        return f"in tasks where several runs call {rest[0]}"
    return f"where {rest[0]} returned {rest[1] if rest[1].startswith(chr(34)) else '“' + rest[1] + '”'}"


def action_text(key: str, *, done: bool) -> str:
    kind, tool, *rest = key.split(UNIT)
    if kind == "fail":
        return f"{tool} {'fails' if done else 'never fails'}"
    called = f"{tool} is {'called' if done else 'never called'}"
    return called if kind == "call" else f"{called} with {rest[0]}"


def condition_sql(key: str) -> str:
    """A SELECT giving trace_id of the traces where the condition holds."""
    kind, *rest = key.split(UNIT)
    words = f"regexp_extract_all(lower(left(text, {TERM_CHARACTERS})), {WORD})"
    if kind == "always":
        return "SELECT trace_id FROM traces"
    if kind in ("task", "user"):
        texts = TEXTS["task"] if kind == "task" else USER_BUT_LAST
        return f"SELECT DISTINCT trace_id FROM ({texts}) WHERE list_contains({words}, {_quoted(rest[0])})"
    if kind == "peers":
        return f"SELECT trace_id FROM ({PEERS}) WHERE token = {_quoted(rest[0])}"
    if kind == "slice":
        return f"SELECT trace_id FROM slices WHERE name = {_quoted(rest[0])} AND value = {_quoted(rest[1])}"
    return (
        f"SELECT DISTINCT trace_id FROM tool_calls WHERE name = {_quoted(rest[0])} AND status = 'ok' "
        f"AND list_contains({SAID}, {_quoted(rest[1])})"
    )


def action_sql(key: str) -> str:
    """A SELECT giving trace_id and seq of the calls."""
    kind, tool, *rest = key.split(UNIT)
    if kind == "call":
        return f"SELECT trace_id, seq FROM ({CALLS}) WHERE {BARE} = {_quoted(tool)}"
    if kind == "fail":
        return f"SELECT trace_id, seq FROM ({CALLS}) WHERE token = {_quoted(tool + '!err')}"
    name, _, value = rest[0].partition("=")
    at = "/" + name.replace("~", "~0").replace("/", "~1")
    given = f"json_exists(args, {_quoted(at)})" if kind == "given" else f"args->>{_quoted(at)} = {_quoted(value)}"
    return f"SELECT trace_id, call_seq AS seq FROM tool_calls WHERE name = {_quoted(tool)} AND {given}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
