"""Chains by name: from Python files, modules and YAML."""
