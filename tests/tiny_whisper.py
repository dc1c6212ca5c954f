"""A Whisper of the real shape with random weights: it hears nothing, but its words have places, as the real one's do.

It is made by transformers and converted by CTranslate2, so that faster-whisper loads it as it would load a real one.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

_TASKS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nocaptions|>", "<|notimestamps|>")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BYTES = 256  # the first tokens, one a byte
_ABOUT = 12  # text tokens after which the end of the text becomes likely


def make(folder: Path, *, multilingual: bool = True) -> Path:
    """A faster-whisper folder: model.bin, config.json, tokenizer.json, vocabulary.json, preprocessor_config.json."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from transformers import GenerationConfig, PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration
    from transformers.utils import logging

    languages = [f"<|{code}|>" for code in _LANGUAGE_CODES if code != "yue"]  # 99, as the first Whispers have
    specials = ["<|endoftext|>", "<|startoftranscript|>", *languages, *_TASKS]
    tokenizer = _tokenizer([*specials, *(f"<|{i * 0.02:.2f}|>" for i in range(1501))], multilingual)
    end, start = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|startoftranscript|>")
    roles = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start}

    torch.manual_seed(1)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=tokenizer.get_vocab_size(),
            num_mel_bins=80,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            init_std=0.6,
            **roles,
        )
    )
    with torch.no_grad():
        decoder = model.model.decoder
        table = decoder.embed_tokens.weight  # the output's, too: a row of zeros is never the likeliest token
        table[:_BYTES] = 0
        table[end + 1 :] = 0
        table[start + 1 : start + 1 + len(languages)] = torch.randn(len(languages), 16) / 50
        table[[tokenizer.token_to_id("Ġ" + letter) for letter in _LETTERS]] *= 1.3  # words begin often
        table[end] *= 3
        late = torch.clamp(torch.arange(448.0) - _ABOUT, min=0)[:, None]
        decoder.embed_positions.weight += late * table[end]  # and in time the text ends
    model.generation_config = GenerationConfig(
        suppress_tokens=[],
        begin_suppress_tokens=[end],
        alignment_heads=[[0, 0], [0, 1]],
        lang_to_id={code: tokenizer.token_to_id(code) for code in languages},
        **roles,
    )

    source = folder.with_name(folder.name + "-source")
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own, about each other
        model.save_pretrained(source)
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(source)
        (source / "preprocessor_config.json").write_text(json.dumps({"feature_size": 80}))
        copied = ["tokenizer.json", "preprocessor_config.json"]
        TransformersConverter(str(source), copy_files=copied).convert(str(folder), quantization="float32")
    if bar:
        logging.enable_progress_bar()
    return folder


def _tokenizer(specials: list[str], multilingual: bool) -> Any:
    """Byte-level BPE like Whisper's: all bytes, then pairs of letters and letters after a space."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    pairs = [(a, b) for a in ["Ġ", *_LETTERS] for b in _LETTERS]
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in pairs)]
    if multilingual:
        tokens.append("")  # CTranslate2 tells a multilingual Whisper by this token
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a multilingual tiny Whisper."""
    return make(tmp_path_factory.mktemp("whisper") / "tiny-random")
