"""Corpus-level diagnosis of AI-agent execution traces.

Importing this package is cheap and has no side effects; each subpackage is a stage of the data flow
drawn in docs/design.md: corpus, kernel, models, diagnose, findings, report, watch.
"""

__version__ = "0.1.0"
