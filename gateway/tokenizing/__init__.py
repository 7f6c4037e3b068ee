"""The pools' own tokenizers and chat templates: from a client's JSON to the token ids that the engine will compute.

Here belong reading them from disk, rendering, encoding, and who does that on the loop or in a thread. What cannot be
tokenized is no error: the pipeline goes on with byte blocks. Where a request goes is not decided here, and no engine is
known. Only here are `tokenizers` and `jinja2` imported, and only when a pool names a tokenizer. For the gateway alone.
"""
