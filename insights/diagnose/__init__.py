"""Roles, the agent loop, orchestration, the board of hypotheses and the coverage ledger."""
