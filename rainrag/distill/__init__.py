"""Distillation: which pairs are kept, stage by stage, and the splits that come of it (paper, section 3.1)."""
