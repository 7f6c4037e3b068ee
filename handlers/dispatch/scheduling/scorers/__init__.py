"""Scorers: how good a pod is, from one point of view, in [0, 1]. One module a plug-in, each with a row in
docs/plugins.md and in `registry`.

A scorer knows nothing of the others or of its weight. Imported by the registry and by tests only.
"""
