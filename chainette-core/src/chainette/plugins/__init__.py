"""Backends from other distributions: the hooks, the record of a backend, and discovery.

A plugin is a distribution with entry points in the group `chainette.backends`. The name of an
entry point is the backend's name, its value a module (or object) with an implementation of the
hook `chainette_backends`.
"""
