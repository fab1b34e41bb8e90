"""The platform: the pack that goes there, sessions and chains of them, outputs that come back, submissions."""
