"""Runs and their rows as short texts and as cards, for terminals and notebooks.

`Run` and `Result` import these modules to show themselves, so no type of theirs is named here.
"""
