"""Whether one run is worse than another, or slower: needs no torch."""
