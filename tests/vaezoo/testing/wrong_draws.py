"""Wrong estimators that declare to transform their noise, so that single values are not compared."""

from tests.vaezoo.testing.corpus import ENCODER, RARE_DRAWS, wrong


@wrong(RARE_DRAWS, transforms_noise=True)
def clamped_antithetic(log_weight, reduction, q, noise, prediction):
    noise = noise.clamp(-3, 3)
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))


@wrong("mean value is the objective", transforms_noise=True)
def half_of_the_noise(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise.abs()), q))


@wrong(ENCODER, transforms_noise=True)
def antithetic_with_one_path(log_weight, reduction, q, noise, prediction):
    sides = q.rsample(noise), q.rsample(-noise).detach()
    return 0.5 * sum(reduction.value(log_weight(z, q)) for z in sides)
