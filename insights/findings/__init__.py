"""Predicates run, quotations checked, verdicts reached, findings ranked, failures partitioned."""
