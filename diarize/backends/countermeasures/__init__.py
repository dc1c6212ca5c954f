"""Spoofing countermeasures: windows of sound -> how much they sound like a person rather than a machine or a replay.

`aasist_graph` (weights of AASIST -> an ONNX graph), `onnx_windows` (any ONNX graph that takes windows of samples).
"""
