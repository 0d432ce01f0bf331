"""Makes the two fonts of printed documents from Debian's packages fonts-noto-cjk and unicode-data.

Needs python3-fonttools. Run it in this folder; the same packages give the same bytes. The regular face has what names,
addresses and remarks are made of; the bold one has the words of our own headings, read from the sources.
"""

import bz2
import pathlib
import re

from fontTools import subset
from fontTools.ttLib import TTFont

FONTS = pathlib.Path("/usr/share/fonts/opentype/noto")
UNIHAN = pathlib.Path("/usr/share/unicode/Unihan_OtherMappings.txt.bz2")
SOURCES = pathlib.Path(__file__).resolve().parents[2] / "src" / "document"
# The simplified Chinese face of the collection.
SC = 2

RANGES = [
    (0x0020, 0x007E),  # ASCII
    (0x00A0, 0x017F),  # Latin of western and central Europe
    (0x0370, 0x03FF),  # Greek
    (0x0400, 0x045F),  # Cyrillic
    (0x2010, 0x2027),  # dashes, quotation marks, dots
    (0x2030, 0x203B),
    (0x20A0, 0x20BF),  # currencies
    (0x2100, 0x214F),  # ℃, №
    (0x2150, 0x218F),  # Ⅰ Ⅱ Ⅲ
    (0x2190, 0x21D4),  # arrows
    (0x2200, 0x22FF),  # × ÷ ≤ ≥
    (0x2460, 0x2499),  # ① ②
    (0x25A0, 0x25FF),  # □
    (0x2605, 0x2606),
    (0x3000, 0x303F),  # 、 。 《 》
    (0x3040, 0x30FF),  # kana
    (0x3220, 0x3243),
    (0xFF01, 0xFFE6),  # full width
]


def regular() -> set[int]:
    chars = {c for low, high in RANGES for c in range(low, high + 1)}
    # Simplified Chinese: all of GB 2312, and the 8 105 characters of the 2013 table, with those of names.
    for first in range(0xA1, 0xF8):
        for second in range(0xA1, 0xFF):
            chars |= decoded(bytes([first, second]), "gb2312")
    for line in bz2.open(UNIHAN, "rt", encoding="utf-8"):
        if "\tkTGH\t" in line:
            chars.add(int(line.split("\t")[0][2:], 16))
    # Traditional Chinese: the frequent characters, level 1 of Big5.
    for first in range(0xA4, 0xC7):
        for second in [*range(0x40, 0x7F), *range(0xA1, 0xFF)]:
            chars |= decoded(bytes([first, second]), "big5")
    return chars


def bold() -> set[int]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.rs"))]
    # Only what stands in quotes is printed.
    words = {ord(c) for text in texts for quoted in re.findall(r'"([^"\n]*)"', text) for c in quoted}
    return words | set(range(0x20, 0x7F)) | set(range(0xA0, 0x180)) | {0x25A1, 0x2013, 0x2026}


def decoded(raw: bytes, encoding: str) -> set[int]:
    try:
        return {ord(c) for c in raw.decode(encoding)}
    except (UnicodeDecodeError, TypeError):
        return set()


def make(name: str, chars: set[int]) -> None:
    font = TTFont(FONTS / f"NotoSansCJK-{name}.ttc", fontNumber=SC, recalcTimestamp=False)
    options = subset.Options(
        hinting=False, layout_features=[], notdef_outline=True, name_IDs=[0, 1, 2, 4, 5, 6, 13, 14], name_languages=[0x409]
    )
    options.drop_tables += ["GSUB", "GPOS", "GDEF", "BASE", "VORG", "vhea", "vmtx"]
    maker = subset.Subsetter(options)
    maker.populate(unicodes=chars)
    maker.subset(font)
    out = f"NotoSansCJKsc-{name}-subset.otf"
    font.save(out)
    print(out, pathlib.Path(out).stat().st_size, "bytes,", len(font.getBestCmap()), "characters")


make("Regular", regular())
make("Bold", bold())
