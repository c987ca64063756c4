"""BrowserGym and AgentLab experiments: recognised, not read.

    summary_info.json   {"n_steps": 10, "cum_reward": 0.0, "err_msg": null, "terminated": false, "truncated": true, "stats.cum_steps": 10}
    step_3.pkl.gz       a Python pickle: the only place where the steps stand

A pickle can run code when it is loaded, so it is never loaded. The summary holds no trace; its reward can be joined to traces
that were exported otherwise with `insights label`.
"""

from __future__ import annotations

from insights.corpus.formats import Confidence, mark
from insights.corpus.sniff import Head


def _detect(head: Head) -> Confidence | None:
    return "certain" if {"n_steps", "cum_reward"} <= head.first.keys() else None


def _detect_pickle(head: Head) -> Confidence | None:
    return "certain" if head.magic == "pickle" or head.name.endswith((".pkl", ".pkl.gz", ".pickle")) else None


mark("browsergym_summary", title="BrowserGym summary without steps", rank=15, role="other", detect=_detect)
mark(
    "pickle",
    title="Python pickle, never loaded because loading runs code; export the steps as JSON",
    rank=10,
    role="other",
    detect=_detect_pickle,
)
