"""Backbone and head make a network."""
