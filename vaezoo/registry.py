"""The registry of variants, with their sources."""

from __future__ import annotations

from functools import partial

from vaezoo import estimators
from vaezoo.baselines import LEARNED, LEAVE_ONE_OUT, MOVING_AVERAGE, NO_BASELINE
from vaezoo.estimators import (
    doubly_reparameterized,
    gumbel_softmax,
    pathwise,
    score_function,
    st_gumbel_softmax,
    sticking_the_landing,
)
from vaezoo.models import mlp_bernoulli, mlp_categorical, mlp_normal, mlp_point
from vaezoo.objectives import beta_elbo, ciwae, elbo, elbo_mc, iwae, reconstruction
from vaezoo.variants import Variant

HINTON = "Hinton and Salakhutdinov 2006, Reducing the dimensionality of data with neural networks, Science 313"
KINGMA = "Kingma and Welling 2014, Auto-encoding variational Bayes, arXiv:1312.6114"
HIGGINS = "Higgins et al. 2017, beta-VAE, ICLR; Burgess et al. 2018, arXiv:1804.03599"
DOERSCH = "Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4 (left)"
REINFORCE = (
    "Williams 1992, REINFORCE, Machine Learning 8; for variational inference: Paisley et al. 2012, Variational "
    "Bayesian inference with stochastic search, arXiv:1206.6430"
)
NVIL = "Mnih and Gregor 2014, Neural variational inference and learning in belief networks (NVIL), arXiv:1402.0030"
EMA = f"{NVIL}, the constant c alone"
VIMCO = "Mnih and Rezende 2016, Variational inference for Monte Carlo objectives (VIMCO), arXiv:1602.06725"
RLOO = f"Kool et al. 2019, Buy 4 REINFORCE samples, get a baseline for free!, ICLR workshop; {VIMCO}"
BURDA = "Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519"
STL = "Roeder et al. 2017, Sticking the landing, arXiv:1703.09194"
DREG = "Tucker et al. 2019, Doubly reparameterized gradient estimators for Monte Carlo objectives, arXiv:1810.04152"
RAINFORTH = "Rainforth et al. 2018, Tighter variational bounds are not necessarily better, arXiv:1802.04537"
BENGIO = "Bengio et al. 2013, Estimating or propagating gradients through stochastic neurons, arXiv:1308.3432"
JANG = "Jang et al. 2017, Categorical reparameterization with Gumbel-softmax, arXiv:1611.01144"
MADDISON = "Maddison et al. 2017, The concrete distribution, arXiv:1611.00712"
REINMAX = "Liu et al. 2023, Bridging discrete and backpropagation: straight-through and beyond, arXiv:2304.08612"
ARM = "Yin and Zhou 2019, ARM: Augment-REINFORCE-merge gradient for stochastic binary networks, arXiv:1807.11143"
DISARM = "Dong et al. 2020, DisARM: an antithetic gradient estimator for binary latent variables, arXiv:2006.10680"
REBAR = "Tucker et al. 2017, REBAR: low-variance, unbiased gradient estimates, arXiv:1703.07370"
RELAX = "Grathwohl et al. 2018, Backpropagation through the void (RELAX), arXiv:1711.00123"

TEMPERATURE = 0.5  # of relaxed draws; Jang et al. 2017 lower it to this value during training
bernoulli = partial(Variant, architecture=mlp_bernoulli, objective=elbo, latent_dim=200)
categorical = partial(Variant, architecture=mlp_categorical, objective=elbo, latent_dim=200)

