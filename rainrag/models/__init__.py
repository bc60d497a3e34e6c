"""Networks by name, with weights and input specification; UniRain."""
