"""CustomResourceDefinitions, rendered from the pydantic types: these are the only definition of a resource.

Here belong: what an API server wants of a schema and pydantic does not make so, the columns of `kubectl get`, and the
putting together. What a field means and which values it takes stands with the field.
"""
