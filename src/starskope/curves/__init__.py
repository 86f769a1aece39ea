"""Light curves: the container, extraction from frames, and reading and writing.

Owns everything that is indexed by time and star. Refuses pixels (``frames``) and the search for signals (``search``).
"""
