"""Traces in: discover, recognise, read, load, index, account for."""
