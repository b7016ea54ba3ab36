"""MedASR's network in plain torch: convolutional sub-sampling, Conformer blocks, CTC head.

Modules carry the published (Hugging Face) parameter names, so a published state dict loads as it is. `fuse()` then lays
the query, key and value matrices of an attention side by side in memory and turns the sub-sampler's filters for reading
in order; the named parameters become views of that.

Two dtypes: the *stream* (sub-sampler, residual stream, layer norms, head) and the *compute* dtype of the products in
the blocks. They differ for float16 only: the published weights drive the residual stream past float16's 65,504, so it
stays float32. Batch norms are float32 always: not every accelerator has them in the others. A recipe may keep more
(`voxport.models.recipe`). A module computes in the dtype of its parameters, and a sum of the residual stream in that of
the norm that reads it; what is read is taken there first.

Shapes: B windows, T frames of 40 ms, D width, H heads.
After "Conformer: Convolution-augmented Transformer for Speech Recognition", Gulati et al., 2020, with rotary positions
("RoFormer", Su et al., 2021) and weighted residuals as published in transformers (`modeling_lasr.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voxport.models.cpu_products import linear

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voxport.models.lasr.ranges import RangeWatch


@dataclass(frozen=True)
class LasrDimensions:
    """The numbers that a published config.json fixes; the defaults are MedASR's.

    Attributes:
        n_mels: mel bands.
        width: D.
        layers, heads, ffn: blocks, attention heads, inner width of the feed-forward layers.
        kernel: of the depthwise convolution, in frames.
        subsampling_channels, subsampling_kernel, subsampling_stride: of the two convolutions of the sub-sampler.
        vocabulary: V.
        norm_eps: added to the variance in layer norms.
        rope_theta: base of the rotary positions.
        max_positions: frames that the model was made for: 10,000 = 400 s.
        ffn_residual, conv_residual: weights of the stream and of what is added to it.
        attention_bias, convolution_bias: whether those layers have biases; MedASR's have none.
    """

    n_mels: int = 128
    width: int = 512
    layers: int = 17
    heads: int = 8
    ffn: int = 2048
    kernel: int = 32
    subsampling_channels: int = 256
    subsampling_kernel: int = 5
    subsampling_stride: int = 2
    vocabulary: int = 512
    norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    max_positions: int = 10_000
    ffn_residual: tuple[float, float] = (1.5, 0.5)
    conv_residual: tuple[float, float] = (2.0, 1.0)
    attention_bias: bool = False
    convolution_bias: bool = False

    def frames(self, mel_frames: int) -> int:
        """Frames that the sub-sampler makes of so many mel frames; none of too few."""
        for _ in range(2):
            mel_frames = (mel_frames - self.subsampling_kernel) // self.subsampling_stride + 1
        return max(0, mel_frames)


class SubsamplingConvolution(nn.Module):
    """A strided convolution along time without padding; weight (out, in, K) as published."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.stride = stride
        self.rows: Tensor = torch.empty(0)

    def fuse(self) -> None:
        """Lay the filters out as rows of frame after frame, (out, K * in); the parameter becomes a view of them."""
        channels_out, channels_in, kernel = self.weight.shape
        self.rows = self.weight.data.transpose(1, 2).reshape(channels_out, -1).contiguous()
        self.weight.data = self.rows.view(channels_out, kernel, channels_in).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, in) -> (B, T', out)."""
        if not x.is_cpu:
            x = x.transpose(1, 2).to(self.weight.dtype)
            return F.conv1d(x, self.weight, self.bias, stride=self.stride).transpose(1, 2)
        # As one product of matrices, which is faster than torch's convolution (benchmarks/cpu_products.py).
        B, T, C = x.shape
        kernel = self.weight.shape[2]
        frames = (T - kernel) // self.stride + 1
        windows = x.contiguous().as_strided((B, frames, kernel * C), (T * C, self.stride * C, 1))
        return linear(windows.contiguous(), self.rows, self.bias)


class Subsampling(nn.Module):
    """Mel frames of 10 ms to frames of 40 ms."""

    def __init__(self, dims: LasrDimensions) -> None:
        super().__init__()
        kernel, stride = dims.subsampling_kernel, dims.subsampling_stride
        self.dense_0 = nn.Linear(dims.n_mels, dims.width)
        self.conv_0 = SubsamplingConvolution(dims.width, dims.width, kernel, stride)
        self.conv_1 = SubsamplingConvolution(dims.width, dims.subsampling_channels, kernel, stride)
        self.dense_1 = nn.Linear(dims.subsampling_channels, dims.width)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, mel frames, n_mels) -> (B, T, D)."""
        x = linear(mel, self.dense_0.weight, self.dense_0.bias).relu_()
        x = self.conv_0(x).relu_()
        x = self.conv_1(x).relu_()
        return linear(x, self.dense_1.weight, self.dense_1.bias)


class FeedForward(nn.Module):
    def __init__(self, dims: LasrDimensions) -> None:
        super().__init__()
        self.linear1 = nn.Linear(dims.width, dims.ffn, bias=dims.attention_bias)
        self.linear2 = nn.Linear(dims.ffn, dims.width, bias=dims.attention_bias)

    def forward(self, x: Tensor, name: str, watch: RangeWatch | None) -> Tensor:
        h = linear(x, self.linear1.weight, self.linear1.bias, activation="silu")
        h = h.to(self.linear2.weight.dtype)
        out = linear(h, self.linear2.weight, self.linear2.bias)
        if watch is not None:
            watch.look(f"{name}.linear1", h)
            watch.look(f"{name}.linear2", out)
        return out


class Attention(nn.Module):
    def __init__(self, dims: LasrDimensions) -> None:
        super().__init__()
        self.heads = dims.heads
        self.q_proj = nn.Linear(dims.width, dims.width, bias=dims.attention_bias)
        self.k_proj = nn.Linear(dims.width, dims.width, bias=dims.attention_bias)
        self.v_proj = nn.Linear(dims.width, dims.width, bias=dims.attention_bias)
        self.o_proj = nn.Linear(dims.width, dims.width, bias=dims.attention_bias)
        self.qkv_weight: Tensor = torch.empty(0)
        self.qkv_bias: Tensor | None = None

    def fuse(self) -> None:
        """Lay q, k and v side by side: ``qkv_weight`` (3D, D); the parameters become views of it."""
        projections = (self.q_proj, self.k_proj, self.v_proj)
        self.qkv_weight = torch.cat([projection.weight.data for projection in projections])
        for projection, part in zip(projections, self.qkv_weight.chunk(3), strict=True):
            projection.weight.data = part
        if self.q_proj.bias is not None:
            self.qkv_bias = torch.cat([projection.bias.data for projection in projections])
            for projection, part in zip(projections, self.qkv_bias.chunk(3), strict=True):
                projection.bias.data = part

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None, name: str, watch: RangeWatch | None
    ) -> Tensor:
        """x (B, T, D), rotation cos and sin (T, d / 2), mask (B, 1, 1, T), true where a frame is valid."""
        B, T, D = x.shape
        qkv = linear(x, self.qkv_weight, self.qkv_bias)
        if watch is not None:
            watch.look(f"{name}.qkv", qkv)
        parts = qkv.view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, T, d)
        # Contiguous heads: attention reads each key once for every block of queries.
        q, k = rotate(parts[:2], rotation).unbind(0)
        v = parts[2].contiguous()
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(B, T, D)
        attended = attended.to(self.o_proj.weight.dtype)
        out = linear(attended, self.o_proj.weight, self.o_proj.bias)
        if watch is not None:
            watch.look(name, attended)
            watch.look(f"{name}.o_proj", out)
        return out


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: each pair of numbers (i, i + d/2) of x (..., T, d) turned by its angle, in a new tensor."""
    cos, sin = rotation
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    rotated = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rotated[..., :half] = torch.addcmul(first * cos, second, sin, value=-1)
    rotated[..., half:] = torch.addcmul(second * cos, first, sin)
    return rotated


