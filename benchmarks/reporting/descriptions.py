"""What a variant does, in one line of words, from the names of its objective, estimator and baseline."""

from __future__ import annotations

import re

OBJECTIVES = {
    "elbo": "",
    "elbo_mc": "KL from draws",
}
ESTIMATORS = {
    "pathwise": "reparameterized",
    "score_function": "REINFORCE",
    "blocked": "no gradient through z",
    "sticking_the_landing": "sticking the landing",
    "doubly_reparameterized": "doubly reparameterized",
    "arm": "antithetic pairs (ARM)",
    "disarm": "antithetic pairs (DisARM)",
    "rebar": "REINFORCE, relaxed draws as control variate (REBAR)",
    "relax": "REINFORCE, relaxed draws and a network as control variate (RELAX)",
    "straight_through": "straight through",
    "reinmax": "straight through, second order (ReinMax)",
    "gumbel_softmax": "relaxed draws (Gumbel-softmax)",
    "st_gumbel_softmax": "straight through relaxed draws (Gumbel-softmax)",
}
BASELINES = {
    "none": "no baseline",
    "moving_average": "moving average as baseline",
    "learned": "learned baseline",
    "leave_one_out": "leave-one-out baseline",
}


def describe_variant(objective: str, estimator: str, baseline: str, draws: int) -> str:
    """Return one line: "REINFORCE, leave-one-out baseline, 2 draws". Other names are shown as they are."""
    if objective == "reconstruction":
        return "reconstruction only, no KL"
    kind, _, argument = estimator.partition("(")
    parts = (
        ESTIMATORS.get(kind, estimator.replace("_", " ")),
        f"temperature {argument.rstrip(')')}" if argument and kind in ESTIMATORS else "",
        BASELINES.get(baseline, baseline.replace("_", " ")),
        OBJECTIVES.get(objective, f"objective {objective}"),
        f"{draws} draws" if draws > 1 else "",
    )
    return ", ".join(part for part in parts if part)


def shorten_source(source: str) -> str:
    """Return authors and year of the first source: "Kingma and Welling 2014"; all of it if it has no year."""
    match = re.match(r".*?\b(19|20)\d\d\b", source)
    return match.group() if match else source
