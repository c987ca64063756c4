"""The SQL behind `deviations`: reference actions matched with calls, one row per deviation.

Everything is one SELECT over the corpus, so that a finding built on it can be run again anywhere.
"""

from __future__ import annotations

from collections.abc import Collection

# A value as text by which two values are compared: 5.0 is 5, and where it holds objects, the order of their keys and of
# the objects does not count.
SCALARS = r"""regexp_extract_all({v}::VARCHAR, '"(?:[^"\\]|\\.)*"|-?[0-9.]+|true|false')"""
VALUE = rf"""CASE WHEN json_type({{v}}) IN ('OBJECT', 'ARRAY') THEN
      array_to_string(CASE WHEN contains({{v}}::VARCHAR, '{{{{') THEN list_sort({SCALARS}) ELSE {SCALARS} END, ', ')
    ELSE regexp_replace(trim({{v}}::VARCHAR, '" '), '^(-?[0-9]+)\.0+$', '\1') END"""
POINTER = "'/' || replace(replace(k, '~', '~0'), '/', '~1')"
AT = "('/' || replace(replace(argument, '~', '~0'), '/', '~1'))"
# Arguments as a sorted list of 'name=value'; arguments that are null count as absent.
PAIRS = f"""CASE WHEN json_type(args) = 'OBJECT' THEN list_transform(
      list_filter(list_sort(json_keys(args)), lambda k: json_type(json_extract(args, {POINTER})) <> 'NULL'),
      lambda k: k || '=' || ({VALUE.format(v=f"json_extract(args, {POINTER})")}))
    ELSE CAST([] AS VARCHAR[]) END"""


# Where some trace of a dataset has reference actions, a trace of it without any is one whose right run does nothing.
REFERENCED = """SELECT t.trace_id FROM traces t WHERE coalesce(t.dataset, t.source_id) IN (
  SELECT coalesce(r.dataset, r.source_id) FROM traces r JOIN expected x ON x.trace_id = r.trace_id AND x.kind = 'action')"""


COUNTED = (
    "missing action", "wrong argument", "unneeded action", "out of order", "missing output", "wrong answer",
    "test broken", "test still fails", "assertion not met",
)  # fmt: skip
# The main class of a trace, in order of priority. Doing one thing in place of another is a class of its own.
MAIN = """CASE WHEN bool_or(kind = 'missing action') AND bool_or(kind = 'unneeded action') THEN 'wrong tool'
  WHEN bool_or(kind = 'wrong argument') THEN 'wrong argument'
  WHEN bool_or(kind = 'missing action') THEN 'missing action'
  WHEN bool_or(kind = 'unneeded action') THEN 'unneeded action'
  WHEN bool_or(kind = 'out of order') THEN 'out of order'
  WHEN bool_or(kind = 'missing output') THEN 'missing output'
  WHEN bool_or(kind = 'wrong answer') THEN 'wrong answer'
  WHEN bool_or(kind = 'test broken') THEN 'test broken'
  WHEN bool_or(kind = 'test still fails') THEN 'test still fails'
  WHEN bool_or(kind = 'assertion not met') THEN 'assertion not met' ELSE 'none' END"""


def deviation_rows(mutating: list[str], eligible: str, kinds: Collection[str] = ()) -> str:
    """A SELECT giving trace_id, seq, kind, name, argument, expected, actual: one row per deviation.

    `eligible`: a SELECT giving the trace_ids to look at. `kinds`: those wanted of COUNTED, all when empty.
    seq is NULL where the deviation is that something did not happen.
    """
    names = ", ".join("'" + n.replace("'", "''") + "'" for n in mutating) or "NULL"
    wanted = [k for k in COUNTED if k in kinds] or list(COUNTED)
    parts = list(dict.fromkeys(_PARTS[kind] for kind in wanted))
    ctes = [f"eligible AS ({eligible})"]
    if any(kind in ACTION_KINDS for kind in wanted):
        ctes.append(_MATCHING.format(names=names))
    return "WITH " + ",\n".join(ctes) + "\n" + "\nUNION ALL ".join(parts)


