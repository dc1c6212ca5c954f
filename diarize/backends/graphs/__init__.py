"""Graphs of neural networks: files of models -> ONNX graphs that ONNX Runtime runs.

`ort_format` reads the format of ONNX Runtime and cuts a graph to the values that are wanted; `segmentation_graph`
restores a quantised segmentation model to floating point; `quantisation` changes a graph in floating point into one in
8-bit integers; `builder` writes graphs node by node.
"""
