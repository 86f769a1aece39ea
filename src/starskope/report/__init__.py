"""Pictures and pages: what a run has made, in one file that opens anywhere.

Owns drawing and the report page. Refuses to compute results: every number comes from the products of the run.
"""
