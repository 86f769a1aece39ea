"""Pixels: streaming, decoding, quality, WCS, background, stacking and photometry of frames. Refuses to know stars' curves."""
