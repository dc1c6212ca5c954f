"""The app on a Hugging Face Space: the Space decides who may open it, and its disk is empty at each start."""

import os
import sys

import run_pipeline

HOST = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")

if __name__ == "__main__":
    sys.exit(
        run_pipeline.main(
            ["app", "--no-browser", "--without-password", "--host", HOST, "--library", "speakers.db", *sys.argv[1:]]
        )
    )
