"""The index by meaning that is made beside a run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from insights.diagnose.meaning import indexed_beside
from primitives import open_corpus, semantic
from tests.primitives import small, tiny


def test_it_is_kept_for_the_kernels(tmp_path: Path) -> None:
    home = small.folder(tmp_path, **tiny.rows())
    kept = home / "index" / "semantic" / "semantic.json"

    async def run() -> None:
        async with indexed_beside(home):
            for _ in range(1200):
                if kept.exists() and kept.read_text().endswith("}"):
                    return
                await asyncio.sleep(0.05)

    asyncio.run(run())
    corpus = open_corpus(home)
    assert semantic._load(kept.parent, semantic._stamp(corpus.con)) is not None


def test_a_run_that_ends_first_ends_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with indexed_beside(small.folder(tmp_path, **tiny.rows())):
            pass

    asyncio.run(run())
    assert not (tmp_path / "index" / "semantic" / "semantic.json").exists()
