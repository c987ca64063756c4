"""Labels: what models and people said of traces, and saved cohorts, as Parquet files beside the corpus."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from insights.errors import GatewayRefused

if TYPE_CHECKING:
    from primitives.corpus import Corpus

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Label:
    """One row of `labels`. `value` is NULL only in memory: what could not be judged is not kept as a label."""

    trace_id: str
    name: str
    value: str | None
    kind: Literal["judged", "gold", "human", "cohort"]
    seq: int | None = None
    quote: str | None = None
    explanation: str | None = None
    model: str | None = None
    prompt_hash: str | None = None
    run_id: str | None = None


def save(corpus: Corpus, labels: Iterable[Label], part: str) -> Path | None:
    """Write labels under a name made of their run, `part` and question, so that writing them again replaces them.

    Labels are of one name, kind, question and run. Returns the file, or None where there was nothing to write.
    """
    kept = [label for label in labels if label.value is not None]
    if not kept:
        return None
    first = kept[0]
    code = hashlib.sha1(f"{first.run_id}/{first.prompt_hash}/{part}".encode(), usedforsecurity=False).hexdigest()[:12]
    return write(corpus, f"{first.kind}-{first.name}-{code}", kept)


def write(corpus: Corpus, stem: str, labels: Sequence[Label]) -> Path | None:
    """Write labels/STEM.parquet in one step, and let this opening of the corpus see it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not labels:
        return None
    text = ("trace_id", "name", "value", "quote", "explanation", "kind", "model", "prompt_hash", "run_id")
    columns = [(name, pa.string()) for name in text]
    schema = pa.schema([*columns, ("seq", pa.int32()), ("created_at", pa.timestamp("us", "UTC"))])
    now = datetime.now(UTC)
    folder = corpus.path / "labels"
    folder.mkdir(exist_ok=True)
    path = folder / f"{stem}.parquet"
    fresh = path.with_suffix(".new")
    pq.write_table(
        pa.Table.from_pylist([asdict(label) | {"created_at": now} for label in labels], schema=schema), fresh
    )
    fresh.replace(path)
    corpus.refresh_labels()
    return path


def save_cohort(corpus: Corpus, name: str, trace_ids: list[str], run_id: str) -> int:
    """Keep a set of traces under a name; one of that name that is there already is replaced."""
    if not NAME.fullmatch(name):
        raise GatewayRefused(f"{name!r} cannot name a cohort", "letters, digits and underscores, a letter first")
    known = corpus.con.execute(
        "SELECT trace_id FROM traces WHERE trace_id IN (SELECT unnest($ids::VARCHAR[]))", {"ids": trace_ids}
    ).fetchall()
    (corpus.path / "labels" / f"cohort-{name}.parquet").unlink(missing_ok=True)
    corpus.refresh_labels()
    write(corpus, f"cohort-{name}", [Label(t, name, "yes", "cohort", run_id=run_id) for (t,) in known])
    return len(known)


def check_name(corpus: Corpus, name: str, prompt_hash: str) -> None:
    """Raises GatewayRefused for what cannot name a label, and for a name that another question has."""
    if not NAME.fullmatch(name):
        raise GatewayRefused(f"{name!r} cannot name a label", "letters, digits and underscores, a letter first")
    taken = corpus.con.execute(
        "SELECT prompt_hash FROM labels WHERE name = ? AND kind = 'judged' AND prompt_hash <> ? LIMIT 1",
        [name, prompt_hash],
    ).fetchall()
    if taken:
        raise GatewayRefused(
            f"the label {name!r} belongs to another question of this corpus", "choose a name of its own, as in name_2"
        )


def judged(corpus: Corpus, name: str, prompt_hash: str, kind: str = "judged") -> dict[str, dict[str, Any]]:
    """What has been said already: trace_id -> value, seq, quote, explanation, model."""
    rows = corpus.con.execute(
        "SELECT trace_id, value, seq, quote, explanation, model FROM labels "
        "WHERE name = ? AND kind = ? AND prompt_hash = ? ORDER BY created_at",
        [name, kind, prompt_hash],
    ).fetchall()
    return {r[0]: dict(zip(("value", "seq", "quote", "explanation", "model"), r[1:], strict=True)) for r in rows}


def second_readings(judged: Iterable[Label], n: int) -> list[str]:
    """Traces of a yes/no label to be read again: half of n from its yes, half from its no; none where nothing was yes.

    Each half is a simple random sample of its side, as the estimator of `prevalence` needs it: the first by a hash of the
    trace id. All labels share that hash (Ohlsson's permanent random numbers), so that their samples overlap as far as their
    sides do and one reading of a trace serves many labels. A reading made for another label is no gold of this one: traces
    that many labels choose would then stand for those that none does.
    """
    said = list(judged)
    if not any(label.value == "yes" for label in said):
        return []
    order = sorted(said, key=lambda label: hashlib.md5(label.trace_id.encode(), usedforsecurity=False).digest())
    return [x.trace_id for side in ("yes", "no") for x in [y for y in order if y.value == side][: -(-n // 2)]]
