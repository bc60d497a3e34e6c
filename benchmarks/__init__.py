"""Experiments and measurements: tables of the paper, distillation, speed, the shipped weights."""
