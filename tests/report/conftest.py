from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from primitives.corpus import Corpus, open_corpus
from tests.report.sample import make_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    opened = open_corpus(make_corpus(tmp_path_factory.mktemp("report") / "desk.corpus"))
    yield opened
    opened.con.close()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"
