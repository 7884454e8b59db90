"""Approximate posteriors, priors and likelihoods."""
