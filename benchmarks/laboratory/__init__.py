"""The gradient laboratory: the gradients of many estimators at the same parameters, minibatches and noise."""
