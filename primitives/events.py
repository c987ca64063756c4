"""What happened in a trace as a line of tokens: the alphabet of `sequences` and `rules`, as SQL.

`tool`               a tool call that worked; `tool:word` where its argument `command` names a program or subcommand
`tool!err`           it failed or was denied; `tool!empty`: it returned nothing ('', [], {}, null)
`user:tool`          a tool the user called (in environments where users act)
`USER` and `FINAL`   a message of the user; the agent's last message, when it calls no tool
"""

from __future__ import annotations

COMMAND = (
    "CASE json_type(args, '$.command') WHEN 'ARRAY' THEN args->'command'->>-1 WHEN 'VARCHAR' THEN args->>'command' "
    "ELSE args->>'cmd' END"
)
HAS_COMMAND = (
    "(contains(args::VARCHAR, '\"command\"') OR contains(args::VARCHAR, '\"cmd\"'))"  # cheap, before JSON is parsed
)
# The program of a command line: past `cd … &&` and variable assignments, without its folder.
PROGRAM = (
    rf"regexp_extract(regexp_replace(left({COMMAND}, 400), '^\s*(cd\s+\S+\s*(&&|;)\s*|\w+=\S*\s+)*', ''), "
    r"'^(\S*/)?([A-Za-z0-9_.-]{1,30})', 2)"
)
EMPTY = (
    "coalesce(result_len, length(result_text)) < 12 AND trim(result_text) IN ('', '[]', '{}', 'null', 'None', '\"\"')"
)

CALLS = f"""
  SELECT trace_id, call_seq AS seq, coalesce(call_index, 0) AS i,
    CASE WHEN requestor = 'user' THEN 'user:' ELSE '' END || coalesce(name, '?')
    || CASE WHEN {HAS_COMMAND} THEN coalesce(':' || nullif(nullif({PROGRAM}, ''), name), '') ELSE '' END
    || CASE WHEN status IN ('error', 'denied') THEN '!err' WHEN {EMPTY} THEN '!empty' ELSE '' END AS token
  FROM tool_calls WHERE call_seq IS NOT NULL"""
EVENTS = f"""{CALLS}
  UNION ALL SELECT trace_id, seq, -1, 'USER' FROM steps
  WHERE role = 'user' AND kind = 'message' AND on_path IS DISTINCT FROM false
  UNION ALL SELECT trace_id, max(seq), 1000, 'FINAL' FROM steps
  WHERE role = 'assistant' AND kind = 'message' AND on_path IS DISTINCT FROM false
  GROUP BY 1 HAVING arg_max(coalesce(n_tool_calls, 0), seq) = 0"""


def predicate(tokens: list[str]) -> str:
    """A SELECT giving trace_id and seq of each place where these tokens stand in a row."""
    where = " AND ".join(
        ("token" if i == 0 else f"next{i}") + " = '" + token.replace("'", "''") + "'" for i, token in enumerate(tokens)
    )
    following = "".join(f", lead(token, {i}) OVER line AS next{i}" for i in range(1, len(tokens)))
    line = " WINDOW line AS (PARTITION BY trace_id ORDER BY seq, i)" if following else ""
    return f"SELECT trace_id, seq FROM (SELECT trace_id, seq, token{following} FROM actions{line}) WHERE {where}"
