"""Where vision meets text: gated cross-attention before a decoder layer, and gated copying behind the last one."""

import math

import torch
import torch.nn.functional as F
from torch import nn

KeyValue = tuple[torch.Tensor, torch.Tensor]


STREAM_AXIS = {"Gemma3nTextDecoderLayer": 0}  # elsewhere streams lie before the last axis
"""Where decoder layers that run several streams side by side (AltUp, hyper-connections) keep them apart."""


def mean_stream(hidden_states: torch.Tensor, size: int, layer: nn.Module) -> torch.Tensor:
    """
    One hidden state a token, also of a decoder that runs several streams side by side.

    Args:
        hidden_states (`torch.Tensor`): `[B, T, D]`, `[B, T, S, D]`, `[B, T, S * D]` or `[S, B, T, D]`.
        size (`int`): width D.
        layer (`nn.Module`): the decoder layer that they enter.

    Returns:
        `torch.Tensor`: `[B, T, D]`; the input itself where there is one stream.
    """
    if hidden_states.dim() == 4:
        return hidden_states.mean(STREAM_AXIS.get(type(layer).__name__, 2))
    return hidden_states if hidden_states.shape[-1] == size else hidden_states.unflatten(-1, (-1, size)).mean(2)


def add_to_streams(hidden_states: torch.Tensor, update: torch.Tensor, layer: nn.Module) -> torch.Tensor:
    """
    Adds the same to every stream.

    Args:
        hidden_states (`torch.Tensor`): in one of the forms of [`mean_stream`] with several streams.
        update (`torch.Tensor`): `[B, T, D]`.
        layer (`nn.Module`): the decoder layer that they enter.

    Returns:
        `torch.Tensor`: as `hidden_states`.
    """
    if hidden_states.dim() == 4:
        return hidden_states + update.unsqueeze(STREAM_AXIS.get(type(layer).__name__, 2))
    return hidden_states + update.repeat(1, 1, hidden_states.shape[-1] // update.shape[-1])


def reset_projections(layer: nn.Module) -> None:
    """Draws a layer's own projections anew, and resets its norms.

    Args:
        layer (`nn.Module`): whose children are drawn.
    """
    for module in layer.children():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.0 / math.sqrt(module.in_features))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def _are_finite(states: torch.Tensor) -> torch.Tensor:
    """Whether all numbers of states `[B, T, D]` are finite, `[B, T, 1]`: inf and NaN stay in the sum, which is quicker
    to make than a test of each."""
    return states.sum(-1, keepdim=True, dtype=torch.float32).isfinite()


