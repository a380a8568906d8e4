"""Attacks on an application, as a test that its authors run: the catalogue, the forge, the wire, the judge."""

from __future__ import annotations

from .suite import attack_suite

__all__ = ["attack_suite"]
