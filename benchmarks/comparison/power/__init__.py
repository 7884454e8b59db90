"""False-alarm rate and power of `compare`, estimated from runs with many seeds."""
