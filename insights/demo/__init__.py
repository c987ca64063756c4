"""A simulated support desk whose agent has planted faults: known truth to try the whole system on."""

from insights.demo.compare import Row, compare_with_findings
from insights.demo.simulate import Plant, Plants, simulate

__all__ = ["Plant", "Plants", "Row", "compare_with_findings", "simulate"]
