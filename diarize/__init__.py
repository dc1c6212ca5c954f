"""Speaker diarization and transcript labelling: who said what, when.

The nouns are in `diarize.types`, the verbs in `diarize.stages`; recipes that put them together are in `pipelines`.
Importing this package loads no model runtime (torch, onnxruntime, pandas, librosa, faster_whisper).
"""

__version__ = "0.1.0"
