"""How near is a style to a start: the loss on held-out photos after a few steps.

    python benchmarks/near.py FILE ... [--styles great_wave forest] [--steps 100]
        [--learning-rate 1e-3] [--vgg-weights imagenet] [--at 0 25 50 100] [--image-size 128]
        [--batch-size 4] [--style-size 256] [--photos FOLDER ...]

The notebook's own train() from each FILE (a network to begin at), for each style of data/styles, on
the bundled frames; with --photos on these, their quarters and the folders' photos. Prints the loss
(content and style, weighted) on the frames that were held out.
"""

import pathlib
import tempfile

import torch
from common import ROOT, bundled_photos, load_style, nb, options, training_photos


def main() -> None:
    """Train from each file in each style, and print the losses on the way."""
    parser = options(
        __doc__, styles=["great_wave", "forest"], steps=100, learning_rate=1e-3,
        vgg_weights="imagenet", at=[0, 25, 50, 100], image_size=128, batch_size=4, style_size=256,
    )
    parser.add_argument("--photos", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    given = parser.parse_args()
    size = given.image_size
    frames, unseen = bundled_photos(size * 9 // 8)
    photos = training_photos(size * 9 // 8, given.photos) if given.photos else frames
    unseen = unseen[:, :, size // 16 :, size // 16 :][:, :, :size, :size].float().to(nb.DEVICE)
    vgg = nb.VGG16Features(given.vgg_weights).to(nb.DEVICE)
    loss_weights = nb.LOSS_WEIGHTS[given.vgg_weights]
    usual = dict(zip(("content_weight", "style_weight", "temporal_weight"), loss_weights))
    for name in given.styles:
        style = load_style(given.style_size, ROOT / "data" / "styles" / f"{name}.jpg")
        loss_of = nb.PerceptualLoss(vgg, style.to(nb.DEVICE), *loss_weights[:2])
        for file in given.files:
            found = {}

            @torch.no_grad()
            def note(step: int, losses, network: torch.nn.Module, found=found, loss_of=loss_of):
                if step in given.at:
                    totals = [loss_of(network(x), x).total.item() for x in unseen.split(4)]
                    found[step] = sum(totals) / len(totals)

            note(0, None, nb.load_network(file).to(nb.DEVICE))
            with tempfile.TemporaryDirectory() as folder:
                nb.train(
                    photos, style, folder, steps=given.steps, batch_size=given.batch_size,
                    image_size=size, start_from=file, watch=note, checkpoint_every=10**6,
                    learning_rate=given.learning_rate, vgg_weights=given.vgg_weights, **usual,
                )
            values = ", ".join(f"{step}: {value:,.0f}" for step, value in found.items())
            print(f"{name} from {file.name}, loss after steps {values}", flush=True)


if __name__ == "__main__":
    main()
