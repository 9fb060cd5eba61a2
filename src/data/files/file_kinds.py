"""What a file is by its first bytes, whatever its name says."""

import re
from pathlib import Path
from typing import NamedTuple

from src.runtime.special_files import refuse_special

IMAGE, VIDEO, UNREAD, OTHER = "image", "video", "unread", "other"
HEAD = 512  # bytes that are looked at; the marks of a transport stream lie 188 or 192 apart


class Kind(NamedTuple):
    """IMAGE or VIDEO if it is read, UNREAD for formats that are not, else OTHER; its name."""

    what: str
    name: str


APPLE_DOUBLE = Kind(OTHER, "AppleDouble")  # a Mac's notes on the file ._NAME belongs to
EMPTY = Kind(OTHER, "empty")
UNKNOWN = Kind(OTHER, "")

STARTS = {
    b"\xff\xd8\xff": Kind(IMAGE, "JPEG"),
    b"\x89PNG\r\n\x1a\n": Kind(IMAGE, "PNG"),
    b"II*\0": Kind(IMAGE, "TIFF"),
    b"MM\0*": Kind(IMAGE, "TIFF"),
    b"II+\0": Kind(IMAGE, "TIFF"),
    b"MM\0+": Kind(IMAGE, "TIFF"),
    b"\0\0\0\x0cjP  \r\n\x87\n": Kind(IMAGE, "JPEG 2000"),
    b"\xffO\xffQ": Kind(IMAGE, "JPEG 2000"),
    b"\x1aE\xdf\xa3": Kind(VIDEO, "Matroska"),
    b"0&\xb2u\x8ef\xcf\x11": Kind(VIDEO, "ASF"),
    b"\0\0\x01\xba": Kind(VIDEO, "MPEG"),
    b"\0\0\x01\xb3": Kind(VIDEO, "MPEG"),
    b"FLV\x01": Kind(VIDEO, "FLV"),
    b"\x06\x0e+4\x02\x05\x01\x01": Kind(VIDEO, "MXF"),
    b"YUV4MPEG2 ": Kind(VIDEO, "YUV4MPEG2"),
    b"DKIF": Kind(VIDEO, "IVF"),
    b"GIF8": Kind(UNREAD, "GIF"),
    b"\xff\n": Kind(UNREAD, "JPEG XL"),
    b"\0\0\0\x0cJXL \r\n\x87\n": Kind(UNREAD, "JPEG XL"),
    b"8BPS": Kind(UNREAD, "Photoshop"),
    b"DDS ": Kind(UNREAD, "DDS"),
    b"SIMPLE  =": Kind(UNREAD, "FITS"),
    b"%PDF": Kind(UNREAD, "PDF"),
    b"v/1\x01": Kind(UNREAD, "OpenEXR"),
    b"#?RADIANCE": Kind(UNREAD, "Radiance HDR"),
    b"#?RGBE": Kind(UNREAD, "Radiance HDR"),
    b"\0\0\x01\0": Kind(UNREAD, "icon"),
    b"IIU\0": Kind(UNREAD, "camera raw"),
    b"IIRO": Kind(UNREAD, "camera raw"),
    b"IIRS": Kind(UNREAD, "camera raw"),
    b"FUJIFILMCCD-RAW": Kind(UNREAD, "camera raw"),
    b"\0\x05\x16\x07": APPLE_DOUBLE,
}
# TIFFs by their first bytes, but their first picture is a small preview
RAW_SUFFIXES = (".nef", ".nrw", ".cr2", ".arw", ".sr2", ".dng", ".pef", ".srw", ".3fr", ".iiq")
# at byte 4 of the containers of MPEG-4 and QuickTime
ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
BRANDS = {  # of what is no video in the same container
    Kind(UNREAD, "AVIF"): (b"avif", b"avis"),
    Kind(UNREAD, "HEIC"): (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"),
    Kind(UNREAD, "camera raw"): (b"crx ",),
    Kind(OTHER, "audio"): (b"M4A ", b"M4B "),
}
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # bytes, at byte 14; "BM" alone starts texts too
PNM = re.compile(rb"P[456]\s+[0-9#]")
PACKETS = ((0, 188), (4, 192))  # first mark and distance in a transport stream
SYSTEM_NAMES = (
    "__MACOSX", "Thumbs.db", "thumbs.db", "ehthumbs.db", "desktop.ini", "Desktop.ini", "@eaDir",
    "$RECYCLE.BIN", "System Volume Information", "Icon\r",
)  # fmt: skip


def kind_of(path: Path) -> Kind:
    """What the file is by its content; OSError where it cannot be read."""
    refuse_special(path)
    with open(path, "rb") as file:
        head = file.read(HEAD)
    kind = sniff(head)
    if kind == STARTS[b"II*\0"] and path.suffix.lower() in RAW_SUFFIXES:
        return Kind(UNREAD, "camera raw")
    return kind


def sniff(head: bytes) -> Kind:
    """What a file that starts with these bytes is."""
    if not head:
        return EMPTY
    for start, kind in STARTS.items():
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF":
        riff = {b"WEBP": Kind(IMAGE, "WebP"), b"AVI ": Kind(VIDEO, "AVI")}
        return riff.get(head[8:12], UNKNOWN)
    if head[4:8] == b"ftyp":
        return sniff_brands(head)
    if head[4:8] in ATOMS:
        return Kind(VIDEO, "QuickTime")
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return Kind(IMAGE, "BMP")
    if PNM.match(head):
        return Kind(IMAGE, "PNM")
    if head[:4] == b"OggS":
        return Kind(VIDEO, "Ogg") if b"theora" in head else Kind(OTHER, "audio")
    if any(set(head[first::step]) == {0x47} and len(head) > step for first, step in PACKETS):
        return Kind(VIDEO, "MPEG-TS")
    if head[128:132] == b"DICM":
        return Kind(UNREAD, "DICOM")
    if b"<svg" in head:
        return Kind(UNREAD, "SVG")
    return UNKNOWN


def sniff_brands(head: bytes) -> Kind:
    """What a file is whose first box names the formats that it follows."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    for kind, own in BRANDS.items():
        if any(brand in own for brand in brands):
            return kind
    return Kind(VIDEO, "MP4")


def unread_format(path: Path) -> str:
    """The name of the file's format if it is a picture that is not read, "HEIC" say; else ""."""
    try:
        kind = kind_of(path)
    except OSError:
        return ""
    return kind.name if kind.what == UNREAD else ""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name was made by a system or program for itself."""
    return name.startswith(".") or name in SYSTEM_NAMES
