"""Build the embedded base model `tiny`: its texts, their readers, a tokenizer, and the training.

data, plots, exchanges    text files to edit by hand: words and tables, stories, questions and answers
corpus                    an endless stream of conversations from them, the same for the same seed
train                     train a model from random weights: `python -m make_tiny.train --help`

Using the model needs nothing from here: the finished model is in `tonghua/tiny`.
"""
