"""One span of a trace, whatever format told it, the trace's spans gathered from a file, and the scores beside them.

A reader fills a `Span` for each of its rows and hands the spans of a trace to `span_steps.build`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from insights.corpus.parse import clean
from insights.corpus.source import Source
from insights.corpus.trace import Trace, as_name

SPOOL_ABOVE = 64 << 20  # unit: bytes of spans held in memory before they go to a temporary file
TRACE_ID = re.compile(rb'"(?:context\.)?(?:trace_?[iI]d|root_span_id)"\s*:\s*"([^"\\]{1,64})"')
BLOCK, OVERLAP = 1 << 22, 256  # unit: bytes scanned at a time for ids, and of those scanned twice
VERDICT = re.compile(
    r"(?:^|_)(?:correct(?:ness)?|pass(?:ed)?|success(?:ful)?|resolved|solved|completed|accepted)(?:$|_)", re.I
)
DENIED = re.compile(r"(?:^|_)(?:not|no|in|un|fail\w*|rate)(?:$|_)", re.I)
CALLED = re.compile(r"^(?:tool[._:]\s*|execute_tool |running tool: |function\.)")
Message = dict[str, Any]


@dataclass
class Span:
    """One span, whatever its vocabulary. `input` and `output` are what the source says, in any shape.

    `usage` holds columns of `llm_calls` (input_tokens with cached ones included). `given` and `said` replace `input` and
    `output` for a model call where the vocabulary tells messages apart.
    """

    id: str
    parent: str | None = None
    name: str = ""
    kind: str = "other"
    native_kind: str = ""
    convention: str = ""
    start: datetime | None = None
    end: datetime | None = None
    failed: bool | None = None
    error_type: str | None = None
    error: str | None = None
    input: Any = None
    output: Any = None
    given: list[Message] | None = None
    said: list[Message] | None = None
    tool: str | None = None
    call_id: str | None = None
    agent: str | None = None
    model: str | None = None
    model_requested: str | None = None
    provider: str | None = None
    response_id: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    cost: Any = None
    finish: str | None = None
    ttft_ms: float | None = None
    params: Any = None
    tools: Any = None  # definitions of the tools a model call was offered
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[Any] = field(default_factory=list)
    offset: int | None = None
    length: int | None = None
    pointer: str | None = None
    depth: int = 0


class Gather:
    """Rows by the trace they belong to, in the order traces appear; beyond SPOOL_ABOVE they wait in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_ABOVE)  # noqa: SIM115 - closed by groups()
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._end = 0

    def add(self, trace: str, row: Any) -> None:
        try:
            data = orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:  # what Parquet holds and JSON does not
            data = orjson.dumps(clean(row), default=str, option=orjson.OPT_NON_STR_KEYS)
        self._file.write(data)
        self._places.setdefault(trace, []).append((self._end, len(data)))
        self._end += len(data)

    def groups(self) -> Iterator[tuple[str, list[Any]]]:
        with self._file as file:
            for trace, places in self._places.items():
                rows = []
                for at, length in places:
                    file.seek(at)
                    rows.append(orjson.loads(file.read(length)))
                yield trace, rows


def trace_ids(source: Source, *columns: str) -> set[str]:
    """The ids of the traces a file of spans tells of, found without reading it as JSON; `columns` hold them in Parquet."""
    if source.head.magic == "parquet":
        import pyarrow.parquet as pq

        names = [n for n in pq.read_schema(source.path).names if n in columns]
        table = pq.read_table(source.path, columns=names[:1])
        return {str(v) for v in table[0].unique().to_pylist() if v is not None} if names else set()
    found: set[bytes] = set()
    with source.path.open("rb") as file:
        rest = b""
        while block := file.read(BLOCK):
            found.update(TRACE_ID.findall(rest + block))
            rest = block[-OVERLAP:]
    return {id.decode("utf-8", "replace") for id in found}


def score(t: Trace, name: Any, value: Any, *, whole: bool = True, **columns: Any) -> None:
    """One score. It is the outcome where it is of the whole trace, its name is a verdict's, and its value is yes or no."""
    named = as_name(name) or "score"
    number = float(value) if isinstance(value, (int, float)) else None
    if isinstance(value, str) and value.lower() in ("true", "false"):
        number = float(value.lower() == "true")
    plain = re.sub(r"[\s.-]+", "_", named)
    decided = number in (0.0, 1.0) and VERDICT.search(plain) is not None and not DENIED.search(plain)
    t.annotate("score", named, value=number, passed=number == 1.0 if decided else None, **columns)
    if whole and decided and t.success is None:
        t.success, t.score, t.score_name = number == 1.0, number, named
