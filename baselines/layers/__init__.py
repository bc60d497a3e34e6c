"""Layers that several published networks share."""
