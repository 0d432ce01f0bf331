//! What stands where on a page. Lengths are whole twips, the twentieth part of a point, so that placing is exact.

/// Twips: 20 are a point, 1 440 an inch.
pub(super) type Twips = i32;

/// The width of A4.
pub(super) const WIDTH: Twips = 11_906;
/// The height of A4.
pub(super) const HEIGHT: Twips = 16_838;
/// Free space at the left and right side: 18 mm.
pub(super) const SIDE: Twips = 1_020;
/// What is between the sides.
pub(super) const INNER: Twips = WIDTH - 2 * SIDE;

/// Red, green, blue.
pub(super) type Colour = [u8; 3];

/// For what is read.
pub(super) const INK: Colour = [0x1f, 0x23, 0x28];
/// For labels and explanations; still has a contrast of 5:1 on white.
pub(super) const GREY: Colour = [0x65, 0x6d, 0x76];
/// For hairlines.
pub(super) const LINE: Colour = [0xd0, 0xd7, 0xde];

/// How text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Its size in twips.
    pub(super) size: Twips,
    /// Whether it stands out.
    pub(super) bold: bool,
    /// Its colour.
    pub(super) colour: Colour,
}

impl Style {
    /// From the baseline of one line to that of the next.
    pub(super) fn leading(self) -> Twips {
        self.size * 7 / 5
    }

    /// From the top of a line to its baseline.
    pub(super) fn ascent(self) -> Twips {
        self.size * 21 / 20
    }
}

/// Something placed; `y` counts downwards from the page's top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mark {
    /// A line of text from its baseline's left end.
    Text {
        /// From the left.
        x: Twips,
        /// The baseline.
        y: Twips,
        /// How it looks.
        style: Style,
        /// The text.
        text: String,
    },
    /// A filled rectangle.
    Box {
        /// From the left.
        x: Twips,
        /// Its top.
        y: Twips,
        /// Its width.
        width: Twips,
        /// Its height.
        height: Twips,
        /// What it is filled with.
        colour: Colour,
    },
    /// The brand's logo.
    Logo {
        /// From the left.
        x: Twips,
        /// Its top.
        y: Twips,
        /// Its width.
        width: Twips,
        /// Its height.
        height: Twips,
    },
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// What stands on it, what lies below first.
    pub(super) marks: Vec<Mark>,
}
