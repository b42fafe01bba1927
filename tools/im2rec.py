#!/usr/bin/env python
"""MXNet's im2rec on `openmix rec`: list a folder, then pack its lists, without MXNet.

  python tools/im2rec.py data/train train_images --list --recursive --train-ratio 0.9
  python tools/im2rec.py data/train train_images --resize 256 --quality 90 --num-thread 8

writes data/train_train.lst and data/train_val.lst, then a .rec, an .idx and a .json beside each. docs/recordio.md says
what differs from MXNet's. `openmix rec make` does both in one step.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from openmix.commands import run_command
from openmix.commands._rec_make import list_and_warn, write
from openmix.data.recordio.listing import Listing, list_text
from openmix.errors import Reported, UserError


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line, in MXNet's spelling."""
    parser = argparse.ArgumentParser(
        prog="tools/im2rec.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prefix", help="what the names of .lst, .rec and .idx begin with")
    parser.add_argument("root", help="the folder of images")
    parser.add_argument("--list", action="store_true", help="write lists; without it, pack them")
    parser.add_argument("--recursive", action="store_true", help="list a folder of one folder a class; needed to list")
    parser.add_argument("--train-ratio", type=float, default=1.0, help="part of the images in _train (default: all)")
    parser.add_argument("--test-ratio", type=float, default=0.0, help="part of them in _test; the rest is in _val")
    parser.add_argument("--no-shuffle", action="store_true", help="list in the order of the names")
    parser.add_argument("--shuffle", action="store_true", help="the default")
    parser.add_argument("--pass-through", action="store_true", help="pack the files' bytes as they are")
    parser.add_argument("--resize", type=int, help="the shorter side in pixels (default and 0: as it is)")
    parser.add_argument("--center-crop", action="store_true", help="cut out the square in the middle")
    parser.add_argument("--quality", type=int, help="JPEG's (default: 95)")
    parser.add_argument("--num-thread", type=int, default=1, help="processes")
    parser.add_argument("--color", type=int, choices=(-1, 0, 1), help="1 RGB (default), 0 grey; -1 is not supported")
    parser.add_argument("--encoding", choices=(".jpg", ".png"), help="the format (default: .jpg)")
    parser.add_argument("--pack-label", action="store_true", help="pack all labels of a list, and any numbers")
    parser.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read")
    parser.add_argument("--force", action="store_true", help="write over what is there")
    return parser.parse_args(argv)


def write_lists(options: argparse.Namespace) -> None:
    """Write one list, or those of the parts: the test images first, then the training ones, and what is left."""
    if not options.recursive:
        raise UserError("--list takes --recursive, one folder a class; without, MXNet labels all images 0")
    train, test = options.train_ratio, options.test_ratio
    if not (0 <= train <= 1 and 0 <= test <= 1 and train + test <= 1):
        raise UserError(f"--train-ratio and --test-ratio are at least 0 and at most 1 together, got {train} and {test}")
    if not Path(options.root).is_dir():
        raise UserError(f"root is no folder: {options.root}")
    listing = list_and_warn(Path(options.root))
    listing = listing if options.no_shuffle else listing.shuffled(100)
    first, second = int(len(listing) * test), int(len(listing) * test) + int(len(listing) * train)
    parts = {"_test": range(first), "_train": range(first, second), "_val": range(second, len(listing))}
    for suffix, numbers in {"": range(len(listing))}.items() if train == 1 else parts.items():
        if len(numbers):
            write_list(Path(f"{options.prefix}{suffix}.lst"), listing.taken(numbers), options.force)


def write_list(path: Path, listing: Listing, force: bool) -> None:
    """Write one list."""
    if path.exists() and not force:
        raise UserError(f"{path} is there; --force writes over it")
    write(path, list_text(listing).encode("utf-8", "surrogateescape"))
    print(f"{len(listing)} images listed in {path}")


def pack_lists(options: argparse.Namespace) -> int:
    """Pack PREFIX.lst, PREFIX_train.lst and so on, each into a .rec beside it."""
    prefix = Path(options.prefix)
    parts = re.compile(re.escape(prefix.name) + r"(_train|_val|_test|_\d+)?\.lst")
    lists = sorted(path for path in prefix.parent.glob("*.lst") if parts.fullmatch(path.name))
    if not lists:
        raise UserError(f"there is no {prefix}.lst, _train.lst, _val.lst or _test.lst; --list writes them")
    if options.color == -1:
        raise UserError("--color -1, images with transparency, is not supported; give 1 or 0")
    if options.num_thread < 1:
        raise UserError(f"--num-thread must be at least 1, got {options.num_thread}")
    anew = {"--resize": options.resize or None, "--center-crop": options.center_crop or None}
    anew |= {"--quality": options.quality, "--color": options.color, "--encoding": options.encoding}
    if options.pass_through and (given := [name for name, value in anew.items() if value is not None]):
        raise UserError(f"--pass-through packs the files' bytes as they are, without {', '.join(given)}; leave one out")
    flags = ["--root", options.root, "--jobs", str(options.num_thread)]
    flags += [f"--{name}" for name in ("pack-label", "skip-bad", "force") if getattr(options, name.replace("-", "_"))]
    if not options.pass_through:
        encoding = options.encoding or ".jpg"
        flags += ["--encoding", encoding[1:], "--color", "grey" if options.color == 0 else "rgb"]
        # MXNet's --quality is PNG's compression, too, which loses nothing either
        flags += ["--quality", str(95 if options.quality is None else options.quality)] if encoding == ".jpg" else []
        flags += ["--resize", str(options.resize)] if options.resize else []
        flags += ["--center-crop"] if options.center_crop else []
    code = 0
    for path in lists:
        command = ["make", str(path), str(path.with_suffix(".rec")), *flags]
        code = code or run_command("rec", command, prog="tools/im2rec.py")
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """List or pack, and return the exit code."""
    options = arguments(argv)
    try:
        if not options.list:
            return pack_lists(options)
        write_lists(options)
        return 0
    except Reported as report:
        print(f"error: {report}", file=sys.stderr)
        return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
