"""The auditor: repeats every decision from the chain alone, and the content from a bundle."""

from consent_contracts.auditor.audit import audit
from consent_contracts.auditor.explain import explain
from consent_contracts.auditor.verdict import Check, Verdict

__all__ = ["Check", "Verdict", "audit", "explain"]
