"""Plans: settings, data sets, the registry of variants, and the cells of a run."""
