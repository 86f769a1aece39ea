"""Patterns in many stars: restricted Boltzmann machines, the features that they learn, and classifiers on these."""
