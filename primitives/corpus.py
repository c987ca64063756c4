"""An opened corpus: a read-only DuckDB over its tables and views, with every verb bound to it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primitives.registry import VERBS

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

SCHEMA_VERSION = 1
TRACE_TEXT_COLUMNS = ("input_text", "final_output", "metadata", "extra")
LABEL_COLUMNS = (
    "trace_id VARCHAR, seq INTEGER, name VARCHAR, value VARCHAR, quote VARCHAR, explanation VARCHAR, "
    "kind VARCHAR, model VARCHAR, prompt_hash VARCHAR, run_id VARCHAR, created_at TIMESTAMPTZ"
)


class CorpusNotUsable(Exception):
    """The folder is not a corpus, or of another schema version. The message says what to do."""


class Corpus:
    """`con` is DuckDB over the whole corpus (read-only, locked); verbs are its methods.

    `gateway` is the callable by which verbs act and spend inside a run; None outside of one.
    """

    def __init__(
        self,
        path: Path,
        con: duckdb.DuckDBPyConnection,
        gateway: Callable[..., Any] | None = None,
    ) -> None:
        self.path = path
        self.con = con
        self.gateway = gateway

    def __getattr__(self, name: str) -> Any:
        if name in VERBS:
            return partial(VERBS[name].function, self)
        raise AttributeError(f"no verb {name!r}; there are {', '.join(sorted(VERBS))}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *VERBS]

    @cached_property
    def traces(self) -> pd.DataFrame:
        """One row per trace: every column of `traces` without text, and one column per slice that is no column yet."""
        hidden = ", ".join(TRACE_TEXT_COLUMNS)
        frame = self.con.execute(f"SELECT * EXCLUDE ({hidden}) FROM traces ORDER BY trace_id").df()
        slices = self.con.execute("SELECT trace_id, name, value FROM slices").df()
        slices = slices[~slices["name"].isin(frame.columns)]
        if len(slices):
            wide = slices.pivot(index="trace_id", columns="name", values="value")
            frame = frame.merge(wide, left_on="trace_id", right_index=True, how="left")
        return frame

    def refresh_labels(self) -> None:
        """Bring the `labels` view up to date with labels/*.parquet."""
        files = sorted(str(f) for f in (self.path / "labels").glob("*.parquet"))
        if files:
            listed = ", ".join("'" + f.replace("'", "''") + "'" for f in files)
            source = f"SELECT * FROM read_parquet([{listed}], union_by_name=true)"
        else:
            casts = ", ".join(
                f"CAST(NULL AS {kind}) AS {name}" for name, kind in (c.split() for c in LABEL_COLUMNS.split(", "))
            )
            source = f"SELECT {casts} WHERE false"
        kept = "SELECT 1 FROM duckdb_tables() WHERE temporary AND table_name = 'kept_cohorts'"
        if self.con.execute(kept).fetchone():  # cohorts saved in a notebook, outside of a run
            source += " UNION ALL BY NAME SELECT trace_id, name, 'cohort' AS kind FROM kept_cohorts"
        self.con.execute(f"CREATE OR REPLACE TEMP VIEW labels AS {source}")

    def namespace(self) -> dict[str, Any]:
        """The names a kernel opens with: every verb, `con`, `traces`, `corpus`."""
        return {
            **{name: getattr(self, name) for name in VERBS},
            "corpus": self,
            "con": self.con,
            "traces": self.traces,
        }


def open_corpus(
    path: str | Path,
    *,
    gateway: Callable[..., Any] | None = None,
    into: dict[str, Any] | None = None,
    memory_limit: str = "2GB",
    threads: int | None = None,
) -> Corpus:
    """Open NAME.corpus read-only. `into=globals()` puts the kernel's names into a notebook.

    Raises CorpusNotUsable when `path` is no corpus or of another schema version.
    """
    import duckdb

    import primitives  # registers every verb

    assert primitives
    folder = Path(path).resolve()
    file = folder / "traces.duckdb"
    if not file.is_file():
        raise CorpusNotUsable(
            f"{folder} is no corpus: there is no traces.duckdb in it (make one: insights ingest FILES -o {folder.name})"
        )
    con = duckdb.connect(":memory:")
    shown = con.execute("SELECT current_setting('enable_progress_bar')").fetchone()
    if shown and shown[0]:  # under Jupyter without ipywidgets it is off, and merely setting it is an error
        con.execute("SET enable_progress_bar=false")
    con.execute("SET autoinstall_known_extensions=false")
    con.execute(f"SET memory_limit='{memory_limit}'")
    con.execute("SET TimeZone='UTC'")
    if threads:
        con.execute(f"SET threads={threads}")
    quoted = str(file).replace("'", "''")
    try:
        con.execute(f"ATTACH '{quoted}' AS corpus (READ_ONLY)")
        con.execute("USE corpus")
        row = con.execute("SELECT schema_version FROM corpus_info").fetchone()
    except duckdb.Error as error:
        raise CorpusNotUsable(f"{file} cannot be opened: {str(error).splitlines()[0]}") from error
    version = row[0] if row else None
    if version != SCHEMA_VERSION:
        raise CorpusNotUsable(
            f"{folder} has schema version {version}, this program reads {SCHEMA_VERSION} (ingest its sources again)"
        )
    labels = str(folder / "labels").replace("'", "''")
    con.execute(f"SET allowed_directories=['{labels}']")
    con.execute("SET enable_external_access=false")
    con.execute("SET lock_configuration=true")
    corpus = Corpus(folder, con, gateway)
    corpus.refresh_labels()
    if into is not None:
        into.update(corpus.namespace())
    return corpus
