"""The reference configuration (ViT-L/16 and a 7B decoder) without memory for its weights, to count what LEAML adds."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .modeling_leaml import LeamlForVisualQA


def build_reference(
    lora_rank: int = 8, fusion_layers: list[int] | None = None, lora_layers: list[int] | None = None
) -> "LeamlForVisualQA":
    """
    Builds the reference configuration on the meta device.

    Args:
        lora_rank (`int`, *optional*, defaults to 8): rank of LoRA.
        fusion_layers (`list[int]`, *optional*): decoder layers with gated cross-attention; defaults to the upper
            third.
        lora_layers (`list[int]`, *optional*): decoder layers with LoRA; defaults to the upper third.

    Returns:
        [`LeamlForVisualQA`]: shapes only; `num_added_parameters()` tells its parts.
    """
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, LlamaConfig, ViTConfig

    from .modeling_leaml import LeamlForVisualQA

    vision = ViTConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16)
    text = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32)
    with torch.device("meta"):
        return LeamlForVisualQA.from_backbones(
            vision=AutoModel.from_config(vision, add_pooling_layer=False),
            text=AutoModelForCausalLM.from_config(text),
            lora_rank=lora_rank,
            fusion_layers=fusion_layers,
            lora_layers=lora_layers,
        )
