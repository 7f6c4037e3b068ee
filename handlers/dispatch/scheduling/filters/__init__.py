"""Filters: who comes into question at all. One module a plug-in, each with a row in docs/plugins.md and in `registry`.

A filter drops pods, and never adds, reorders or scores them. Imported by the registry and by tests only.
"""
