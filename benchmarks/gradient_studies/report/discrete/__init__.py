"""Tables and figures of the studies of discrete latents."""
