"""Pickers: one pod out of the weighted scores. One module a plug-in, each with a row in docs/plugins.md and in
`registry`.

A picker looks at totals, never into pods. Imported by the registry and by tests only.
"""
