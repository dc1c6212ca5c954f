"""The model store: which models exist (registry), where they are (store), how they get there (fetch,
wheels, matching).

`checkpoint` reads PyTorch checkpoints without PyTorch. Nothing else in this project downloads anything.
"""
