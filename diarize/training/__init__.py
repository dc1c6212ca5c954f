"""Speaker models of a user's own: trained, adapted to other recordings, and exported to smaller files.

    a TOML file -> recipe -> data: utterances of speakers, decoded once -> augmentation: speed, noise, rooms, telephones
    -> filterbanks -> architectures -> losses -> trainer, with checkpoints and EER on held_out speakers
    -> exporting to ONNX, checked against the original -> card -> the model store
    any model (trunks) -> shrinking: 8-bit integers, 16-bit floats

Modules import torch, which the extra `train` brings, except `recipe`, `data`, `card`, `trunks` and `shrinking`.
"""