VARIANTS: tuple[Variant, ...] = (
    Variant("autoencoder", mlp_point, reconstruction, pathwise, source=HINTON),
    Variant("vae", mlp_normal, elbo, pathwise, source=f"{KINGMA}, equation 10"),
    Variant("vae-2", mlp_normal, elbo, pathwise, draws=2, source=f"{KINGMA}, equation 10 with L = 2"),
    Variant("beta-vae", mlp_normal, beta_elbo(4.0), pathwise, source=HIGGINS),
    Variant("vae-blocked", mlp_normal, elbo, estimators.blocked, unbiased=False, source=DOERSCH),
    Variant("vae-mc-kl", mlp_normal, elbo_mc, pathwise, source=f"{KINGMA}, equation 6"),
    Variant("vae-stl", mlp_normal, elbo_mc, sticking_the_landing, source=STL),
    Variant("reinforce-vae", mlp_normal, elbo, score_function(NO_BASELINE), source=REINFORCE),
    Variant("reinforce-vae-ema", mlp_normal, elbo, score_function(MOVING_AVERAGE), source=EMA),
    Variant("reinforce-vae-nvil", mlp_normal, elbo, score_function(LEARNED), source=NVIL),
    Variant("reinforce-vae-loo", mlp_normal, elbo, score_function(LEAVE_ONE_OUT), draws=2, source=RLOO),
    Variant("iwae", mlp_normal, iwae, pathwise, draws=5, source=BURDA),
    Variant("iwae-stl", mlp_normal, iwae, sticking_the_landing, draws=5, unbiased=False, source=f"{STL}; {DREG}"),
    Variant("iwae-dreg", mlp_normal, iwae, doubly_reparameterized, draws=5, source=DREG),
    Variant("iwae-vimco", mlp_normal, iwae, score_function(LEAVE_ONE_OUT), draws=5, source=VIMCO),
    Variant("ciwae-dreg", mlp_normal, ciwae(0.5), doubly_reparameterized, draws=5, source=f"{RAINFORTH}; {DREG}"),
    bernoulli("bernoulli-none", estimator=score_function(NO_BASELINE), source=REINFORCE),
    bernoulli("bernoulli-ema", estimator=score_function(MOVING_AVERAGE), source=EMA),
    bernoulli("bernoulli-nvil", estimator=score_function(LEARNED), source=NVIL),
    bernoulli("bernoulli-loo", estimator=score_function(LEAVE_ONE_OUT), draws=2, source=RLOO),
    bernoulli("bernoulli-vimco", objective=iwae, estimator=score_function(LEAVE_ONE_OUT), draws=5, source=VIMCO),
    bernoulli("bernoulli-arm", estimator=estimators.arm, source=ARM),
    bernoulli("bernoulli-disarm", estimator=estimators.disarm, source=DISARM),
    bernoulli("bernoulli-rebar", estimator=estimators.rebar, source=REBAR),
    bernoulli("bernoulli-relax", estimator=estimators.relax, source=RELAX),
    bernoulli("bernoulli-st", estimator=estimators.straight_through, unbiased=False, source=BENGIO),
    bernoulli("bernoulli-reinmax", estimator=estimators.reinmax, unbiased=False, source=REINMAX),
    bernoulli("bernoulli-gumbel", estimator=gumbel_softmax(TEMPERATURE), unbiased=False, source=MADDISON),
    bernoulli("bernoulli-st-gumbel", estimator=st_gumbel_softmax(TEMPERATURE), unbiased=False, source=JANG),
    categorical("categorical-none", estimator=score_function(NO_BASELINE), source=REINFORCE),
    categorical("categorical-loo", estimator=score_function(LEAVE_ONE_OUT), draws=2, source=RLOO),
    categorical("categorical-rebar", estimator=estimators.rebar, source=REBAR),
    categorical("categorical-st", estimator=estimators.straight_through, unbiased=False, source=BENGIO),
    categorical("categorical-reinmax", estimator=estimators.reinmax, unbiased=False, source=REINMAX),
    categorical("categorical-gumbel", estimator=gumbel_softmax(TEMPERATURE), unbiased=False, source=JANG),
    categorical("categorical-st-gumbel", estimator=st_gumbel_softmax(TEMPERATURE), unbiased=False, source=JANG),
)
