"""The comparing verbs on real corpora of ../shared, against figures known from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from primitives import open_corpus

SHARED = Path(__file__).resolve().parents[3] / "shared" / "corpora"


def ingested(name, folder):
    source = SHARED / name
    if not source.exists():
        pytest.skip(f"needs {source}, which is not here")
    from insights.corpus.load import ingest

    ingest([source], folder / "c.corpus", jobs=1)
    return open_corpus(folder / "c.corpus", threads=2)


@pytest.fixture(scope="module")
def airline(tmp_path_factory):
    return ingested("taubench/gpt-4o-airline.json", tmp_path_factory.mktemp("airline"))


@pytest.fixture(scope="module")
def tau2(tmp_path_factory):
    return ingested("tau2", tmp_path_factory.mktemp("tau2"))


def test_most_ngrams_of_airline_are_significant_until_difficulty_is_adjusted_for(airline):
    """statistics: of 88 action n-grams 41 by Fisher after Benjamini-Hochberg; 2 keep p < .05 under CMH by task."""
    frame = airline.sequences(limit=10_000)
    assert 36 <= frame.attrs["significant_unadjusted"] <= 46
    assert frame.attrs["significant_adjusted"] <= 8
    assert (frame["q"] < 0.1).sum() == 0
    assert frame.attrs["adjusted_for"] == "task (50 tasks, 26 with mixed outcome)"


def test_length_goes_with_failing_in_airline_only_across_tasks(airline):
    row = airline.compare(features=["numbers"]).set_index("feature").loc["n_steps"]
    assert row["effect_unadjusted"] < -0.3 and row["p_unadjusted"] < 1e-4
    assert row["low"] < 0 < row["high"] and row["p"] > 0.05


def test_what_passes_in_airline_does_what_the_reference_asks(airline):
    """statistics: wrong argument 43, missing write 35, unneeded write 31, wrong tool 4, other 3 of 116 failures."""
    frame = airline.deviations(by="class").set_index("main")
    failed = frame["failed"].to_dict()
    assert sum(failed.values()) == 116 and frame["passed"].sum() == 84
    assert frame.loc["none", "passed"] >= 83
    assert abs(failed["wrong argument"] - 43) <= 8 and abs(failed["missing action"] - 35) <= 8
    assert abs(failed["unneeded action"] - 31) <= 1 and failed["wrong tool"] == 4
    assert failed["none"] + failed["missing output"] <= 4


def test_rules_find_the_cancellations_of_tau2(tau2):
    """The report in shared/baseline: of 23 airline runs that cancel what must not be cancelled none passes."""
    frame = tau2.rules()
    found = frame[frame["action"] == "cancel_reservation is called"]
    assert (found["q"] < 0.01).any() and (found["bad_k"] == 0).any()
    unneeded = tau2.deviations("dataset = 'airline'", by="item").iloc[:3].set_index(["kind", "name"])
    assert unneeded.loc[("unneeded action", "cancel_reservation"), ["failed", "passed"]].tolist() == [23, 0]


def test_the_references_of_tau2_are_met_by_what_passes(tau2):
    frame = tau2.deviations("dataset <> 'telecom'", by="class").set_index("main")
    assert frame.loc["none", "passed"] > 40 * frame.loc["none", "failed"]
