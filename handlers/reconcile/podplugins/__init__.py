"""Plug-ins that change the Pods of a ModelInfer as they are made.

Here belong: what a plug-in is (`port`), the table of all there are (`registry`), how a chain of them is run (`chain`),
and the built-in ones, a module each. Pure: `(pod, context) -> pod`. What people may tell the built-in ones stands in
`handlers.api.podplugins`, where admission checks it.
"""
