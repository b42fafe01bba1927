"""RecordIO, the file format of MXNet that DALI reads: many encoded images in one file, without MXNet."""

from openmix.data.recordio.format import (
    FramingError,
    ImageHeader,
    pack_image,
    pack_record,
    read_record,
    unpack_image,
)
from openmix.data.recordio.index import index_path
from openmix.data.recordio.manifest import Manifest, manifest_path, read_manifest
from openmix.data.recordio.reader import RecordFile
from openmix.data.recordio.verify import Damage, Report, verify
from openmix.data.recordio.writer import RecordWriter, write_records

__all__ = [
    "Damage", "FramingError", "ImageHeader", "Manifest", "RecordFile", "RecordWriter", "Report", "index_path",
    "manifest_path", "pack_image", "pack_record", "read_manifest", "read_record", "unpack_image", "verify",
    "write_records",
]  # fmt: skip
