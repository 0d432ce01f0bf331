//! Under whose name documents leave: from the configuration.

use std::path::PathBuf;

use krilla::image::Image;
use serde::Deserialize;
use tandem_service_kit::config::{ConfigError, MailSection};

use super::page::{Colour, INK};

/// Largest logo file: it is part of every document.
const LOGO_BYTES_MAX: u64 = 512 * 1024;
/// Most pixels of a logo's side; more are not seen in print.
const LOGO_PIXELS_MAX: u32 = 4_096;

/// The `[brand]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrandSection {
    /// The company's name; empty takes `mail.brand_name`.
    pub name: String,
    /// Lines below the name: address, telephone, tax number.
    pub address: Vec<String>,
    /// The colour of headings and rules, `#rrggbb`.
    pub colour: String,
    /// A PNG or JPEG file; documents have none without it.
    pub logo: Option<PathBuf>,
}

impl Default for BrandSection {
    fn default() -> BrandSection {
        BrandSection { name: String::new(), address: Vec::new(), colour: "#1f4e79".to_owned(), logo: None }
    }
}

/// Under whose name documents leave.
#[derive(Debug, Clone)]
pub struct Brand {
    pub(super) name: String,
    pub(super) address: Vec<String>,
    pub(super) colour: Colour,
    pub(super) logo: Option<Image>,
}

impl Default for Brand {
    fn default() -> Brand {
        Brand { name: "Tandem".to_owned(), address: Vec::new(), colour: [0x1f, 0x4e, 0x79], logo: None }
    }
}

impl Brand {
    /// Takes it from the configuration and reads the logo. Fails with the key that is wrong.
    pub fn new(section: &BrandSection, mail: &MailSection) -> Result<Brand, ConfigError> {
        let name = if section.name.trim().is_empty() { &mail.brand_name } else { &section.name };
        let colour = colour(&section.colour)
            .ok_or_else(|| wrong("brand.colour", "must be a colour such as #1f4e79"))?;
        let logo = section.logo.as_ref().map(logo).transpose()?;
        Ok(Brand { name: name.clone(), address: section.address.clone(), colour, logo })
    }

    /// The colour of headings: the brand's, unless it is too light to be read on white.
    pub(super) fn text_colour(&self) -> Colour {
        let [r, g, b] = self.colour.map(u32::from);
        // The weights of perceived lightness, in thousandths.
        if r * 299 + g * 587 + b * 114 > 150_000 { INK } else { self.colour }
    }

    /// A hint of the brand's colour, for what lies below dark text.
    pub(super) fn tint(&self) -> Colour {
        self.colour.map(|part| 255 - (255 - part) / 12)
    }
}

fn colour(text: &str) -> Option<Colour> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
    let mut colour = [0; 3];
    hex::decode_to_slice(digits, &mut colour).ok()?;
    Some(colour)
}

fn logo(path: &PathBuf) -> Result<Image, ConfigError> {
    let refuse = |what: &str| wrong("brand.logo", &format!("{}: {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refuse(&error.to_string()))?.len();
    if size > LOGO_BYTES_MAX {
        return Err(refuse("must be at most 512 KiB"));
    }
    let bytes = std::fs::read(path).map_err(|error| refuse(&error.to_string()))?;
    let image = if bytes.starts_with(b"\x89PNG") {
        Image::from_png(bytes.into(), false)
    } else {
        Image::from_jpeg(bytes.into(), false)
    };
    let image = image.map_err(|_| refuse("must be a PNG or JPEG file"))?;
    let (width, height) = image.size();
    if width == 0 || height == 0 || width.max(height) > LOGO_PIXELS_MAX {
        return Err(refuse("must have at most 4096 pixels on each side"));
    }
    Ok(image)
}

fn wrong(key: &str, message: &str) -> ConfigError {
    ConfigError::Key { origin: key.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(section: BrandSection) -> Result<Brand, String> {
        Brand::new(&section, &MailSection::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let brand = made(BrandSection::default()).unwrap();
        assert_eq!((brand.name.as_str(), brand.colour), ("Tandem", [0x1f, 0x4e, 0x79]));
        for bad in ["", "1f4e79", "#1f4e7", "#1f4e7g", "#1f4e79ff", "red"] {
            let error = made(BrandSection { colour: bad.to_owned(), ..BrandSection::default() }).unwrap_err();
            assert!(error.contains("brand.colour"), "{bad}: {error}");
        }
        let section = BrandSection { logo: Some("/nowhere/logo.png".into()), ..BrandSection::default() };
        assert!(made(section).unwrap_err().contains("brand.logo"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logo.png");
        std::fs::write(&path, b"\x89PNG but not really").unwrap();
        let section = BrandSection { logo: Some(path), ..BrandSection::default() };
        assert!(made(section).unwrap_err().contains("PNG or JPEG"));
    }

    #[test]
    fn a_light_brand_is_still_read() {
        let brand = Brand { colour: [0xff, 0xe0, 0x40], ..Brand::default() };
        assert_eq!(brand.text_colour(), INK);
        assert_eq!(Brand::default().text_colour(), [0x1f, 0x4e, 0x79]);
    }
}
