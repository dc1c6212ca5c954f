"""Speaker models of a user's own: trained, adapted to other recordings, and exported to smaller files.

    a TOML file -> recipe -> data: utterances of speakers, decoded once -> augmentation: speed, noise, rooms, telephones
    -> filterbanks -> architectures -> losses -> trainer, with checkpoints and EER on held_out speakers
    -> export to ONNX, checked against the original -> card -> the model store

Except `recipe` and `data`, modules import torch, which the extra `train` brings.
"""
