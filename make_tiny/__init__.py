"""How the embedded base model `tiny` is made: its texts, what reads them, a tokenizer, and the training.

data, plots, exchanges    text files to read and edit by hand: words and tables, stories, questions and answers
corpus                    endless conversations out of them, the same for a seed
train                     a model from random weights: `python -m make_tiny.train --help`

Nothing here is needed to use the model; it lies ready in `tonghua/tiny`.
"""
