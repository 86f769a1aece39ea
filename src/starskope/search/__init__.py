"""Signals in light curves: power spectra, Lomb-Scargle periodograms, spectrograms, transits and their verdicts."""
