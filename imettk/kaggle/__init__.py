"""The platform: where things are on it, the pack that goes there, the answers that leave it."""