ACTION_KINDS = ("missing action", "wrong argument", "unneeded action", "out of order")
# Reference actions and calls side by side; the same call counts once per copy; what is left over is paired with the
# nearest call of the same tool, each the other's nearest.
_MATCHING = (
    """listed AS (
  SELECT trace_id, 'want' AS side, idx::VARCHAR AS id, idx AS place, name, args,
    coalesce(extra->>'requestor', 'assistant') AS who
  FROM expected WHERE kind = 'action' AND name IN ({names}) AND trace_id IN (FROM eligible)
  UNION ALL SELECT trace_id, 'did', tool_call_key, call_seq, name, args, coalesce(requestor, 'assistant')
  FROM tool_calls WHERE name IN ({names}) AND trace_id IN (FROM eligible)
  AND coalesce(status, 'ok') NOT IN ('error', 'denied', 'cancelled')),
comparable AS (SELECT *, """
    + PAIRS.replace("{", "{{").replace("}", "}}")
    + """ AS pairs FROM listed),
copies AS (SELECT *, row_number() OVER (PARTITION BY trace_id, side, name, pairs ORDER BY place) AS copy FROM comparable),
matched AS (SELECT w.trace_id, w.id AS want, d.id AS did, w.place AS idx, d.place AS seq FROM copies w
  JOIN copies d USING (trace_id, name, pairs, copy) WHERE w.side = 'want' AND d.side = 'did'),
w_rest AS (SELECT * FROM copies WHERE side = 'want' AND (trace_id, id) NOT IN (SELECT (trace_id, want) FROM matched)),
d_rest AS (SELECT * FROM copies WHERE side = 'did' AND (trace_id, id) NOT IN (SELECT (trace_id, did) FROM matched)),
pairing AS (SELECT w.trace_id, w.id AS want, d.id AS did, d.place AS seq, d.name, w.args AS wanted, d.args AS got,
    list_filter(w.pairs, lambda p: NOT list_contains(d.pairs, p)) AS only_wanted,
    list_filter(d.pairs, lambda p: NOT list_contains(w.pairs, p)) AS only_got
  FROM w_rest w JOIN d_rest d USING (trace_id, name)),
near AS (SELECT * FROM pairing
  QUALIFY row_number() OVER (PARTITION BY trace_id, want ORDER BY len(only_wanted) + len(only_got), seq, did) = 1),
wrong AS (SELECT * FROM near
  QUALIFY row_number() OVER (PARTITION BY trace_id, did ORDER BY len(only_wanted) + len(only_got), want) = 1)"""
)
_OVER_TESTS = """SELECT trace_id, NULL::INTEGER AS seq, CASE grp WHEN 'PASS_TO_PASS' THEN 'test broken' ELSE 'test still fails' END
  AS kind, name, NULL AS argument, grp AS expected, 'fails' AS actual
FROM expected WHERE kind = 'test' AND met = false AND trace_id IN (FROM eligible)"""
# As tau-bench's own grader: in any message of the agent, ignoring case and thousands separators.
_SAID = """EXISTS (SELECT 1 FROM steps s WHERE s.trace_id = e.trace_id AND s.role = 'assistant'
  AND contains(replace(lower(s.text), ',', ''), replace(lower(e.value), ',', '')))"""
_PARTS = {
    "missing action": """SELECT trace_id, NULL::INTEGER AS seq, 'missing action' AS kind, name, NULL AS argument,
  left(args::VARCHAR, 200) AS expected, (
    SELECT 'tried and failed: ' || left(any_value(t.args)::VARCHAR, 180) FROM tool_calls t
    WHERE t.trace_id = r.trace_id AND t.name = r.name AND t.status IN ('error', 'denied', 'cancelled')) AS actual
FROM w_rest r WHERE (trace_id, id) NOT IN (SELECT (trace_id, want) FROM wrong)""",
    "wrong argument": f"""SELECT trace_id, seq, 'wrong argument' AS kind, name, argument,
  left(wanted->>{AT}, 200) AS expected, left(got->>{AT}, 200) AS actual
FROM (SELECT *, unnest(list_distinct(list_transform(list_concat(only_wanted, only_got),
  lambda p: split_part(p, '=', 1)))) AS argument FROM wrong)""",
    "unneeded action": f"""SELECT trace_id, place AS seq, 'unneeded action' AS kind, name, NULL AS argument, NULL AS expected,
  left(args::VARCHAR, 200) AS actual
FROM d_rest WHERE (trace_id, id) NOT IN (SELECT (trace_id, did) FROM wrong) AND who = 'assistant'
AND trace_id IN ({REFERENCED})""",
    "out of order": """SELECT trace_id, min(seq) AS seq, 'out of order' AS kind, NULL AS name, NULL AS argument,
  NULL AS expected, NULL AS actual
FROM (SELECT *, seq < max(seq) OVER (PARTITION BY trace_id ORDER BY idx, seq) AS late FROM matched)
WHERE late GROUP BY trace_id""",
    "missing output": f"""SELECT trace_id, NULL::INTEGER AS seq, 'missing output' AS kind, NULL AS name, NULL AS argument,
  left(value, 200) AS expected, NULL AS actual
FROM expected e WHERE kind = 'output' AND trace_id IN (FROM eligible) AND NOT coalesce(met, {_SAID})""",
    "wrong answer": """SELECT trace_id, NULL::INTEGER AS seq, 'wrong answer' AS kind, NULL AS name, NULL AS argument,
  left(value, 200) AS expected, left(final_output, 200) AS actual
FROM expected JOIN traces USING (trace_id) WHERE kind = 'answer' AND trace_id IN (FROM eligible)
AND NOT coalesce(met, contains(' ' || regexp_replace(lower(coalesce(final_output, '')), '[^a-z0-9]+', ' ', 'g') || ' ',
  ' ' || trim(regexp_replace(lower(value), '[^a-z0-9]+', ' ', 'g')) || ' '))""",
    "test broken": _OVER_TESTS,
    "test still fails": _OVER_TESTS,
    "assertion not met": """SELECT trace_id, NULL::INTEGER AS seq, 'assertion not met' AS kind, name, NULL AS argument,
  left(coalesce(value, args::VARCHAR), 200) AS expected, NULL AS actual
FROM expected WHERE kind = 'assertion' AND met = false AND trace_id IN (FROM eligible)""",
}
