"""Commands that use kept models."""
