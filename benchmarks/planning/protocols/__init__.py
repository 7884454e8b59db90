"""From settings to the protocol that cells share: defaults of the data set, and contradictions."""
