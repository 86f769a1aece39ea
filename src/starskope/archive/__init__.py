"""What exists and where, and what is known of a star: full frame images, the archive's services, catalogues.

Refuses to move pixels (``transfer``) and to look into them (``frames``).
"""
