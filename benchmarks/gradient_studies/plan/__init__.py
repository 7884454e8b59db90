"""Plan the cells of the gradient studies."""