def rotary_speeds(dims: LasrDimensions, device: torch.device) -> Tensor:
    """Radians a frame by which each pair of numbers turns: float32 (d / 2,)."""
    head = dims.width // dims.heads
    return 1.0 / dims.rope_theta ** (torch.arange(0, head, 2, dtype=torch.float32, device=device) / head)


class Convolution(nn.Module):
    """Gated pointwise convolution, depthwise convolution along time, batch norm, pointwise convolution."""

    def __init__(self, dims: LasrDimensions) -> None:
        super().__init__()
        bias = dims.convolution_bias
        self.pointwise_conv1 = nn.Conv1d(dims.width, 2 * dims.width, 1, bias=bias)
        self.depthwise_conv = nn.Conv1d(dims.width, dims.width, dims.kernel, groups=dims.width, bias=bias)
        self.norm = nn.BatchNorm1d(dims.width)
        self.pointwise_conv2 = nn.Conv1d(dims.width, dims.width, 1, bias=bias)

    def forward(self, x: Tensor, valid: Tensor | None, name: str, watch: RangeWatch | None) -> Tensor:
        """x (B, T, D), valid (B, T, 1), true where a frame is valid."""
        doubled = linear(x, self.pointwise_conv1.weight.squeeze(2), self.pointwise_conv1.bias)
        gated = F.glu(doubled, dim=-1)
        if valid is not None:
            gated = gated.masked_fill(~valid, 0.0)
        gated = gated.to(self.depthwise_conv.weight.dtype)
        filtered = self.depthwise(gated)
        norm = self.norm
        normed = F.batch_norm(
            filtered.reshape(-1, x.shape[2]).to(norm.weight.dtype),
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            eps=norm.eps,
        )
        normed = F.silu(normed, inplace=True).to(self.pointwise_conv2.weight.dtype).view_as(x)
        out = linear(normed, self.pointwise_conv2.weight.squeeze(2), self.pointwise_conv2.bias)
        if watch is not None:
            watch.look(f"{name}.pointwise_conv1", doubled)
            watch.look(f"{name}.glu", gated)
            watch.look(f"{name}.depthwise_conv", filtered)
            watch.look(f"{name}.norm", normed)
            watch.look(f"{name}.pointwise_conv2", out)
        return out

    def depthwise(self, x: Tensor) -> Tensor:
        """Each channel of x (B, T, D) with its own filter, as long as x: an even kernel looks one frame further ahead
        than back (``padding="same"``)."""
        weight, bias = self.depthwise_conv.weight, self.depthwise_conv.bias
        kernel = weight.shape[2]
        padded = F.pad(x, (0, 0, (kernel - 1) // 2, kernel // 2))
        if not x.is_cpu:
            return F.conv1d(padded.transpose(1, 2), weight, bias, groups=weight.shape[0]).transpose(1, 2)
        # As an image one pixel high whose channels lie side by side, as they do here: torch's one-dimensional
        # convolution would turn it over and back, and takes longer (benchmarks/cpu_products.py).
        image = padded.unsqueeze(1).permute(0, 3, 1, 2)
        filters = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        return F.conv2d(image, filters, bias, groups=weight.shape[0]).squeeze(2).transpose(1, 2)


class Block(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward; a norm before each and behind all."""

    def __init__(self, dims: LasrDimensions, index: int) -> None:
        super().__init__()
        self.feed_forward1 = FeedForward(dims)
        self.self_attn = Attention(dims)
        self.conv = Convolution(dims)
        self.feed_forward2 = FeedForward(dims)
        self.norm_feed_forward1 = nn.LayerNorm(dims.width, dims.norm_eps, bias=False)
        self.norm_self_att = nn.LayerNorm(dims.width, dims.norm_eps, bias=False)
        self.norm_conv = nn.LayerNorm(dims.width, dims.norm_eps, bias=False)
        self.norm_feed_forward2 = nn.LayerNorm(dims.width, dims.norm_eps, bias=False)
        self.norm_out = nn.LayerNorm(dims.width, dims.norm_eps, bias=False)
        self.name = f"encoder.layers.{index}"
        self.ffn_residual, self.conv_residual = dims.ffn_residual, dims.conv_residual

    def forward(
        self,
        x: Tensor,
        rotation: tuple[Tensor, Tensor],
        valid: Tensor | None,
        watch: RangeWatch | None,
    ) -> Tensor:
        """x (B, T, D)."""
        mask = None if valid is None else valid.transpose(1, 2).unsqueeze(1)
        normed = self.norm_feed_forward1(x.to(self.norm_feed_forward1.weight.dtype))
        branch = self.feed_forward1(normed, f"{self.name}.feed_forward1", watch)
        x = weighted(x, branch, self.ffn_residual, self.norm_self_att.weight.dtype)
        normed = self.norm_self_att(x)
        if valid is not None:
            # The mask gives padding the weight 0, and 0 times what may have overflowed there is NaN.
            normed = normed.masked_fill(~valid, 0.0)
        branch = self.self_attn(normed, rotation, mask, f"{self.name}.self_attn", watch)
        x = x.to(self.norm_conv.weight.dtype) + branch.to(self.norm_conv.weight.dtype)
        branch = self.conv(self.norm_conv(x), valid, f"{self.name}.conv", watch)
        x = weighted(x, branch, self.conv_residual, self.norm_feed_forward2.weight.dtype)
        branch = self.feed_forward2(self.norm_feed_forward2(x), f"{self.name}.feed_forward2", watch)
        x = weighted(x, branch, self.ffn_residual, self.norm_out.weight.dtype)
        out: Tensor = self.norm_out(x)
        return out


def weighted(stream: Tensor, branch: Tensor, weights: tuple[float, float], dtype: torch.dtype) -> Tensor:
    """Their weighted sum, in `dtype`."""
    return (stream.to(dtype) * weights[0]).add_(branch.to(dtype), alpha=weights[1])


class Encoder(nn.Module):
    """Log-mel frames to hidden states."""

    def __init__(self, dims: LasrDimensions) -> None:
        super().__init__()
        self.dims = dims
        self.subsampler = Subsampling(dims)
        self.layers = nn.ModuleList(Block(dims, index) for index in range(dims.layers))
        self.out_norm = nn.LayerNorm(dims.width, dims.norm_eps, bias=False)

    def forward(self, mel: Tensor, valid: Tensor | None, watch: RangeWatch | None) -> Tensor:
        """mel (B, mel frames, n_mels), valid (B, T, 1) -> (B, T, D)."""
        x = self.subsampler(mel)
        rotation = self.rotation(x.shape[1], x.device)
        dtypes = [cast("Block", layer).self_attn.qkv_weight.dtype for layer in self.layers]
        rotations = {dtype: (rotation[0].to(dtype), rotation[1].to(dtype)) for dtype in set(dtypes)}
        for layer, dtype in zip(self.layers, dtypes, strict=True):
            x = layer(x, rotations[dtype], valid, watch)
        out: Tensor = self.out_norm(x.to(self.out_norm.weight.dtype))
        return out

    def rotation(self, frames: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the angles, each (T, d / 2), in float32 as published."""
        angles = torch.arange(frames, dtype=torch.float32, device=device)[:, None] * rotary_speeds(self.dims, device)
        return angles.cos(), angles.sin()


class Lasr(nn.Module):
    """The whole network, with the published names."""

    def __init__(self, dims: LasrDimensions) -> None:
        super().__init__()
        self.dims = dims
        self.encoder = Encoder(dims)
        self.ctc_head = nn.Conv1d(dims.width, dims.vocabulary, 1)

    def forward(self, mel: Tensor, lengths: Sequence[int] | None = None, watch: RangeWatch | None = None) -> Tensor:
        """Logits of a batch.

        Args:
            mel: (B, mel frames, n_mels).
            lengths: valid mel frames of each window, None = all. What lies beyond moves no valid logit.
            watch: told of the blocks' results, for float16.

        Returns:
            float32 (B, T, V); meaningless beyond a window's valid frames.
        """
        valid = None
        frames = self.dims.frames(mel.shape[1])
        if lengths is not None and min(lengths) < mel.shape[1]:
            counts = torch.tensor([self.dims.frames(length) for length in lengths], device=mel.device)
            valid = (torch.arange(frames, device=mel.device) < counts[:, None])[:, :, None]
        if watch is not None:
            watch.valid = valid
        hidden = self.encoder(mel, valid, watch)
        return linear(hidden, self.ctc_head.weight.squeeze(2), self.ctc_head.bias).float()

    def fuse(self) -> None:
        """After the weights are loaded, cast and on their device: moving parts the views."""
        for module in self.modules():
            if isinstance(module, (Attention, SubsamplingConvolution)):
                module.fuse()
