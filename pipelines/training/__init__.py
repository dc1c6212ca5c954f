"""Speaker models of a user's own: a recipe -> clips -> a trained network -> ONNX -> the model store."""
