"""Tables and figures of the gradient studies, from gradients.csv alone."""
