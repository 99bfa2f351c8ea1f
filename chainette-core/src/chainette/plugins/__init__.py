"""Plugins: what they are, how they are found and loaded.

A plugin is a distribution with entry points in the group `chainette.backends`. The name of an
entry point is the backend's name, its value a module (or object) with an implementation of the
hook `chainette_backends`.
"""

from chainette.plugins.backend import API_VERSION, CHAT_SAMPLING, Backend, Capabilities
from chainette.plugins.discovery import PluginInfo, installed, load, not_installed, survey
from chainette.plugins.hookspecs import hookimpl

__all__ = [
    "API_VERSION",
    "CHAT_SAMPLING",
    "Backend",
    "Capabilities",
    "PluginInfo",
    "hookimpl",
    "installed",
    "load",
    "not_installed",
    "survey",
]
