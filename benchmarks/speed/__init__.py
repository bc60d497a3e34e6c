"""Speed as ratios within one run, and the physical limits beside them."""
