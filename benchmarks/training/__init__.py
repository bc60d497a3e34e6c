"""Training: recipes, the pixel cache, balanced batches, the Lightning module and the run around it."""
