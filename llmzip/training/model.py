"""The float model that is trained: Mistral's shape with fused matrices, so that two CPU cores are well used.

Only for training; the folder that ``export`` writes is read by transformers and by the exact engine.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llmzip.training.rungs import VOCABULARY_SIZE, Rung

ROPE_THETA = 10000.0
NORM_EPSILON = 1e-6


def attend_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention as two plain products: query [batch, length, heads, dim], key and value with fewer heads, mask added.

    Returns [batch, heads, length, dim]. Queries of one group share a key head: one product a group instead of one a
    head, which two CPU cores do faster than torch's fused attention.
    """
    batch, length, heads, dim = query.shape
    groups = key.shape[2]
    query = query.unflatten(2, (groups, -1)).permute(0, 2, 3, 1, 4) * dim**-0.5
    scores = torch.matmul(query.reshape(batch, groups, -1, dim), key.permute(0, 2, 3, 1))
    scores = scores.view(batch, groups, heads // groups, length, length) + mask
    weights = torch.softmax(scores.float(), -1).to(value.dtype)
    mixed = torch.matmul(weights.view(batch, groups, -1, length), value.transpose(1, 2))
    return mixed.view(batch, heads, length, dim)


def attend_fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """As ``attend_products``, by torch's fused attention, which keeps the scores out of a GPU's memory."""
    shared = query.shape[2] // key.shape[2]
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    key, value = (tensor.repeat_interleave(shared, 1) for tensor in (key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


class Block(nn.Module):
    """One pre-norm layer: grouped-query attention over a sliding window, then SwiGLU."""

    def __init__(self, rung: Rung) -> None:
        super().__init__()
        self.rung = rung
        width = rung.hidden_size
        query, key_value = rung.heads * rung.head_dim, rung.key_value_heads * rung.head_dim
        self.attention_norm = nn.Parameter(torch.ones(width))
        self.feed_forward_norm = nn.Parameter(torch.ones(width))
        self.query_key_value = nn.Parameter(torch.randn(query + 2 * key_value, width) / width**0.5)
        self.attention_out = nn.Parameter(torch.zeros(width, query))  # zero: a layer starts as the identity
        self.gate_up = nn.Parameter(torch.randn(2 * rung.feed_forward_size, width) / width**0.5)
        self.down = nn.Parameter(torch.zeros(width, rung.feed_forward_size))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        rung = self.rung
        batch, length, width = x.shape
        heads, groups, dim = rung.heads, rung.key_value_heads, rung.head_dim
        normed = F.rms_norm(x, (width,), self.attention_norm, NORM_EPSILON)
        fused = F.linear(normed, self.query_key_value).view(batch, length, heads + 2 * groups, dim)
        rotated, value = fused[:, :, : heads + groups], fused[:, :, heads + groups :]
        first, second = rotated.chunk(2, -1)
        rotated = torch.cat((first * cos - second * sin, second * cos + first * sin), -1)
        attend = attend_fused if x.is_cuda else attend_products
        mixed = attend(rotated[:, :, :heads], rotated[:, :, heads:], value, mask)
        mixed = mixed.transpose(1, 2).reshape(batch, length, heads * dim)
        x = x + F.linear(mixed, self.attention_out)
        gate, up = F.linear(F.rms_norm(x, (width,), self.feed_forward_norm, NORM_EPSILON), self.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down)


class TrainedModel(nn.Module):
    """Token ids in, mean cross-entropy in nats out."""

    def __init__(self, rung: Rung) -> None:
        super().__init__()
        self.rung = rung
        self.embedding = nn.Parameter(torch.randn(VOCABULARY_SIZE, rung.hidden_size) * 0.02)
        self.blocks = nn.ModuleList(Block(rung) for _ in range(rung.layers))
        self.final_norm = nn.Parameter(torch.ones(rung.hidden_size))

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """tokens, targets: [batch, length] int64. Returns the loss, a scalar or [batch * length]."""
        length = tokens.shape[1]
        positions = torch.arange(length, device=tokens.device)
        half = self.rung.head_dim // 2
        frequencies = ROPE_THETA ** (-torch.arange(half, device=tokens.device) / half)
        angles = positions[:, None] * frequencies
        distance = positions[:, None] - positions[None, :]
        outside = (distance < 0) | (distance >= self.rung.window)
        kind = torch.get_autocast_dtype(tokens.device.type) if torch.is_autocast_enabled(tokens.device.type) else None
        kind = kind or self.embedding.dtype
        mask = torch.zeros(length, length, dtype=kind, device=tokens.device).masked_fill(outside, -1e9)
        cos, sin = angles.cos()[:, None].to(kind), angles.sin()[:, None].to(kind)
        x = self.embedding[tokens]
        for block in self.blocks:
            x = block(x, cos, sin, mask)
        x = F.rms_norm(x, (self.rung.hidden_size,), self.final_norm, NORM_EPSILON)
        logits = F.linear(x, self.embedding).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)
