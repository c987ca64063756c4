"""The documents of the keyword index: a window of a distinct text each, with its field, role and tool, in segments.

CORPUS/index/keyword/N-*.npy         the postings and the text of segment N
CORPUS/index/keyword/documents.npz   text_no, start, field, role and tool of each document, segment after segment
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primitives.passages import FIELDS, KEY, PASSAGES, TEXT_HASH

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pyarrow as pa

WINDOW = 2_000  # unit: characters of one document; bounds what one hit has to load
OVERLAP = 200  # unit: characters shared by neighbouring windows, so that a phrase is whole in one of them
SEGMENT_BYTES = 12 << 20  # of text; making a segment takes some ten times the memory


@dataclass
class Documents:
    """A row per document: the number of its text (-1: no step holds that any more), its first character, codes of names."""

    text_no: np.ndarray
    start: np.ndarray
    field: np.ndarray
    role: np.ndarray
    tool: np.ndarray

    @classmethod
    def joined(cls, parts: list[Documents]) -> Documents:
        import numpy as np

        none = np.zeros(0, dtype=np.int32)
        return cls(*(np.concatenate([none, *(getattr(part, f.name) for part in parts)]) for f in fields(cls)))

    @classmethod
    def load(cls, folder: Path) -> Documents:
        import numpy as np

        with np.load(folder / "documents.npz") as arrays:
            return cls(**arrays)


class Writer:
    """Writes an index folder, or goes on with the one that `known` (its `meta`) tells of."""

    def __init__(self, folder: Path, known: dict[str, Any] | None) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._extends = known is not None
        self._small = known["small"] if known else 0  # segments of ingests that did not fill one
        self._n = known["segments"] if known else 0
        names = known["names"] if known else {"role": [""], "tool": [""]}
        self._codes = {kind: {word: i for i, word in enumerate(words)} for kind, words in names.items()}
        self._parts = [Documents.load(folder)] if known else []
        self._texts: list[pa.Array] = []
        self._saved: Future[None] | None = None

    def meta(self) -> dict[str, Any]:
        names = {kind: list(codes) for kind, codes in self._codes.items()}
        return {"segments": self._n, "small": self._small, "names": names}

    def write(self, con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
        """Add the new texts (see index.number) and let go of those no step holds any more; (added, removed)."""
        import numpy as np

        removed = self._let_go(con) if self._extends else 0
        added, before = 0, self._n
        with ThreadPoolExecutor(1) as pool:  # a segment is made while the texts of the next are read
            for texts, documents in self._read(con):
                added += len(np.unique(documents.text_no))
                self._texts.append(texts)
                self._parts.append(documents)
                if sum(t.nbytes for t in self._texts) > SEGMENT_BYTES:
                    self._save(pool)
            self._small += self._n == before
            self._save(pool)
            self._wait()
        np.savez(self.folder / "documents.npz", **asdict(Documents.joined(self._parts)))
        return added, removed

    def _let_go(self, con: duckdb.DuckDBPyConnection) -> int:
        import numpy as np

        gone = con.execute("SELECT text_no FROM old WHERE h NOT IN (SELECT h FROM search_texts)").fetchnumpy()
        numbers = self._parts[0].text_no
        numbers[np.isin(numbers, gone["text_no"])] = -1
        return len(gone["text_no"])

    def _save(self, pool: ThreadPoolExecutor) -> None:
        """Make a segment of the texts at hand, once the one before is done, which bounds memory."""
        import pyarrow as pa

        from primitives.postings import segment

        if not self._texts:
            return
        texts, n = pa.concat_arrays(self._texts), self._n
        self._texts, self._n = [], n + 1
        self._wait()
        self._saved = pool.submit(lambda: segment(texts).save(self.folder, n))

    def _wait(self) -> None:
        if self._saved is not None:
            self._saved.result()

    def _read(self, con: duckdb.DuckDBPyConnection) -> Iterator[tuple[pa.Array, Documents]]:
        """The windows of every new text once, streamed."""
        import numpy as np

        highest = con.execute("SELECT coalesce(max(text_no), 0) FROM search_texts").fetchall()[0][0]
        seen = np.zeros(highest + 1, dtype=bool)
        result = con.sql(
            f"""SELECT t.text_no, list_position({list(FIELDS)}, p.field) - 1 AS field, coalesce(p.role, '') AS role,
            coalesce(p.tool, '') AS tool, p.text FROM ({PASSAGES}) p JOIN search_bases b USING (trace_id)
            JOIN search_texts t ON t.first = {KEY} AND t.h = {TEXT_HASH} WHERE t.is_new"""
        )
        for batch in result.to_arrow_reader(8_192):
            numbers, first = np.unique(np.from_dlpack(batch["text_no"]), return_index=True)
            first = np.sort(first[~seen[numbers]])
            seen[numbers] = True
            if len(first):
                yield self._windowed(batch, first)

    def _windowed(self, batch: pa.RecordBatch, rows: np.ndarray) -> tuple[pa.Array, Documents]:
        """The windows of these rows: short texts as they are, long ones cut."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        long = (np.from_dlpack(pc.utf8_length(batch["text"])) > WINDOW + OVERLAP)[rows]
        builder = pa.lib.StringBuilder()
        at: list[int] = []
        starts = [0] * int(len(rows) - long.sum())
        for row in rows[long].tolist():
            text = batch["text"][row].as_py()
            for start, end in windows(text):
                builder.append(text[start:end])
                at.append(row)
                starts.append(start)
        short = rows[~long]
        texts = batch["text"] if len(short) == len(batch) else batch["text"].take(_indices(short))
        at_all = np.concatenate([short, np.array(at, dtype=short.dtype)])
        codes = {kind: self._coded(kind, batch[kind])[at_all] for kind in self._codes}
        documents = Documents(
            np.from_dlpack(batch["text_no"])[at_all], np.array(starts), np.from_dlpack(batch["field"])[at_all], **codes
        )
        return (pa.concat_arrays([texts, builder.finish()]) if at else texts), documents

    def _coded(self, kind: str, words: pa.Array) -> np.ndarray:
        """The number of each word, a new one for a word not met before."""
        import numpy as np

        codes, held = self._codes[kind], words.dictionary_encode()
        found = [codes.setdefault(word, len(codes)) for word in held.dictionary.to_pylist()]
        coded: np.ndarray = np.array(found, dtype=np.int32)[np.from_dlpack(held.indices)]
        return coded


def _indices(rows: np.ndarray) -> pa.Array:
    """As pyarrow takes them; pyarrow.array() would import pandas, which takes a second."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)])


def windows(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of overlapping windows, ending at white space where there is some."""
    start, size = 0, len(text)
    while size - start > WINDOW + OVERLAP:
        end = max(
            text.rfind(" ", start + WINDOW // 2, start + WINDOW), text.rfind("\n", start + WINDOW // 2, start + WINDOW)
        )
        end = end if end > 0 else start + WINDOW
        yield start, end
        start = end - OVERLAP
    yield start, size
