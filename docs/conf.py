from importlib import metadata

project = "starskope"
author = "The starskope developers"
release = metadata.version("starskope")
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc", "myst_parser"]
html_theme = "furo"
html_title = f"starskope {release}"
exclude_patterns = ["_build"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
myst_heading_anchors = 3
