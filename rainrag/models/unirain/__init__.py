"""The paper's model and its training weights, usable on their own."""
