"""Detectors: programs that read a run event by event and say what they saw.

    scan = Scan()
    for event in events_of(trace):
        for signal in scan.step(event):
            ...

The same code scans a corpus at ingest (`scan_trace`), a corpus again (`scan_corpus`) and a live run (`Scan.step`).
`DETECTORS` lists them; thresholds stand in configs/default.yaml; docs/detectors.md has measured precisions.
"""

from primitives.detectors.event import Event, Signal, events_of
from primitives.detectors.over_corpus import scan_corpus
from primitives.detectors.registry import DETECTORS, Detector, UnknownThreshold, thresholds
from primitives.detectors.scan import Scan, scan_trace

__all__ = [
    "DETECTORS",
    "Detector",
    "Event",
    "Scan",
    "Signal",
    "UnknownThreshold",
    "events_of",
    "scan_corpus",
    "scan_trace",
    "thresholds",
]
