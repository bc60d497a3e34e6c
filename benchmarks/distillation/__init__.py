"""Distillation measured on pairs whose truth is known; see docs/measured.md."""
