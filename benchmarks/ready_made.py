"""How the ready-made styles of checkpoints/ were made: the notebook's own train().

    python benchmarks/ready_made.py STYLE FOLDER [--photos FOLDER ...] [--steps 700]
        [--style-weight 3e10] [--style-size 256] [--temporal-weight 1000] [--learning-rate 1.5e-3]
        [--image-size 128] [--batch-size 4] [--vgg-weights imagenet]
        [--start-from checkpoints/start.pth] [--share 1]

STYLE: a name in data/styles. FOLDER gets the checkpoints, and can be given again to go on;
STYLE.pth (16-bit weights) is written there at the end. It learns on data/frames without every 11th
(held out, for benchmarks/worth.py and album.py), whole and in quarters, and on the photos of other
folders, less every 11th. --share: how much of the way from the start's weights to the trained ones
to go in the end (both must paint the same style): between two trainings of different steadiness
lie networks of every steadiness between. The choices that made each file stand in
checkpoints/README.md.
"""

import pathlib

from common import ROOT, START, load_style, nb, options, training_photos


def main() -> None:
    """Train, and write STYLE.pth."""
    parser = options(
        __doc__, steps=700, style_weight=3e10, temporal_weight=1000.0, learning_rate=1.5e-3,
        image_size=128, batch_size=4, vgg_weights="imagenet", start_from=START, style_size=256,
        share=1.0,
    )
    parser.add_argument("--photos", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("style")
    parser.add_argument("folder", type=pathlib.Path)
    given = vars(parser.parse_args())
    name, folder, photos, share = (given.pop(k) for k in ("style", "folder", "photos", "share"))
    style = load_style(given.pop("style_size"), ROOT / "data" / "styles" / f"{name}.jpg")
    photos = training_photos(given["image_size"] * 9 // 8, photos)
    nb.train(photos, style, folder, **given)
    final = nb.load_checkpoint(folder / "final.pth")
    before = nb.load_checkpoint(given["start_from"])
    begun = nb.load_network(given["start_from"]).state_dict()  # of any wrapping
    final["network"] = {
        key: begun[key].lerp(value, share).half() for key, value in final["network"].items()
    }
    final["seconds"] += before.get("seconds", 0.0)  # the start belongs to what it has cost
    what = ", ".join(f"{key} {value}" for key, value in given.items() if key != "start_from")
    begin = f"from {given['start_from'].name}, share {share:g}"
    final["made_by"] = f"benchmarks/ready_made.py {name}: {what}, {begin}"
    final["settings"]["start_from"] = given["start_from"].name
    nb.save_checkpoint(folder / f"{name}.pth", **final)


if __name__ == "__main__":
    main()
