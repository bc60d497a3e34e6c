"""The store of real rainy photographs, and the search in it by meaning, look and structure (paper, section 3.1)."""
