"""Pure grammar and arithmetic: S3 keys, FITS and cube byte layout, time scales. Refuses all I/O."""
