"""Configuration of Sphinx: ``sphinx-build -W --keep-going -b html docs OUTPUT``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from evalhub_server import __version__

project = "EvalHub Server"
author = "the EvalHub Server authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "evalhub_docs"]
exclude_patterns = ["_ext", "openapi.yaml"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

# Settings Structs and protocols are documented field by field; a signature of 20 defaults helps no reader.
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
suppress_warnings = ["ref.python"]  # "type" in an annotation is also the name of two fields

smartquotes = False  # it turns the two dashes of an option in plain text into one

html_theme = "furo"
html_title = f"EvalHub Server {release}"
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
