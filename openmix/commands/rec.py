"""Pack images into RecordIO files, MXNet's format that DALI reads, and look after such files. MXNet is not needed."""

import argparse
from typing import Any

from openmix.commands._choices import FILTERS
from openmix.commands._parallel import cpus

__all__ = ["add_arguments", "main"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="pack a folder, or the images of a list", description=MAKE)
    make.add_argument("source", metavar="FOLDER_OR_LIST", help="a folder of one folder a class, or a .lst")
    make.add_argument("output", metavar="OUT.rec", help="beside it will lie OUT.idx and OUT.json, the manifest")
    _add_list_options(make)
    make.add_argument("--resize", type=int, metavar="N", help="the shorter side in pixels (default: as it is)")
    make.add_argument("--filter", choices=FILTERS, help="Pillow's, to resize (default: bicubic)")
    make.add_argument("--center-crop", action="store_true", help="cut out the square in the middle")
    make.add_argument("--encoding", choices=("jpg", "png"), help="the format of the images (default: jpg)")
    make.add_argument("--quality", type=int, metavar="N", help="JPEG's, 1 to 100 (default: 95)")
    make.add_argument("--color", choices=("rgb", "grey"), help="of the images (default: rgb)")
    make.add_argument("--jobs", type=int, default=cpus(), metavar="N", help="processes (default: one for each CPU)")
    make.add_argument("--shards", type=int, default=1, metavar="N", help="write N files, OUT-0-of-N.rec and so on")
    make.add_argument("--skip-bad", action="store_true", help="leave out images that cannot be read")
    make.add_argument("--check", action="store_true", help="decode also images that are packed as they are")
    make.add_argument("--force", action="store_true", help="write over files of another set")
    listing = actions.add_parser("list", help="write the list that make would pack")
    listing.add_argument("source", metavar="FOLDER_OR_LIST", help="as for make")
    listing.add_argument("output", metavar="OUT.lst", help="lines of number, label, path")
    _add_list_options(listing)
    listing.add_argument("--force", action="store_true", help="write over a list that is there")
    _add_actions_on_files(actions)


def _add_list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", metavar="DIR", help="what a list's paths are relative to (default: the list's folder)"
    )
    parser.add_argument(
        "--classes", metavar="FILE.json",
        help="the class names in label order, for all splits; written from the folders where there is none",
    )  # fmt: skip
    parser.add_argument(
        "--shuffle", action=argparse.BooleanOptionalAction,
        help="whether to change the order (default: a folder's images yes, a list's no)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=100, metavar="N", help="to shuffle (default: 100, as MXNet's)")
    parser.add_argument(
        "--pack-label", action="store_true",
        help="a list's labels may be several an image, and any numbers (default: one, a class number)",
    )  # fmt: skip


def _add_actions_on_files(actions: Any) -> None:
    index = actions.add_parser("index", help="write the index of a .rec, for which MXNet was needed")
    index.add_argument("files", nargs="+", metavar="FILE.rec")
    index.add_argument("--manifest", action="store_true", help="also note SHA-256 sums, by which verify finds damage")
    index.add_argument(
        "--force", action="store_true", help="write over the index that is there, with --manifest the manifest"
    )
    check = actions.add_parser("verify", help="find what is damaged; exits with 1 if something is")
    check.add_argument("files", nargs="+", metavar="FILE.rec")
    show = actions.add_parser("ls", help="list the records: number, id, offset, bytes, labels")
    show.add_argument("file", metavar="FILE.rec")
    extract = actions.add_parser("extract", help="write the images as files, OUT/LABEL/ID.jpg, as they were packed")
    extract.add_argument("file", metavar="FILE.rec")
    extract.add_argument("output", metavar="OUT", help="a folder that is not there, or empty")


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked for; return 1 if an image could not be read, or a file is damaged."""
    from openmix.commands import _rec_files, _rec_make

    if arguments.action == "make":
        return _rec_make.make(arguments)
    return _rec_make.make_list(arguments) if arguments.action == "list" else _rec_files.main(arguments)


MAKE = """Pack images: their bytes as they are, unless --resize, --center-crop, --encoding, --quality or --color asks
for new ones. The same command goes on where an earlier one was stopped, and writes the same bytes with any --jobs."""
