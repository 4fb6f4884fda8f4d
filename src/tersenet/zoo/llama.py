"""A small Llama (Touvron et al. 2023, arXiv:2302.13971): RMSNorm, rotary positions, SwiGLU, grouped heads.

The defaults are stories260K, trained on TinyStories; state-dict names are Llama's own. The output
layer is the embedding itself (tied), so it has no tensor of its own.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class Attention(nn.Module):
    """Causal self-attention whose key and value heads each serve several query heads."""

    def __init__(self, dim: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, dim // heads
        self.wq = nn.Linear(dim, heads * self.head_dim, bias=False)
        self.wk = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(dim, kv_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(heads * self.head_dim, dim, bias=False)

    def forward(
        self,
        x: Float[Tensor, "n t d"],
        cos: Float[Tensor, "t pairs"],
        sin: Float[Tensor, "t pairs"],
    ) -> Float[Tensor, "n t d"]:
        q = rotate(self.wq(x).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2), cos, sin)
        k = rotate(self.wk(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2), cos, sin)
        v = self.wv(x).unflatten(-1, (self.kv_heads, self.head_dim)).transpose(1, 2)
        shared = self.heads // self.kv_heads
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(y.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """w2(silu(w1 x) * w3 x)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden, bias=False)
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.w3 = nn.Linear(dim, hidden, bias=False)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    """Attention, then feed-forward, each on a normalised input and added to it."""

    def __init__(self, dim: int, hidden: int, heads: int, kv_heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, kv_heads)
        self.feed_forward = FeedForward(dim, hidden)
        self.attention_norm = nn.RMSNorm(dim, eps=1e-5)
        self.ffn_norm = nn.RMSNorm(dim, eps=1e-5)

    def forward(
        self,
        x: Float[Tensor, "n t d"],
        cos: Float[Tensor, "t pairs"],
        sin: Float[Tensor, "t pairs"],
    ) -> Float[Tensor, "n t d"]:
        x = x + self.attention(self.attention_norm(x), cos, sin)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    """Tokens to the logits of the next token at every position; 260,032 parameters."""

    cos: Tensor
    sin: Tensor

    def __init__(
        self,
        dim: int = 64,
        hidden: int = 172,
        layers: int = 5,
        heads: int = 8,
        kv_heads: int = 4,
        vocabulary: int = 512,
        max_tokens: int = 512,
    ) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocabulary, dim)
        self.layers = nn.ModuleList(Layer(dim, hidden, heads, kv_heads) for _ in range(layers))
        self.norm = nn.RMSNorm(dim, eps=1e-5)
        head_dim = dim // heads
        # Pair i turns by position * 10000^(-2i / head_dim) (Su et al. 2021, arXiv:2104.09864, eq. 15).
        speeds = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
        angles = torch.outer(torch.arange(max_tokens, dtype=torch.float32), speeds)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Int[Tensor, "n t"]) -> Float[Tensor, "n t vocabulary"]:
        x = self.tok_embeddings(tokens)
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.tok_embeddings.weight)


def rotate(
    x: Float[Tensor, "n heads t d"],
    cos: Float[Tensor, "t pairs"],
    sin: Float[Tensor, "t pairs"],
) -> Float[Tensor, "n heads t d"]:
    """Turn each pair (2i, 2i + 1) by its angle at its position."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)
