"""The model store: which models there are (registry), where they lie (store), how they come (fetch, checkpoint).

Nothing else in this project downloads anything.
"""
