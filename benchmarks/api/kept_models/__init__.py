"""Models that a run has kept: evaluated again, sampled, and given to a user."""
