"""Pixels: streaming, decoding, quality, WCS, background, stacking and photometry; knows no light curve."""
