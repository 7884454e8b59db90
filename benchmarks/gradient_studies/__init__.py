"""Studies that measure the gradients of all estimators at equal parameters, minibatches and noise."""
