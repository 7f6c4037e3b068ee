"""The resources of MatrixInfer (group `matrixinfer.ai/v1alpha1`) and the subset of a core Pod that they become.

Here belong: one type for each kind, what they have in common (`meta`), the table of kinds (`registry`), the names of
our labels, and reading manifests with errors that a person understands. Here does not belong: what is done with a
resource. Pure: no input or output. Imported by the other parts of `handlers` and by the command line.
"""
