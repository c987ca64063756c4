"""The analysis verbs and the detectors, usable from a notebook without the rest of insights.

    from primitives import open_corpus
    corpus = open_corpus("airline.corpus", into=globals())
    overview()

This package knows DuckDB, pandas and the corpus schema, and nothing of `insights`.
"""

from __future__ import annotations

import importlib
import pkgutil

from primitives.corpus import Corpus, CorpusNotUsable, open_corpus
from primitives.registry import VERBS, Verb, verb

for _module in pkgutil.iter_modules(__path__):
    if not _module.ispkg:
        importlib.import_module(f"primitives.{_module.name}")

__all__ = ["VERBS", "Corpus", "CorpusNotUsable", "Verb", "open_corpus", "verb"]
