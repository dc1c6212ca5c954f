"""The page of the app: three tabs over `AppAnswers` (Gradio). Nothing is sent to anybody else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError, MissingExtra
from pipelines.app.answers import EXAMPLES, AppAnswers

WAITING = 32  # requests in the queue; more are refused
LARGEST = "500mb"  # of an uploaded recording
QUIET = {  # Gradio counts its users and looks for new versions unless it is told not to
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
LIMITS = (
    "Noise, a distant microphone, several speakers, and unusual ways to speak make the answers less reliable. A "
    "recording of a recording, or a synthetic voice, can pass as the person."
)


def build(answers: AppAnswers) -> Any:
    """The app (a `gradio.Blocks`). Raises MissingExtra."""
    gradio = _gradio()
    pairs = (("nora-1.ogg", "nora-2.ogg"), ("nora-1.ogg", "felix.ogg"))
    examples = [[str(EXAMPLES / name) for name in pair] for pair in pairs]
    models = [("the default" if name == "auto" else name, name) for name in answers.models()]

    def audio(label: str, *sources: str) -> Any:
        sources = sources or ("microphone", "upload")
        return gradio.Audio(label=label, sources=list(sources), type="filepath", buttons=["download"])

    with gradio.Blocks(title="diarize", analytics_enabled=False) as app:
        with gradio.Tab("Compare two recordings"):
            gradio.Markdown("Are both recordings of one person? Record with the microphone, or choose files.")
            with gradio.Row():
                first = audio("Recording A")
                second = audio("Recording B")
            with gradio.Row():
                model = gradio.Dropdown(models, value=models[0][1], label="Model", interactive=True)
                effects = gradio.Checkbox(
                    label="Effects chain: gain -1 dB, silence removed, first 10 s", value=False, interactive=True
                )
            compare = gradio.Button("Compare", variant="primary")
            verdict = gradio.Textbox(label="Answer", lines=4, interactive=False)
            compare.click(answers.compare, [first, second, model, effects], verdict, api_name="compare")
            gradio.Examples(examples, [first, second], label="Synthetic voices: one person, two people")
            gradio.Markdown(LIMITS)
        with gradio.Tab("Enrol and identify"):
            with gradio.Row():
                with gradio.Column():
                    name = gradio.Textbox(label="Name", max_lines=1)
                    consent = gradio.Textbox(label="Consent: what this person has agreed to", max_lines=2)
                    own = audio("This person alone")
                    enrol = gradio.Button("Enrol", variant="primary")
                    enrolled = gradio.Textbox(label="Result", lines=3, interactive=False)
                with gradio.Column():
                    who = audio("Who speaks here?")
                    identify = gradio.Button("Identify", variant="primary")
                    names = gradio.Textbox(label="Speakers", lines=8, interactive=False)
            enrol.click(answers.enrol, [name, own, consent], enrolled, api_name="enrol")
            identify.click(answers.identify, who, names, api_name="identify")
        with gradio.Tab("Who said what, when"):
            meeting = audio("Recording", "upload", "microphone")
            start = gradio.Button("Process", variant="primary")
            page = gradio.HTML(label="Listen and correct")
            text = gradio.Textbox(label="Transcript", lines=12, interactive=False)
            files = gradio.Files(label="Files", interactive=False)

            def processed(recording: str | None) -> tuple[str, list[str], str]:
                result = answers.process(recording)
                return result.text, list(result.files), result.page

            start.click(processed, meeting, [text, files, page], api_name="process")
    app.queue(default_concurrency_limit=1, max_size=WAITING)
    return app


def serve(
    app: Any,
    place: tuple[str, int | None],
    folder: Path,
    started: Callable[[str], None],
    secret: tuple[str, str] | None = None,
) -> None:
    """Serve the app at (host, port; None: the first free one from 7860 on) until Ctrl-C.

    `folder` holds the files that it offers, `started` gets its address, `secret` is (user, password). Raises
    ConfigError for a port that is taken.
    """
    gradio = _gradio()
    host, port = place
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # none from the network
    try:
        _, address, _ = app.launch(
            server_name=host,
            server_port=port,
            auth=secret,
            allowed_paths=[str(EXAMPLES), str(folder)],
            max_file_size=LARGEST,
            theme=theme,
            footer_links=[],
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            quiet=True,
            prevent_thread_lock=True,
        )
    except OSError as error:
        raise ConfigError("--port", str(port), "cannot be opened", "Give another one.") from error
    started(address)
    try:
        app.block_thread()
    finally:
        app.close()


def _gradio() -> Any:
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    try:
        import gradio
    except ImportError as error:
        raise MissingExtra("app", "app") from error
    return gradio
