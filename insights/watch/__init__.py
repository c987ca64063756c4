"""Findings kept under watch: counted again, compared, gated in CI, and turned into a regression set."""
