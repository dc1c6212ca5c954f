"""Words and whose they are.

In order: `recognition` (chunks of speech for a recognizer, tokens -> words, notes on the result), `alignment`
(attention -> times of words), `labelling` (word -> speaker).
"""
