"""Sphinx's configuration; `make docs` builds the site into `docs/_build/html`."""

from importlib.metadata import version as installed

project = "Chainette"
author = "The Chainette authors"
copyright = author
version = release = installed("chainette")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Chainette"
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

nb_execution_mode = "off"  # a test executes notebooks
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # what is included from elsewhere starts at its own level

default_role = "code"  # docstrings write code between single backticks
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_use_ivar = True  # fields are described once, by their class
copybutton_prompt_text = "$ "
