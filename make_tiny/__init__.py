"""How the embedded base model `tiny` is made: a story grammar, small talk, a tokenizer, and the training from random weights.

Nothing here is needed to use the model; it lies ready in `tonghua/tiny`. `python -m make_tiny.train --help` makes it anew.
"""
