"""Plain, independent definitions to compare the notebook with: the networks' arithmetic spelled
out, layer by layer.

`weights` are state dicts with the names that pytorch/examples and the blog gave their parameters.
"""

import torch
import torch.nn.functional as F

BLOG = ("encoder.", "residual.resblock_", "decoder.")  # how the blog's names begin


def convolve(x, weights, name, stride=1):
    kernel = weights[f"{name}.conv2d.weight"]
    edge = kernel.shape[-1] // 2
    padded = F.pad(x, (edge, edge, edge, edge), mode="reflect")
    return F.conv2d(padded, kernel, weights[f"{name}.conv2d.bias"], stride=stride)


def normalize(x, weights, name):
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    scale, shift = (weights[f"{name}.{what}"].view(1, -1, 1, 1) for what in ("weight", "bias"))
    return (x - mean) / (variance + 1e-5).sqrt() * scale + shift


def residual(x, weights, name):
    y = convolve(x, weights, f"{name}.conv1")
    y = normalize(y, weights, f"{name}.in1").relu()
    y = convolve(y, weights, f"{name}.conv2")
    return x + normalize(y, weights, f"{name}.in2")


def double(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def johnson(x, weights, prefixes=("", "res", ""), decoder_relu=True):
    """The network of pytorch/examples' fast_neural_style; with other prefixes and no decoder ReLUs,
    the blog's."""
    encoder, block, decoder = prefixes
    for n, stride in ((1, 1), (2, 2), (3, 2)):
        x = convolve(x, weights, f"{encoder}conv{n}", stride)
        x = normalize(x, weights, f"{encoder}in{n}").relu()
    for n in range(1, 6):
        x = residual(x, weights, f"{block}{n}")
    for n in (1, 2):
        x = convolve(double(x), weights, f"{decoder}deconv{n}")
        x = normalize(x, weights, f"{decoder}in{n + 3}")
        x = x.relu() if decoder_relu else x
    return convolve(x, weights, f"{decoder}deconv3")


def blog(x, weights):
    """The blog's network: its decoder's ReLUs were added to the encoder, behind the third, where
    they change nothing."""
    return johnson(x, weights, BLOG, decoder_relu=False)


def random_weights(prefixes=("", "res", ""), seed=0) -> dict:
    """A full set of parameters under the given names."""
    encoder, block, decoder = prefixes
    shapes = {
        f"{encoder}conv1": (32, 3, 9),
        f"{encoder}conv2": (64, 32, 3),
        f"{encoder}conv3": (128, 64, 3),
        f"{decoder}deconv1": (64, 128, 3),
        f"{decoder}deconv2": (32, 64, 3),
        f"{decoder}deconv3": (3, 32, 9),
    }
    norms = {f"{encoder}in{n}": channels for n, channels in ((1, 32), (2, 64), (3, 128))}
    norms |= {f"{decoder}in4": 64, f"{decoder}in5": 32}
    for n in range(1, 6):
        shapes |= {f"{block}{n}.conv{k}": (128, 128, 3) for k in (1, 2)}
        norms |= {f"{block}{n}.in{k}": 128 for k in (1, 2)}
    generator, weights = torch.Generator().manual_seed(seed), {}
    for name, (out, inputs, side) in shapes.items():
        kernel = torch.randn(out, inputs, side, side, generator=generator)
        weights[f"{name}.conv2d.weight"] = kernel / (inputs * side * side) ** 0.5
        weights[f"{name}.conv2d.bias"] = torch.randn(out, generator=generator) * 0.1
    for name, channels in norms.items():
        weights[f"{name}.weight"] = 1 + 0.3 * torch.randn(channels, generator=generator)
        weights[f"{name}.bias"] = 0.3 * torch.randn(channels, generator=generator)
    return weights


def gram(features):
    """Equation of section 3.2, entry by entry over positions: (C, H, W) -> (C, C), float64."""
    c, h, w = features.shape
    flat = features.double().reshape(c, h * w)
    return torch.einsum("ip,jp->ij", flat, flat) / (c * h * w)