class GatedCrossAttention(nn.Module):
    """
    Pre-norm cross-attention from text to vision and a small feed-forward, both behind gates that start closed.

    The gate of each head and token is `tanh(alpha) * sigmoid(W [h; context] + b)`, with the attended vision context:
    `alpha` (zero at the start) opens the layer, the sigmoid weighs vision against text. Gated cross-attention follows
    Flamingo (Alayrac et al. 2022, arXiv 2204.14198), whose gate is `tanh(alpha)` alone.

    Args:
        hidden_size (`int`): width D of the decoder.
        vision_size (`int`): width Dv of the vision states.
        dim (`int`): inner width of the attention.
        num_heads (`int`): heads; also the number of attention gates.
        ffn_dim (`int`): inner width of the feed-forward; 0 for none.
    """

    def __init__(self, hidden_size: int, vision_size: int, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.norm = nn.LayerNorm(hidden_size)
        self.vision_norm = nn.LayerNorm(vision_size)
        self.q_proj = nn.Linear(hidden_size, dim, bias=False)
        self.kv_proj = nn.Linear(vision_size, 2 * dim, bias=False)
        self.o_proj = nn.Linear(dim, hidden_size, bias=False)
        self.gate_proj = nn.Linear(hidden_size + dim, num_heads + bool(ffn_dim))
        self.alpha = nn.Parameter(torch.zeros(num_heads + bool(ffn_dim)))
        self.ffn_norm = nn.LayerNorm(hidden_size) if ffn_dim else None
        self.ffn_in = nn.Linear(hidden_size, ffn_dim) if ffn_dim else None
        self.ffn_out = nn.Linear(ffn_dim, hidden_size) if ffn_dim else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draws the projections anew and closes the gates."""
        reset_projections(self)
        nn.init.zeros_(self.gate_proj.weight)
        nn.init.zeros_(self.alpha)

    @torch.no_grad()
    def open_gate(self, value: float = 0.75) -> None:
        """
        Opens all gates, as bridge pre-training needs it.

        Args:
            value (`float`, *optional*, defaults to 0.75): `tanh(alpha)` from now on, in (-1, 1).
        """
        self.alpha.fill_(math.atanh(value))

    def key_value(self, vision: torch.Tensor) -> KeyValue:
        """
        Keys and values of the vision states of P pictures.

        Args:
            vision (`torch.Tensor`): `[P, N, Dv]`.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: keys and values, each `[P, heads, N, head_dim]`.
        """
        pictures, tokens, _ = vision.shape
        kv = self.kv_proj(self.vision_norm(vision.to(self.alpha.dtype)))  # [P, N, 2 * dim]
        kv = kv.view(pictures, tokens, 2, self.num_heads, self.head_dim).permute(
            2, 0, 3, 1, 4
        )  # [2, P, heads, N, head_dim]
        return kv[0], kv[1]

    def forward(
        self,
        hidden_states: torch.Tensor,
        vision: torch.Tensor | None = None,
        vision_index: torch.Tensor | None = None,
        vision_mask: torch.Tensor | None = None,
        key_value: KeyValue | None = None,
        output_attentions: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """
        Adds gated vision to text.

        Args:
            hidden_states (`torch.Tensor`): `[B, T, D]`.
            vision (`torch.Tensor`, *optional*): `[P, N, Dv]` vision states of the pictures; not needed with
                `key_value`.
            vision_index (`torch.Tensor`, *optional*): `[B]` picture of each row; defaults to row b and picture b.
            vision_mask (`torch.Tensor`, *optional*): `[P, N]` bool, `False` where a vision state is padding, or
                `[P, T, N]`, `False` where a token is not to see it.
            key_value (`tuple`, *optional*): what `key_value` gave for the pictures.
            output_attentions (`bool`, *optional*, defaults to `False`): whether to return attention weights.

        Returns:
            `tuple`: hidden states `[B, T, D]`, equal to the input while the gates are closed; gates `[B, T, heads (+ 1
                for the
            feed-forward)]` in (-1, 1); attention weights `[B, heads, T, N]` or `None`.
        """
        batch, tokens, _ = hidden_states.shape
        key, value = self.key_value(vision) if key_value is None else key_value
        if vision_index is not None:
            key, value = (
                key.index_select(0, vision_index),
                value.index_select(0, vision_index),
            )  # [B, heads, N, head_dim]
            vision_mask = None if vision_mask is None else vision_mask.index_select(0, vision_index)
        mask = None
        if vision_mask is not None:  # [B, 1, 1 or T, N]
            mask = vision_mask[:, None, None] if vision_mask.dim() == 2 else vision_mask[:, None]

        text = hidden_states.to(self.alpha.dtype)
        normed = self.norm(text)  # [B, T, D]
        query = self.q_proj(normed).view(batch, tokens, self.num_heads, self.head_dim).transpose(1, 2)
        attentions = None
        if output_attentions:
            scores = query @ key.transpose(-1, -2) / math.sqrt(self.head_dim)  # [B, heads, T, N]
            attentions = (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
            context = attentions @ value  # [B, heads, T, head_dim]
        else:
            context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # [B, heads, T, head_dim]
        context = context.transpose(1, 2)  # [B, T, heads, head_dim]

        gates = torch.sigmoid(self.gate_proj(torch.cat([normed, context.flatten(2)], dim=-1)))
        gates = torch.tanh(self.alpha) * gates  # [B, T, heads (+ 1)]
        update = self.o_proj((context * gates[..., : self.num_heads, None]).flatten(2))  # [B, T, D]
        if self.ffn_in is not None:
            inner = F.gelu(self.ffn_in(self.ffn_norm(text + update)))
            update = update + gates[..., -1:] * self.ffn_out(inner)  # [B, T, D]
        # A row that the decoder has already driven to inf (half precision) passes as it is: 0 * inf would make it NaN.
        update = torch.where(_are_finite(hidden_states), update, 0.0)
        return hidden_states + update.to(hidden_states.dtype), gates, attentions


class AnswerCopy(nn.Module):
    """
    Lets the decoder copy an answer that the question spelt when it read the picture.

    Names and numbers that stand in a picture are known to the resampler token by token; through cross-attention alone
    a frozen decoder would have to learn to spell them anew. The spelt token whose turn it is is added to the decoder's
    last states behind a gate, where the tied output head reads it as a preference for that token: a pointer (See et
    al. 2017, eq. 9) in the space of the word embeddings.

    Args:
        hidden_size (`int`): width D of the decoder and of its word embeddings.
        answer_tokens (`int`): spelt tokens S.
    """

    PLACES = 24  # numbers of tokens beyond a question that are told apart; from there on nothing is copied

    def __init__(self, hidden_size: int, answer_tokens: int) -> None:
        super().__init__()
        self.turn = nn.Embedding(self.PLACES, answer_tokens + 1)  # which token's turn it is; the last: none's
        self.norm = nn.LayerNorm(hidden_size)
        self.gate_proj = nn.Linear(hidden_size, 1)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.log_scale = nn.Parameter(torch.zeros(1))
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Begins with each token in its turn, a scale at which near words are told apart, and the gate closed."""
        reset_projections(self)
        tokens = self.turn.embedding_dim - 1
        turns = (torch.arange(self.PLACES) - 5).clamp(0, tokens)  # LEAML's own prompt puts 5 tokens around a question
        turns[-1] = tokens
        self.turn.weight.copy_(4.0 * F.one_hot(turns, tokens + 1))
        nn.init.zeros_(self.gate_proj.weight)
        nn.init.zeros_(self.alpha)
        nn.init.constant_(self.log_scale, math.log(32.0))

    open_gate = GatedCrossAttention.open_gate

    def forward(self, last_hidden_state: torch.Tensor, spelled: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
        """
        Adds the spelt answer to the decoder's last states.

        Args:
            last_hidden_state (`torch.Tensor`): `[B, T, D]` after the decoder's final norm.
            spelled (`torch.Tensor`): `[B, S, D]` unit vectors.
            since (`torch.Tensor`): `[B, T]` long, how many tokens more than its question a row has up to here; below 0
                there is nothing to copy yet.

        Returns:
            `torch.Tensor`: `[B, T, D]`, equal to the input while the gate is closed.
        """
        text = last_hidden_state.to(self.alpha.dtype)
        turns = self.turn(since.clamp(0, self.PLACES - 1)).softmax(-1)[..., :-1]  # [B, T, S]
        copied = (turns * (since >= 0)[..., None]) @ spelled.to(text.dtype)  # [B, T, D]
        gate = torch.tanh(self.alpha) * torch.sigmoid(self.gate_proj(self.norm(text)))  # [B, T, 1]
        update = torch.where(_are_finite(text), gate * self.log_scale.exp() * copied, 0.0)
        return last_hidden_state + update.to(last_hidden_state.dtype)
