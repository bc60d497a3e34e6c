"""The leaderboard: published figures, our results, the static site that shows both, and the guard over them."""
