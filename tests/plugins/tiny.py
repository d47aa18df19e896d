"""Tiny models of the hub, random ones, each made from its configuration and saved in a folder as the hub has them."""

from pathlib import Path
from typing import Any

import torch

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "bird", "fish", "sings", "swims", "."]
SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def bert(folder: Path, **told: Any) -> Path:
    from transformers import BertConfig, BertModel

    _words(folder)
    torch.manual_seed(1)
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **SHAPE, **told)).save_pretrained(folder)
    return folder


def vit(folder: Path) -> Path:
    from transformers import ViTConfig, ViTModel
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    torch.manual_seed(2)
    ViTModel(ViTConfig(image_size=16, patch_size=8, **SHAPE)).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def wav2vec2(folder: Path, **told: Any) -> Path:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(3)
    convolutions = {"conv_dim": (8, 8), "conv_kernel": (10, 4), "conv_stride": (8, 4), "feat_extract_norm": "layer"}
    places = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    config = Wav2Vec2Config(**convolutions, **places, **SHAPE, **told)
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True, sampling_rate=4000).save_pretrained(folder)
    return folder


def clip(folder: Path) -> Path:
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    _words(folder)
    torch.manual_seed(4)
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 16, "eos_token_id": 3, **SHAPE}
    config = CLIPConfig(text_config=text, vision_config={"image_size": 16, "patch_size": 8, **SHAPE}, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def _words(folder: Path) -> None:
    """A tokenizer of whole words: [CLS] words [SEP]."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)
